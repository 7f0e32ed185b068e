"""One address for two managers, as a load balancer or a floating address gives them: TCP, to whoever is ready."""

from __future__ import annotations

import asyncio
import contextlib


class VirtualAddress:
    """``to`` is where new connections go now; None: nobody answers."""

    def __init__(self) -> None:
        self.to: tuple[str, int] | None = None
        self._pipes: set[asyncio.Task] = set()

    async def __aenter__(self) -> VirtualAddress:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._pipes:
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._server.sockets[0].getsockname())

    async def _serve(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            if self.to is None:
                return
            inner_reader, inner_writer = await asyncio.open_connection(*self.to)
            with contextlib.closing(inner_writer):
                ways = [
                    asyncio.create_task(_pump(reader, inner_writer)),
                    asyncio.create_task(_pump(inner_reader, writer)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader, writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
