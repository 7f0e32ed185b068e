"""How fast we write to a config API: never so fast that its queue towards RabbitMQ overflows.

An API server takes writes faster than it can publish them; at 4096 unpublished messages it refuses all writes of
everybody with a 500. So writes are spaced, and more widely for a while after such an answer.
"""

from __future__ import annotations

import asyncio

SLOWEST = 2.0
"""Writes per second that are always tried."""
RECOVERY = 1.02
"""Factor by which the rate grows again with each write that is taken."""


class WritePace:
    """Admits ``rate`` writes per second, and ``burst`` at once after a quiet time."""

    def __init__(self, *, rate: float = 150.0, burst: int = 64) -> None:
        self._top = rate
        self._burst = burst
        self._next = float("-inf")
        self.rate = rate
        """As it is now, per second."""

    async def admit(self) -> None:
        """Return when the next write may go."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - self._burst / self.rate) + 1 / self.rate
        if self._next > now:
            await asyncio.sleep(self._next - now)

    def taken(self) -> None:
        """A write was done."""
        self.rate = min(self._top, self.rate * RECOVERY)

    def refused(self) -> None:
        """The server asked for patience."""
        self.rate = max(SLOWEST, self.rate / 2)
