"""Stops asking a server that does not answer, and says so.

After some failures in a row calls fail at once; when the pause is over they are let through again, and the next
failure starts another pause. (Not one probe at a time: it might be a long poll, which answers when there is news.) What
it knows is shown as health: an operator sees "vCenter does not answer since 10:42" and not a hundred stack traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from contrail_vsphere.model.errors import Unreachable


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of the connection to one server."""

    reachable: bool
    failures: int = 0
    """In a row, up to now."""
    error: str = ""
    """The last one; stays after recovery."""
    since: datetime | None = None
    """Since when it has been (un)reachable; None before the first answer."""


class CircuitBreaker:
    """Counts what the transport reports. ``failures`` in a row open it for ``pause`` seconds of loop time."""

    def __init__(self, *, failures: int = 4, pause: float = 5.0, now: Callable[[], datetime] | None = None) -> None:
        self._most = failures
        self._pause = pause
        self._now = now or (lambda: datetime.now(UTC))
        self._open_until: float | None = None
        self.health = Health(reachable=False)

    def admit(self, name: str) -> None:
        """Let a call through or raise Unreachable at once."""
        if self._open_until is None:
            return
        if asyncio.get_running_loop().time() < self._open_until:
            raise Unreachable(f"{name} does not answer: {self.health.error}", hint="it is tried again soon")

    def succeeded(self) -> None:
        """The server answered, whatever it said."""
        self._open_until = None
        if not self.health.reachable or self.health.failures:
            since = self.health.since if self.health.reachable else self._now()
            self.health = Health(reachable=True, error=self.health.error, since=since)

    def failed(self, error: str) -> None:
        """No answer."""
        failures = self.health.failures + 1
        down = failures >= self._most or not self.health.reachable
        since = self.health.since if down == (not self.health.reachable) and self.health.since else self._now()
        self.health = Health(reachable=not down, failures=failures, error=error, since=since)
        if failures >= self._most:
            self._open_until = asyncio.get_running_loop().time() + self._pause
