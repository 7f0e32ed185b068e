"""What a caller may ask of the API: size of a body, and requests per second.

Counted per peer address before anything else is done with a request, so that guessing tokens is limited too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES: Final = 1_000_000
PEERS: Final = 4096
"""How many addresses are remembered; the one that was silent longest is forgotten."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limits:
    """ASGI middleware. ``uploads`` are paths whose body is streamed and has a limit of its own."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rate: float = 100.0,
        burst: float = 400.0,
        uploads: tuple[str, ...] = (),
        body_bytes: int = BODY_BYTES,
    ) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._rate = rate
        self._burst = burst
        self._uploads = uploads
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wait = self._wait(scope["client"][0] if scope.get("client") else "")
        if wait > 0:
            answer = JSONResponse(
                {"error": "too many requests", "hint": "slow down"}, 429, {"Retry-After": str(int(wait) + 1)}
            )
            await answer(scope, receive, send)
            return
        if scope["path"] in self._uploads:
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive, self._body_bytes)
        if body is None:
            answer = JSONResponse({"error": f"the body has more than {self._body_bytes} bytes", "hint": ""}, 413)
            await answer(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _wait(self, peer: str) -> float:
        """Seconds until the peer may ask again; 0 if it may now."""
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.setdefault(peer, _Bucket(self._burst, now))
        self._buckets.move_to_end(peer)
        if len(self._buckets) > PEERS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate
        bucket.tokens -= 1
        return 0.0


async def _whole_body(receive: Receive, limit: int) -> bytes | None:
    """The body, counted while it comes in; None if it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
