"""The simulator's own time.

It runs with the event loop's time (so a virtual-time loop makes it virtual), and can be pushed ahead or run faster
than the wall by ``simulate control clock``. Everything in the simulator that takes time sleeps on it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class Clock:
    """``rate`` simulated seconds pass per second of the loop."""

    def __init__(self, start: datetime | None = None, *, rate: float = 1.0) -> None:
        self._start = start or datetime.now(UTC)
        self._rate = rate
        self._skipped = 0.0
        self._origin: float | None = None
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rate(self) -> float:
        """Simulated seconds per second of the loop."""
        return self._rate

    def time(self) -> float:
        """Simulated seconds since the clock was first read."""
        loop_time = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = loop_time
        return (loop_time - self._origin) * self._rate + self._skipped

    def now(self) -> datetime:
        """Simulated wall-clock time, always aware and UTC (naive times would travel as if they were UTC)."""
        return self._start + timedelta(seconds=self.time())

    async def sleep(self, seconds: float) -> None:
        """Return after that many simulated seconds; 0 still yields once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time() + seconds, next(self._order), waiter))
        self._arm()
        await waiter

    def next_due(self) -> float | None:
        """When the next sleeper wakes, in simulated seconds as ``time``; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Jump ahead; sleepers that are due by then wake in their order."""
        self.time()
        self._skipped += max(0.0, seconds)
        self._wake()

    def set_rate(self, rate: float) -> None:
        """Run faster or slower from now on."""
        now = self.time()
        self._origin = asyncio.get_running_loop().time()
        self._skipped, self._rate = now, rate
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if self._sleepers:
            delay = max(0.0, self._sleepers[0][0] - self.time()) / self._rate
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        now = self.time() + 1e-6
        while self._sleepers and self._sleepers[0][0] <= now:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
        self._arm()
