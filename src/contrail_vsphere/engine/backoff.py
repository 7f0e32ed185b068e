"""Retry policy as data: how long to wait before the n-th try is a value that settings and tests can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays in seconds: ``first``, ``first * factor``, ... up to ``most``, each spread by ``jitter``."""

    first: float
    most: float
    factor: float = 2.0
    jitter: float = 0.2
    """Share by which a delay varies to either side, so that keys that failed together do not return together."""

    def __post_init__(self) -> None:
        """Refuse a policy that would spin or shrink."""
        if self.first <= 0 or self.most < self.first or self.factor < 1 or not 0 <= self.jitter < 1:
            raise ValueError(f"not a backoff: {self}")

    def delay(self, attempt: int, random: Random) -> float:
        """Seconds to wait after failure number ``attempt`` (the first is 1); never above ``most``."""
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1, not {attempt}")
        exponent = (attempt - 1) * math.log(self.factor)
        capped = exponent >= math.log(self.most / self.first)
        base = self.most if capped else self.first * math.exp(exponent)
        return min(self.most, base * random.uniform(1 - self.jitter, 1 + self.jitter))


QUICK = Backoff(first=1.0, most=60.0)
"""For what may succeed any moment: a dropped connection, a busy object."""

SLOW = Backoff(first=30.0, most=900.0)
"""For what fails until somebody changes something: a missing privilege, a refused URL."""
