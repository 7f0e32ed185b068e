"""The simulated vCenter's door: SOAP over TLS.

Connections begin in the fast lane (``lane``); what is not an ordinary small call is served by aiohttp, here. Both hand
requests to the ``Dispatcher``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.dispatch import COOKIE, VERSIONS, Answer, Caller, Dispatcher, session_key
from contrail_vsphere.simulator.lane import BODY_TIMEOUT, ENDPOINTS, KEEP_ALIVE, Lane, Lanes
from contrail_vsphere.simulator.profile import Release
from contrail_vsphere.simulator.vcenter.file_manager import LARGEST, transfer
from contrail_vsphere.simulator.vcenter.http_nfc_lease import Leases, TooLargeError, receive
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.wire.soap.decode import Request, RequestDecoder

MAX_REQUEST = 32 << 20
"""Bytes of a request; vCenter's own limit is of that order."""
LINGER = 0.5
"""Seconds to go on reading a request that was refused already, so that its sender sees the answer."""


@dataclass(slots=True)
class _Port:
    """A port that is served."""

    server: asyncio.Server
    runner: web.AppRunner


@dataclass(slots=True)
class VimServer:
    """Serves ``/sdk`` and ``/eam/sdk``; ``application`` may be served on several ports at once (plain TLS, tunnel)."""

    world: World
    release: Release
    dispatcher: Dispatcher = field(init=False)
    _ports: list[_Port] = field(default_factory=list)
    _lanes: Lanes = field(init=False)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.world, self.release)
        self._lanes = Lanes(self.dispatcher)

    @property
    def calls(self) -> Counter[str]:
        """Wire name of the method -> how often it was called."""
        return self.dispatcher.calls

    def application(self) -> web.Application:
        """The aiohttp application; other rooms may add routes before it is started."""
        app = web.Application(client_max_size=MAX_REQUEST)
        for path in ENDPOINTS:
            app.router.add_post(path, self._serve)
        app.router.add_get(VERSIONS, self._versions)
        for method in ("PUT", "POST"):
            app.router.add_route(method, "/nfc/{lease}/{file}", self._receive)
        for method in ("GET", "PUT"):  # aiohttp answers HEAD where it answers GET
            app.router.add_route(method, "/folder/{path:.+}", self._file)
        return app

    async def listen(self, app: web.Application, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Serve on a port; returns the one that was taken."""
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=KEEP_ALIVE,
            shutdown_timeout=0.2,
            lingering_time=LINGER,
            max_line_size=16384,
        )
        await runner.setup()
        elsewhere = runner.server
        if elsewhere is None:
            raise RuntimeError("aiohttp's runner was set up and has no server")
        server = await asyncio.get_running_loop().create_server(
            lambda: Lane(self._lanes, elsewhere), host, port, ssl=tls, reuse_address=True
        )
        self._ports.append(_Port(server, runner))
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, drop what is open."""
        for port in self._ports:
            port.server.close()
        self.drop_connections()
        await self.dispatcher.close()
        for port in self._ports:
            await port.runner.cleanup()
            await port.server.wait_closed()
        self._ports.clear()

    def drop_connections(self) -> int:
        """Reset every connection, busy or idle, as a crash of the service does; returns how many."""
        lanes = list(self._lanes.connections)
        for lane in lanes:
            lane.abort()
        dropped = len(lanes)
        for port in self._ports:
            for connection in list(port.runner.server.connections if port.runner.server is not None else ()):
                if connection.transport is not None:
                    connection.transport.abort()
                    dropped += 1
        return dropped

    # -- what is not for the fast lane --------------------------------------------------------------------------

    async def _versions(self, request: web.Request) -> web.StreamResponse:
        return await _sent(request, self.dispatcher.versions())

    async def _receive(self, request: web.Request) -> web.Response:
        """A file for an HttpNfcLease; whoever knows the lease's URL may send it, as with vCenter."""
        upload = Leases.of(self.world).find(request.match_info["lease"], request.match_info["file"])
        if upload is None:
            refusal = web.Response(status=404)
        elif (request.content_length or 0) > upload.limit:
            refusal = web.Response(status=413)
        else:
            try:
                await receive(upload, _body(request))
            except TimeoutError:
                refusal = web.Response(status=408)
            except TooLargeError:
                refusal = web.Response(status=413)
            else:
                return web.Response(status=201)
        refusal.force_close()
        return refusal

    async def _file(self, request: web.Request) -> web.Response:
        """A file on a datastore, for whoever has a session."""
        if (request.content_length or 0) > LARGEST:
            refusal = web.Response(status=413)
            refusal.force_close()
            return refusal
        body = bytearray()
        try:
            async for chunk in _body(request):
                body += chunk
                if len(body) > LARGEST:
                    break
        except TimeoutError:
            return web.Response(status=408)
        session = self.world.service(SessionManager).resume(session_key(request.headers.get("Cookie", "")))
        return await transfer(self.world, session, request, bytes(body))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > MAX_REQUEST:
            refusal = web.Response(status=413)
            refusal.force_close()
            return refusal
        caller = _caller(request)
        try:
            decoded = await _read(request)
        except ProtocolError as error:
            return await _sent(request, self.dispatcher.malformed(caller, error))
        except TimeoutError:
            return web.Response(status=408)
        answer = await self.dispatcher.answer(caller, decoded)
        return await _sent(request, self.dispatcher.packed(caller, answer))


def _caller(request: web.Request) -> Caller:
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    return Caller(
        endpoint=request.path,
        action=request.headers.get("SOAPAction", ""),
        cookie=request.headers.get("Cookie", ""),
        agent=request.headers.get("User-Agent", ""),
        accepts_gzip="gzip" in request.headers.get("Accept-Encoding", ""),
        authority=request.host,
        address=request.remote or "",
        certificate=(tls.getpeercert(binary_form=True) or b"") if tls is not None else b"",
    )


async def _read(request: web.Request) -> Request:
    decoder = RequestDecoder(limit=MAX_REQUEST)
    async with asyncio.timeout(BODY_TIMEOUT):
        async for chunk in request.content.iter_any():
            decoder.feed(chunk)
    return decoder.close()


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    """A body of any length, as it comes; TimeoutError when it stops coming."""
    while True:
        async with asyncio.timeout(BODY_TIMEOUT):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


async def _sent(request: web.Request, answer: Answer) -> web.StreamResponse:
    if answer.dropped:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    headers = {"Content-Type": answer.content_type}
    if answer.cut >= 0:
        return await _truncated(request, answer)
    if answer.gzip:
        headers["Content-Encoding"] = "gzip"
    if answer.session:
        headers["Set-Cookie"] = f'{COOKIE}="{answer.session}"; Path=/; HttpOnly; Secure'
    response = web.Response(status=answer.status, body=answer.body, headers=headers)
    if answer.close:
        response.force_close()
    return response


async def _truncated(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Announce the whole body, send a part, close: what a crash of the service looks like."""
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(answer.body[: answer.cut])
    if request.transport is not None:
        request.transport.close()
    return response
