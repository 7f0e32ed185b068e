"""A queue of keys that says what may run now, and never hands out one key twice at a time.

It holds keys only, never events: whoever takes a key looks at the world afresh, so a hundred marks cost one pass and a
lost one costs time, not correctness. No clock and no tasks in here: times are numbers given by the caller, which is
why its rules can be tested in full without waiting.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyedQueue(Generic[K]):
    """Each key is idle, due at one moment, or running; a running key may be due again and waits until it is done."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._running: set[K] = set()
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()

    def mark(self, key: K, at: float) -> bool:
        """Want a pass at ``at`` or earlier; return False if the wish was already covered."""
        present = self._due.get(key)
        if present is not None and present <= at:
            return False
        self._due[key] = at
        if key not in self._running:
            heapq.heappush(self._heap, (at, next(self._order), key))
        return True

    def take(self, now: float) -> K | None:
        """The key that is due longest, now running, all its marks answered; None if nothing is due."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        self._running.add(key)
        return key

    def done(self, key: K) -> None:
        """The pass is over; marks made meanwhile count from now on."""
        self._running.remove(key)
        at = self._due.get(key)
        if at is not None:
            heapq.heappush(self._heap, (at, next(self._order), key))

    def forget(self, key: K) -> None:
        """Withdraw the wish for a pass; one that runs is not touched."""
        self._due.pop(key, None)

    def next_due(self) -> float | None:
        """When the next key that is not running becomes due."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    @property
    def running(self) -> frozenset[K]:
        """The keys handed out and not done."""
        return frozenset(self._running)

    @property
    def waiting(self) -> int:
        """How many keys are due now or later."""
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        """Whether a pass is wanted, now or later."""
        return key in self._due

    def _drop_stale(self) -> None:
        """A heap entry stands only while it is its key's present wish."""
        while self._heap:
            at, _, key = self._heap[0]
            if key not in self._running and self._due.get(key) == at:
                return
            heapq.heappop(self._heap)
