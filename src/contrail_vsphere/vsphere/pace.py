"""How soon something that follows vCenter for ever tries again."""

from __future__ import annotations

import asyncio
import random

FIRST, MOST = 1.0, 30.0
CALM = 10.0
"""Seconds without a failure after which failures are counted anew."""


class Pace:
    """The first failure after a calm time is followed at once, each further one after a longer pause.

    One success in between does not make it calm: a peer that answers every other call must not be hammered.
    """

    def __init__(self, *, random: random.Random) -> None:
        self._random = random
        self._count = 0
        self._last = float("-inf")
        self.failures = 0
        """In a row, up to now; for health."""

    def succeeded(self) -> None:
        """An answer came."""
        self.failures = 0

    async def nothing_new(self, asked: float) -> None:
        """A long poll asked at that loop time brought nothing: if it came back at once, the peer does not hold it."""
        if asyncio.get_running_loop().time() - asked < FIRST:
            await asyncio.sleep(FIRST)

    async def failed(self) -> None:
        """None came: return when it is time to try again."""
        now = asyncio.get_running_loop().time()
        self._count = self._count + 1 if now - self._last < CALM else 0
        self.failures += 1
        if self._count:
            await asyncio.sleep(min(FIRST * 2.0 ** (self._count - 1), MOST) * self._random.uniform(0.5, 1.0))
        self._last = asyncio.get_running_loop().time()
