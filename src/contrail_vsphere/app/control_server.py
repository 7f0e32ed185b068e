"""Serves the control API with uvicorn inside our own loop: it starts, stops and fails with the rest of the process.

uvicorn's ``serve`` would take the signal handlers, poll ten times a second, and leave the process when the port is in
use; only its start-up, protocol and shutdown are used here.
"""

from __future__ import annotations

import socket
import ssl

import uvicorn
from fastapi import FastAPI

from contrail_vsphere.config.settings import Address
from contrail_vsphere.model.errors import InvalidState, SettingsError


class ControlServer:
    """One listener; ``tls`` None serves plain HTTP, which only a loopback address may, or who asked for it by name."""

    def __init__(
        self, app: FastAPI, listen: Address, *, tls: ssl.SSLContext | None = None, plain_anywhere: bool = False
    ) -> None:
        if tls is None and not listen.is_loopback and not plain_anywhere:
            raise SettingsError(f"control.listen: {listen} can be reached from outside and needs a certificate")
        self._app = app
        self._listen = listen
        self._tls = tls
        self._server: uvicorn.Server | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Base URL with the port really bound; empty while it does not run."""
        return self._url

    async def start(self) -> None:
        """Bind and serve; ``SettingsError`` if the address cannot be had."""
        if self._server is not None:
            raise InvalidState("the control API runs already")
        listener = _bind(self._listen)
        bound = Address(self._listen.host, listener.getsockname()[1])
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        config.load()
        # Our own context: it is reloaded with its identity, without a restart.
        config.ssl = self._tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        self._server = server
        self._url = f"{'https' if self._tls else 'http'}://{bound}"

    async def stop(self) -> None:
        """Take no more requests, finish those under way within five seconds; safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            self._url = ""
            await server.shutdown()


def _bind(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((listen.host, listen.port))
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"control.listen: cannot listen on {listen}: {error.strerror}", hint="choose another address or port"
        ) from error
    return listener
