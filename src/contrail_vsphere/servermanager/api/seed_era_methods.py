"""The seed era's client writes ``delete`` in small letters, and its server did not mind.

RFC 9110 (9.1) has methods case-sensitive, so a router is right to answer 405. This layer stands before it, and only
where the seed era's clients are let in.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

SPELLED_SMALL: Final = frozenset({"delete", "get", "post", "put"})


class MethodsInSmallLetters:
    """ASGI middleware: methods of the era in the spelling that everything behind it knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] in SPELLED_SMALL:
            scope = {**scope, "method": scope["method"].upper()}
        await self._app(scope, receive, send)
