"""The simulated vCenter's door: SOAP over TLS, served by aiohttp.

It decodes a request, finds session, object and operation, checks the privilege, asks the fault book, runs the operation
and encodes what it returns or raises. Whatever goes wrong, a client gets a typed fault or a closed connection, never a
stack trace; what is our own defect is logged and kept in ``world.defects``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.core.calls import Call, current_call
from contrail_vsphere.simulator.core.entity import Entity, Operation
from contrail_vsphere.simulator.core.faults import Effect, FaultBook
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.sessions import EamDoor
from contrail_vsphere.simulator.profile import Release
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.fragments import read
from contrail_vsphere.simulator.vcenter.http_nfc_lease import Leases, TooLargeError, receive
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.wire.soap.decode import Request, RequestDecoder
from contrail_vsphere.wire.soap.encode import encode_fault, encode_response
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import EAM, VIM, method_of
from contrail_vsphere.wire.soap.types import eam, managed_class, vmodl
from contrail_vsphere.wire.soap.values import build
from contrail_vsphere.wire.soap.versions import render_versions, version_of

log = logging.getLogger(__name__)

COOKIE = "vmware_soap_session"
MAX_REQUEST = 32 << 20
"""Bytes of a request; vCenter's own limit is of that order."""
BODY_TIMEOUT = 120.0
"""Seconds of the loop for a request's body to arrive."""
KEEP_ALIVE = 900.0
LINGER = 0.5
"""Seconds to go on reading a request that was refused already, so that its sender sees the answer."""
XML = "text/xml; charset=utf-8"
PUBLIC_PROPERTIES = frozenset({("ServiceInstance", "content"), ("SessionManager", "currentSession")})
"""Read by clients before they log in."""
WAITING = frozenset({"WaitForUpdatesEx", "WaitForUpdates"})
"""May be abandoned when the client goes away; anything else that was begun is finished."""

Tap = Callable[[Call, Request], Awaitable[None]]


class _Dropped(Exception):  # noqa: N818 not an error, a way out
    """The connection is to be closed without an answer."""


@dataclass(slots=True)
class VimServer:
    """Serves ``/sdk`` and ``/eam/sdk``; ``app`` may be served on several ports at once (plain TLS, tunnel)."""

    world: World
    release: Release
    calls: Counter[str] = field(default_factory=Counter)
    """Wire name of the method -> how often it was called."""
    thumbprint: str = ""
    """Of the certificate on the ordinary port."""
    _open: set[web.Request] = field(default_factory=set)
    _background: set[asyncio.Task[Any]] = field(default_factory=set)
    _runners: list[web.AppRunner] = field(default_factory=list)

    def application(self) -> web.Application:
        """The aiohttp application; other rooms may add routes before it is started."""
        app = web.Application(client_max_size=MAX_REQUEST)
        for path in ("/sdk", "/sdk/", "/sdk/vimService", "/sdkTunnel", "/eam/sdk", "/eam/sdk/"):
            app.router.add_post(path, self._serve)
        app.router.add_get("/sdk/vimServiceVersions.xml", self._versions)
        for method in ("PUT", "POST"):
            app.router.add_route(method, "/nfc/{lease}/{file}", self._receive)
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
        site = web.TCPSite(runner, host, port, ssl_context=tls, reuse_address=True)
        await site.start()
        self._runners.append(runner)
        return int(runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening, drop what is open."""
        self.drop_connections()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    def drop_connections(self) -> int:
        """Reset every connection, busy or idle, as a crash of the service does; returns how many."""
        dropped = 0
        for runner in self._runners:
            for connection in list(runner.server.connections if runner.server is not None else ()):
                if connection.transport is not None:
                    connection.transport.abort()
                    dropped += 1
        return dropped

    # -- HTTP ---------------------------------------------------------------------------------------------------

    async def _versions(self, _request: web.Request) -> web.Response:
        return web.Response(body=render_versions(self.release.newest), headers={"Content-Type": XML})

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

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > MAX_REQUEST:
            refusal = web.Response(status=413)
            refusal.force_close()
            return refusal
        namespace = EAM if request.path.startswith("/eam") else VIM
        version = self._version(request.headers.get("SOAPAction", ""), namespace)
        try:
            decoded = await self._read(request)
        except ProtocolError as error:
            text = f"Unable to parse the request: {error}"
            return self._fault(SoapFault(vmodl.fault.InvalidRequest(), text), version, VIM, close=True)
        except TimeoutError:
            return web.Response(status=408)
        call = self._call(request, decoded, version)
        if call.session is not None:
            call.session.open_calls += 1
        try:
            return await self._answer(request, call, decoded)
        except _Dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        finally:
            if call.session is not None:
                call.session.open_calls -= 1
                call.session.last_active = self.world.clock.now()

    async def _read(self, request: web.Request) -> Request:
        decoder = RequestDecoder(limit=MAX_REQUEST)
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                decoder.feed(chunk)
        return decoder.close()

    def _version(self, action: str, namespace: str) -> str:
        """What the client asks for, but nothing newer than the release that is simulated."""
        asked = version_of(action, namespace)
        if namespace == VIM and asked not in self._speakable():
            return self.release.newest
        return asked if namespace == VIM else EamDoor.of(self.world).spoken(asked)

    def _speakable(self) -> frozenset[str]:
        from pyVmomi import VmomiSupport

        return frozenset(VmomiSupport.parentMap[self.release.newest]) | {self.release.newest}

    def _call(self, request: web.Request, decoded: Request, version: str) -> Call:
        session = self.world.service(SessionManager).resume(_cookie(request))
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        return Call(
            world=self.world,
            session=session,
            user=session.user if session is not None else "",
            version=version,
            endpoint=request.path,
            certificate=(tls.getpeercert(binary_form=True) or b"") if tls is not None else b"",
            address=request.remote or "",
            authority=request.host,
            thumbprint=self.thumbprint,
            agent=request.headers.get("User-Agent", ""),
            operation_id=decoded.operation_id,
            method=decoded.name,
            args=decoded.args,
        )

    # -- dispatch -----------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request, call: Call, decoded: Request) -> web.StreamResponse:
        self.calls[decoded.name] += 1
        effect: Effect | None = None
        try:
            entity, run = self._find(call, decoded)
            effect = self._injected(call, entity)
            if effect is not None:
                response = await self._disturb(effect)
                if response is not None:
                    return response
            result = await self._run(call, run)
            if decoded.method is None:
                raise _no_such_method(decoded)
            body = encode_response(decoded.method, result, version=call.version)
        except SoapFault as error:
            return self._fault(error, call.version, decoded.namespace)
        except (_Dropped, asyncio.CancelledError):
            raise
        except Exception as error:  # our own defect: the client must still get an answer
            log.exception("%s failed inside the simulator", decoded.name)
            self.world.defects.append(error)
            return self._fault(_system_error(), call.version, VIM)
        if effect is not None and effect.rule.drop_reply:
            raise _Dropped
        if effect is not None and effect.rule.truncate >= 0:
            return await _truncated(request, body, effect.rule.truncate)
        response = web.Response(body=body, headers={"Content-Type": XML})
        if call.opened is not None:
            response.headers["Set-Cookie"] = f'{COOKIE}="{call.opened.key}"; Path=/; HttpOnly; Secure'
        return response

    def _find(self, call: Call, decoded: Request) -> tuple[Entity | None, Callable[[], Any]]:
        """The object and what to do with it; every reason why not is a typed fault, in vCenter's order."""
        if decoded.namespace == EAM and call.session is None:
            EamDoor.of(self.world).refused(call)
            raise SoapFault(build(eam.fault.InvalidLogin), "Invalid login")
        found = self._entity(call, decoded)
        if decoded.name == "Fetch":
            return found, lambda: self._fetch(call, decoded, found)
        operation = found.operations.get(decoded.name) if found is not None else None
        if decoded.method is None or (decoded.namespace == EAM and not EamDoor.of(self.world).has(decoded.method)):
            self._check(call, authorization.VIEW, found)
            raise _no_such_method(decoded)
        try:
            self._check(call, self._privilege(operation, decoded, found), found)
        except SoapFault:
            if decoded.namespace == EAM:
                EamDoor.of(self.world).unauthorized(call)
            raise
        if found is None:
            raise _gone(decoded)
        if operation is None:
            raise self._unserved(found, decoded)
        missing = decoded.missing
        if missing:
            raise SoapFault(
                vmodl.fault.InvalidArgument(invalidProperty=missing[0]), f"Required parameter {missing[0]} is missing"
            )
        return found, lambda: operation.function(found, call, **decoded.args)

    def _entity(self, call: Call, decoded: Request) -> Entity | None:
        session = call.session
        found: Entity | None = session.objects.get(decoded.this_id) if session is not None else None
        found = found or self.world.get(decoded.this_id)
        return found if found is not None and found.namespace == decoded.namespace else None

    def _check(self, call: Call, privilege: str, entity: Entity | None) -> None:
        authorization.check(call, privilege, entity)

    @staticmethod
    def _privilege(operation: Operation | None, decoded: Request, found: Entity | None) -> str:
        by_type = authorization.BY_TYPE.get(decoded.name, {}).get(found.wsdl if found is not None else "")
        if by_type is not None:
            return by_type
        if operation is not None and operation.privilege:
            return operation.privilege
        return str(getattr(decoded.method.info, "privId", None) or authorization.VIEW) if decoded.method else ""

    @staticmethod
    def _unserved(entity: Entity, decoded: Request) -> SoapFault:
        """A method that the object's type has and we do not serve, or one that it does not have at all."""
        try:
            method_of(entity.ref, decoded.name)
        except KeyError:
            return SoapFault(
                vmodl.fault.MethodNotFound(receiver=entity.ref, method=decoded.name),
                f"{entity.wsdl} has no method {decoded.name}",
            )
        return SoapFault(vmodl.fault.NotSupported(), f"{entity.wsdl}.{decoded.name} is not simulated.")

    def _fetch(self, call: Call, decoded: Request, found: Entity | None) -> Any:
        path = str(decoded.args.get("prop", ""))
        public = found is not None and (found.wsdl, path) in PUBLIC_PROPERTIES
        self._check(call, authorization.ANONYMOUS if public else authorization.VIEW, found)
        if found is None:
            raise _gone(decoded)
        if decoded.method is None:
            raise SoapFault(vmodl.query.InvalidProperty(name=path), f"{found.wsdl} has no property {path}")
        return read(found, path)

    async def _run(self, call: Call, run: Callable[[], Any]) -> Any:
        """Run an operation; one that waits for nothing but the client ends with it, any other is seen through."""
        token = current_call.set(call)
        try:
            result = run()
            if not asyncio.iscoroutine(result):
                return result
            if call.method in WAITING:
                return await result
            task = asyncio.ensure_future(result)
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return await asyncio.shield(task)
        finally:
            current_call.reset(token)

    def _fault(self, error: SoapFault, version: str, namespace: str, *, close: bool = False) -> web.Response:
        try:
            body = encode_fault(error, version=version, namespace=namespace)
        except TypeError as defect:  # the fault lacks a field that the API requires
            log.exception("%s cannot be sent", error.kind)
            self.world.defects.append(defect)
            body = encode_fault(_system_error(), version=version, namespace=namespace)
        response = web.Response(status=500, body=body, headers={"Content-Type": XML})
        if close:
            response.force_close()
        return response

    # -- injected faults ----------------------------------------------------------------------------------------

    def _injected(self, call: Call, entity: Entity | None) -> Effect | None:
        book: FaultBook = self.world.service(FaultBook)
        return book.check(method=call.method, entity=entity, user=call.user, args=call.args)

    async def _disturb(self, effect: Effect) -> web.Response | None:
        rule = effect.rule
        if rule.delay:
            await self.world.clock.sleep(rule.delay)
        if rule.drop:
            raise _Dropped
        if rule.http_status:
            return web.Response(status=rule.http_status, text=rule.message)
        exception = effect.exception()
        if exception is not None:
            raise exception
        return None


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    """A body of any length, as it comes; TimeoutError when it stops coming."""
    while True:
        async with asyncio.timeout(BODY_TIMEOUT):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


def _cookie(request: web.Request) -> str:
    """The session's key; clients send it quoted or not."""
    return request.cookies.get(COOKIE, "").strip('"')


def _system_error() -> SoapFault:
    return SoapFault(vmodl.fault.SystemError(reason=""), "A general system error occurred.")


def _receiver(decoded: Request) -> Any:
    """The reference that a call was made on, whether the object exists or not."""
    return managed_class(decoded.this_type, decoded.namespace)(decoded.this_id)


def _gone(decoded: Request) -> SoapFault:
    return SoapFault(
        vmodl.fault.ManagedObjectNotFound(obj=_receiver(decoded)),
        f"The object '{decoded.this_type}:{decoded.this_id}' has already been deleted or was not completely created",
    )


def _no_such_method(decoded: Request) -> SoapFault:
    return SoapFault(
        vmodl.fault.MethodNotFound(receiver=_receiver(decoded), method=decoded.name),
        f"Unable to resolve WSDL method name {decoded.name} in {decoded.namespace}",
    )


async def _truncated(request: web.Request, body: bytes, length: int) -> web.StreamResponse:
    """Announce the whole body, send a part, close: what a crash of the service looks like."""
    response = web.StreamResponse(headers={"Content-Type": XML, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:length])
    if request.transport is not None:
        request.transport.close()
    return response
