"""The Keystone stand-in's socket."""

from __future__ import annotations

import ssl

from aiohttp import web

from contrail_vsphere.simulator.contrail.keystone import Keystone

MAX_BODY = 64 * 1024


class KeystoneDoor:
    """Serves one Keystone."""

    def __init__(self, keystone: Keystone) -> None:
        self._keystone = keystone
        self._runner: web.ServerRunner | None = None

    async def open(self, host: str, tls: ssl.SSLContext | None) -> str:
        """Listen on a free port; returns HOST:PORT."""
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, 0, ssl_context=tls).start()
        return f"{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.content_length or 0) > MAX_BODY:
            return web.Response(status=413)
        status, headers, body = self._keystone.answer(request.method, request.path, await request.read())
        return web.Response(status=status, text=body, content_type="application/json", headers=headers)
