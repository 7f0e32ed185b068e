"""Connections to config API servers that do not wait for delayed acknowledgements.

The API server (gevent's WSGI) sends head and body of an answer as two segments with Nagle's algorithm on: the second
waits until the first is acknowledged, and our kernel delays that by 40 ms. On a kept connection every call would take
44 ms instead of one or two. Linux can be told to acknowledge at once, but forgets it; so it is told at each request.
"""

from __future__ import annotations

import socket
from typing import Any

import aiohttp

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""


class PromptConnector(aiohttp.TCPConnector):
    """A connection pool whose connections acknowledge at once."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Take a connection from the pool, or open one."""
        connection = await super().connect(*args, **kwargs)
        acknowledge_at_once(connection.transport)
        return connection


def acknowledge_at_once(transport: Any) -> None:
    """For the answer that is to come; does nothing where it cannot be."""
    wire = transport.get_extra_info("socket") if transport is not None else None
    if wire is None or _QUICKACK is None or wire.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    try:
        wire.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    except OSError:
        # The peer has closed it; the request will say so.
        return
