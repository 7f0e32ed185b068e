"""The fast lane: HTTP for calls as vSphere clients send them, one after the other over a kept connection.

A client makes thousands of small calls, and general HTTP costs several times what the calls do. So a connection begins
here, where exactly one form is understood: ``POST`` to a SOAP endpoint, HTTP/1.1, a body of known and modest length,
no header twice; or the ``GET`` of the versions document, which is how clients begin. At the first request of any other
form (chunked, large, another path, garbage) the connection with what came so far is handed to aiohttp for the rest of
its life, which is where limits and odd cases are dealt with.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from email.utils import format_datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.dispatch import COOKIE, VERSIONS, Answer, Caller, Dispatcher
from contrail_vsphere.wire.soap.decode import RequestDecoder

ENDPOINTS = ("/sdk", "/sdk/", "/sdk/vimService", "/sdkTunnel", "/eam/sdk", "/eam/sdk/")
BODY_TIMEOUT = 120.0
"""Seconds of the loop for a request to arrive whole; looked at that often, so that it may be given twice as long."""
KEEP_ALIVE = 900.0
"""Seconds of the loop that a connection may be idle."""
LARGEST_HEAD = 16 << 10
LARGEST_BODY = 256 << 10
"""Bytes; what is larger is read by aiohttp piece by piece."""
ENOUGH = LARGEST_HEAD + LARGEST_BODY
"""Bytes of requests that came before they were asked for, after which no more are taken for now."""

_STARTS: Mapping[bytes, str] = MappingProxyType(
    {f"POST {path} HTTP/1.1".encode(): path for path in ENDPOINTS} | {f"GET {VERSIONS} HTTP/1.1".encode(): VERSIONS}
)
_LONGEST_START = max(map(len, _STARTS)) + 2
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_ELSEWHERE = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})
_REASONS: Mapping[int, str] = MappingProxyType({status.value: status.phrase for status in HTTPStatus})


class _Head:
    """A request's head as far as it is understood here."""

    __slots__ = ("caller", "close", "length", "size")

    def __init__(self, caller: Caller, *, length: int, size: int, close: bool) -> None:
        self.caller = caller
        self.length = length
        """Bytes of the body."""
        self.size = size
        """Bytes of the head with its empty line."""
        self.close = close


class Lanes:
    """What the connections of a server share."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.connections: set[Lane] = set()
        """Those still in the fast lane."""
        self._date = b""
        self._dated = float("-inf")

    def date(self, loop_time: float) -> bytes:
        """The Date header, made anew once a second."""
        if loop_time - self._dated >= 1.0:
            self._dated = loop_time
            self._date = format_datetime(self.dispatcher.world.clock.now(), usegmt=True).encode()
        return self._date


class Lane(asyncio.Protocol):
    """One connection. ``elsewhere`` makes the protocol that takes what is not understood here."""

    def __init__(self, shared: Lanes, elsewhere: Callable[[], asyncio.Protocol]) -> None:
        self._shared = shared
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._anybody = Caller(endpoint="")
        self._buffer = bytearray()
        self._memo: tuple[bytes, _Head] | None = None
        self._task: asyncio.Task[Answer] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._since = self._loop.time()
        self._full = False
        """The client does not read its answers."""

    # -- what asyncio calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 asyncio's own promise for TCP and TLS
        self._transport = transport
        self._shared.connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        peer = transport.get_extra_info("peername")
        self._anybody = Caller(
            endpoint="",
            address=str(peer[0]) if peer else "",
            certificate=(tls.getpeercert(binary_form=True) or b"") if tls is not None else b"",
        )
        self._watch = self._loop.call_later(BODY_TIMEOUT, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._since = self._loop.time()
        self._buffer += data
        if self._task is None:
            self._next()
        if len(self._buffer) > ENOUGH and self._transport is not None:
            self._transport.pause_reading()  # requests of a client that does not wait for, or read, its answers

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- requests -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """With what came meanwhile."""
        transport = self._transport
        if self._task is None and self._buffer and not self._full and transport is not None:
            self._next()
            if len(self._buffer) <= ENOUGH:
                transport.resume_reading()

    def _next(self) -> None:
        """Begin with the next request if all of it is there."""
        buffer, transport = self._buffer, self._transport
        if not buffer or self._full or transport is None or transport.is_closing():
            return
        end = buffer.find(b"\r\n\r\n", 0, LARGEST_HEAD)
        if end < 0:
            if len(buffer) >= LARGEST_HEAD or not _may_begin(buffer):
                self._hand_over(transport)
            return
        head = self._read_head(bytes(buffer[:end]))
        if head is None or head.length > LARGEST_BODY:
            self._hand_over(transport)
            return
        whole = head.size + head.length
        if len(buffer) < whole:
            return
        body = bytes(buffer[head.size : whole])
        del buffer[:whole]
        self._serve(transport, head, body)

    def _read_head(self, raw: bytes) -> _Head | None:
        """Clients repeat themselves: a head that is the same as the last one is not read again."""
        if self._memo is not None and self._memo[0] == raw:
            return self._memo[1]
        head = _parse(raw, self._anybody)
        self._memo = (raw, head) if head is not None else None
        return head

    def _serve(self, transport: asyncio.Transport, head: _Head, body: bytes) -> None:
        dispatcher = self._shared.dispatcher
        if head.caller.endpoint == VERSIONS:
            self._answered(transport, head, dispatcher.versions())
            return
        decoder = RequestDecoder()
        try:
            decoder.feed(body)
            decoded = decoder.close()
        except ProtocolError as error:
            answer: Answer | Coroutine[Any, Any, Answer] = dispatcher.malformed(head.caller, error)
        else:
            answer = dispatcher.begin(head.caller, decoded)
        if isinstance(answer, Answer):
            self._answered(transport, head, answer)
        else:
            self._task = task = self._loop.create_task(answer)
            task.add_done_callback(lambda done: self._waited(transport, head, done))

    def _answered(self, transport: asyncio.Transport, head: _Head, answer: Answer) -> None:
        """At once; others may have waited for their turn."""
        self._done(transport, head, answer)
        if self._buffer:
            self._loop.call_soon(self._go_on)

    def _waited(self, transport: asyncio.Transport, head: _Head, task: asyncio.Task[Answer]) -> None:
        self._task = None
        if not task.cancelled():
            self._done(transport, head, task.result())
            self._go_on()

    def _done(self, transport: asyncio.Transport, head: _Head, answer: Answer) -> None:
        packed = self._shared.dispatcher.packed(head.caller, answer)
        self._send(transport, packed, close=head.close or answer.close)
        self._since = self._loop.time()

    def _send(self, transport: asyncio.Transport, answer: Answer, *, close: bool) -> None:
        if answer.dropped:
            transport.abort()
            return
        head = _answer_head(answer, self._shared.date(self._loop.time()), close=close)
        if answer.cut >= 0:
            transport.write(head + answer.body[: answer.cut])
            transport.close()
            return
        transport.write(head + answer.body)
        if close:
            transport.close()

    # -- other ways ---------------------------------------------------------------------------------------------

    def _hand_over(self, transport: asyncio.Transport) -> None:
        """From here on the connection is somebody else's."""
        self._leave()
        came, self._buffer = bytes(self._buffer), bytearray()
        protocol = self._elsewhere()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(came)

    def _leave(self) -> None:
        self._transport = None
        self._shared.connections.discard(self)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        """End a connection on which a request does not arrive, or nothing happens at all."""
        transport = self._transport
        if transport is None:
            return
        self._watch = self._loop.call_later(BODY_TIMEOUT, self._look)
        waited = self._loop.time() - self._since
        if self._task is not None or self._full:
            return
        if self._buffer and waited >= BODY_TIMEOUT:
            self._send(transport, Answer(status=408), close=True)
        elif waited >= KEEP_ALIVE:
            transport.close()


def _may_begin(buffer: bytearray) -> bool:
    """Whether what came so far can become a request that is understood here."""
    if len(buffer) < _LONGEST_START:
        return any(start.startswith(buffer) or buffer.startswith(start) for start in _STARTS)
    return bytes(buffer[:_LONGEST_START]).partition(b"\r\n")[0] in _STARTS


def _parse(raw: bytes, anybody: Caller) -> _Head | None:
    """None for any head that is not of the one form."""
    start, *lines = raw.split(b"\r\n")
    endpoint = _STARTS.get(start)
    if endpoint is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            return None
        name = found[1].lower()
        if name in fields or name in _ELSEWHERE:
            return None
        fields[name] = found[2].rstrip(b" \t")
    length = fields.get(b"content-length", b"0" if endpoint == VERSIONS else b"")
    if not length.isdigit() or len(length) > 9:
        return None

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("latin-1")

    return _Head(
        replace(
            anybody,
            endpoint=endpoint,
            action=text(b"soapaction"),
            cookie=text(b"cookie"),
            agent=text(b"user-agent"),
            accepts_gzip=b"gzip" in fields.get(b"accept-encoding", b""),
            authority=text(b"host"),
        ),
        length=int(length),
        size=len(raw) + 4,
        close=b"close" in fields.get(b"connection", b"").lower(),
    )


def _answer_head(answer: Answer, date: bytes, *, close: bool) -> bytes:
    parts = [
        b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nDate: %s\r\n"
        % (
            answer.status,
            _REASONS.get(answer.status, "").encode(),
            answer.content_type.encode(),
            len(answer.body),
            date,
        )
    ]
    if answer.gzip:
        parts.append(b"Content-Encoding: gzip\r\n")
    if answer.session:
        parts.append(f'Set-Cookie: {COOKIE}="{answer.session}"; Path=/; HttpOnly; Secure\r\n'.encode())
    if close:
        parts.append(b"Connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)
