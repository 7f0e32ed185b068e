"""Serves the control API on a loopback port of its own, on the simulator's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

LOOPBACK = "127.0.0.1"


class _QuietServer(uvicorn.Server):
    """Leaves the process's signals to whoever runs the simulator."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlServer:
    """Only loopback can reach it."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> str:
        """Serve; returns the base URL."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"control port {port}: {os.strerror(error.errno or 0)}") from error
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]), name="control")
        return f"http://{LOOPBACK}:{listener.getsockname()[1]}"

    async def stop(self) -> None:
        """Stop serving; requests under way get a second."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None
