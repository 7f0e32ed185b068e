"""The sdkTunnel: the way by which a TLS client certificate gets past vCenter's reverse proxy.

A client asks the plain HTTP port to CONNECT to ``sdkTunnel:8089`` and speaks TLS inside. The tunnel only splices bytes
to the server's port that asks for client certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

TARGET = "sdktunnel:8089"
HEAD_LIMIT = 16 << 10
HEAD_TIMEOUT = 20.0
"""Seconds for a client to say where it wants to go."""


@dataclass(slots=True)
class Tunnel:
    """Listens in plain HTTP, splices to ``target``."""

    target: tuple[str, int]
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port that was taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_LIMIT)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()
            self._server = None

    def drop_connections(self) -> int:
        """Reset every connection; returns how many."""
        for writer in list(self._writers):
            writer.transport.abort()
        return len(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                await self._tunnel(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        words = head.partition(b"\r\n")[0].decode("latin-1").split()
        if len(words) != 3 or words[0] != "CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        if words[1].lower() != TARGET:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        inner_reader, inner_writer = await asyncio.open_connection(*self.target)
        try:
            # Without a length, http.client takes the connection itself for the body and closes it.
            writer.write(b"HTTP/1.1 200 Connection established\r\nContent-Length: 0\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, inner_writer))
                group.create_task(_pump(inner_reader, writer))
        except* OSError:
            pass
        finally:
            inner_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on: both directions close together."""
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()
