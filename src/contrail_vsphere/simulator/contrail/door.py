"""The simulated API server's sockets: HTTP in, faults first, then the service; crash and restart.

Several addresses can lead to one state, as several API servers of a cluster do; each can be stopped alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from contrail_vsphere.simulator.contrail.answers import HTML, RefusedError
from contrail_vsphere.simulator.contrail.service import MAX_BODY, ApiService, Reply, Request, Route
from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.faults import FaultBook, FaultRule

log = logging.getLogger(__name__)

KEEP_ALIVE = 75.0
LINGER = 0.1


@dataclass(frozen=True, slots=True)
class Subject:
    """The object of a call, as fault rules see it."""

    wsdl: str
    """Dashed type."""
    moid: str
    """uuid"""
    name: str = ""


class ContrailFaults(FaultBook):
    """Fault rules for an HTTP API: ``method`` is the verb (``create``, ``ref-update``), ``type`` the dashed type.

    There are no SOAP faults here: answers are made with ``http_status`` and ``message``.
    """

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force. ValueError for one that asks for a SOAP fault."""
        if rule.fault or rule.fields:
            raise ValueError("the Contrail API has no SOAP faults; use http_status and message")
        return super().add(rule)


class _Dropped(Exception):  # noqa: N818 not an error, a way out
    """The connection is to be closed without an answer."""


@dataclass(slots=True, eq=False)
class ApiDoor:
    """One listening address."""

    serve: Callable[[Request], Awaitable[Reply]]
    listen: str
    tls: ssl.SSLContext | None = None
    address: str = ""
    """HOST:PORT, once it listened; kept over a restart."""
    _runner: web.ServerRunner | None = None

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def open(self) -> None:
        """Listen; at the same port as before, if it listened before."""
        if self._runner is not None:
            return
        host, _, port = (self.address or self.listen).rpartition(":")
        server = web.Server(self._answer, access_log=None, keepalive_timeout=KEEP_ALIVE, lingering_time=LINGER)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, int(port), ssl_context=self.tls, reuse_address=True).start()
        self.address = f"{host}:{runner.addresses[0][1]}"
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and reset every connection."""
        self.drop_connections()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def drop_connections(self) -> int:
        """Reset every connection, as a crash does; returns how many."""
        server = self._runner.server if self._runner is not None else None
        found = list(server.connections) if isinstance(server, web.Server) else []
        for connection in found:
            if connection.transport is not None:
                connection.transport.abort()
        return len(found)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _body(request)
        if body is None:
            return web.Response(status=413, text="Request body is too large")
        asked = Request(
            method=request.method,
            path=request.path,
            query=request.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        try:
            reply = await self.serve(asked)
        except _Dropped:
            _reset(request)
            raise web.HTTPServiceUnavailable from None
        if reply.broken:
            await _announce(request, reply)
        headers = {"Content-Type": reply.content_type, **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=headers)


@dataclass(slots=True)
class FaultyService:
    """The service behind its fault rules."""

    service: ApiService
    faults: FaultBook
    clock: Clock
    reached: list[int] = field(default_factory=lambda: [0, 0])
    """Requests under way now, and the most there ever were."""
    defects: list[str] = field(default_factory=list)

    async def serve(self, request: Request) -> Reply:
        """Answer one request, or fail as a rule says."""
        self.reached[0] += 1
        self.reached[1] = max(self.reached)
        try:
            return await self._serve(request)
        except _Dropped:
            raise
        except Exception as error:  # whatever we did not think of must not end the server, and must not go unseen
            log.exception("%s %s", request.method, request.path)
            self.defects.append(f"{request.method} {request.path}: {error!r}")
            return Reply(500, b"Internal Server Error", HTML)
        finally:
            self.reached[0] -= 1

    async def _serve(self, request: Request) -> Reply:
        delay = self.service.site.switches.reply_delay
        if delay:
            await self.clock.sleep(delay)
        effect = self.faults.check(
            method=self._verb(request), entity=self._subject(request), user="", args=self._facts(request)
        )
        if effect is None:
            return self.service.answer(request)
        rule = effect.rule
        if rule.delay:
            await self.clock.sleep(rule.delay)
        if rule.drop:
            raise _Dropped
        if rule.http_status:
            return Reply(rule.http_status, rule.message.encode(), HTML)
        reply = self.service.answer(request)
        if rule.drop_reply:
            raise _Dropped
        if rule.truncate >= 0:
            return Reply(reply.status, reply.body[: rule.truncate], reply.content_type, reply.headers)
        return reply

    def _route(self, request: Request) -> Route | None:
        with contextlib.suppress(RefusedError):
            return self.service.route(request)
        return None

    def _verb(self, request: Request) -> str:
        route = self._route(request)
        return route.verb if route is not None else request.method

    def _subject(self, request: Request) -> Subject | None:
        route = self._route(request)
        if route is None or route.type is None:
            return None
        if route.uuid:
            found = self.service.site.store.objects.get(route.uuid)
            return Subject(route.type.name, route.uuid, found.name if found is not None else "")
        if route.verb == "create":
            inner = _peek(request.body).get(route.type.name)
            if isinstance(inner, dict):
                name = (inner.get("fq_name") or [""])[-1]
                return Subject(route.type.name, str(inner.get("uuid") or ""), str(inner.get("display_name") or name))
        return Subject(route.type.name, "")

    def _facts(self, request: Request) -> Mapping[str, str]:
        """For the rule's ``where``: the query, the path and the method."""
        return {**request.query, "path": request.path, "http_method": request.method}


def _peek(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


async def _body(request: web.BaseRequest) -> bytes | None:
    """The whole body; None if it is too large."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        parts.append(chunk)
    return b"".join(parts)


async def _announce(request: web.BaseRequest, reply: Reply) -> None:
    """Send a head that promises a body, and close: what some releases make of a 403."""
    transport = request.transport
    if transport is None or not isinstance(transport, asyncio.WriteTransport):
        raise _Dropped
    head = f"HTTP/1.1 {reply.status} Forbidden\r\nContent-Type: {reply.content_type}\r\n"
    transport.write(f"{head}Content-Length: {len(reply.body)}\r\n\r\n".encode())
    transport.close()
    raise web.HTTPServiceUnavailable


def _reset(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
