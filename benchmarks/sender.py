"""A TLS server that answers every request with as many bytes as it was told: what the transfer alone costs.

Prints a ready line as the simulated vCenter does, serves until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from contrail_vsphere.simulator import tls


class Sender(asyncio.Protocol):
    """One connection; a request is whatever comes in one piece."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(self._answer)


async def main(size: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        identity = tls.make_identity(Path(directory), "127.0.0.1")
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Sender(answer), "127.0.0.1", 0, ssl=identity.plain)
        port = server.sockets[0].getsockname()[1]
        ready = {"url": f"https://127.0.0.1:{port}/sdk", "ca_file": str(identity.ca_file), "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
