"""What works and what does not, per key: the one place that status, metrics and the health document read from.

Controllers write an entry after every pass; connections and publishers write their own (source "vcenter", key "lab").
Keys are kept as text because the readers are people and other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["ok", "waiting", "failing", "refused", "broken"]
"""``waiting``: nothing wrong, not finished. ``failing``: retried, may pass by itself. ``refused``: somebody must change
something. ``broken``: an error nobody foresaw."""

_SEVERITY: dict[State, int] = {"ok": 0, "waiting": 1, "failing": 2, "refused": 3, "broken": 4}


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """The last thing known about one key of one source."""

    source: str
    key: str
    state: State
    since: datetime
    """When the state was entered; unchanged while it lasts."""
    reason: str = ""
    """What is wrong or waited for, one line."""
    hint: str = ""
    """What a reader can do about it."""
    attempts: int = 0
    """Failures in a row."""
    next_try: datetime | None = None
    last_success: datetime | None = None

    @property
    def bad(self) -> bool:
        """Whether somebody should look."""
        return _SEVERITY[self.state] >= _SEVERITY["failing"]


class HealthBook:
    """All entries, by (source, key). ``now`` gives aware UTC times."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._entries: dict[tuple[str, str], KeyHealth] = {}

    def succeeded(self, source: str, key: object) -> None:
        """The key is as it should be."""
        self._enter(source, key, "ok", attempts=0)

    def waiting(self, source: str, key: object, *, reason: str, next_try: float | None = None) -> None:
        """Nothing failed, but the key is not finished; ``next_try`` in seconds from now."""
        self._enter(source, key, "waiting", reason=reason, attempts=0, next_try=next_try)

    def failed(
        self,
        source: str,
        key: object,
        *,
        state: State = "failing",
        reason: str,
        hint: str = "",
        attempts: int = 1,
        next_try: float | None = None,
    ) -> None:
        """A try failed; ``next_try`` in seconds from now, None when nobody will try by itself."""
        self._enter(source, key, state, reason=reason, hint=hint, attempts=attempts, next_try=next_try)

    def forget(self, source: str, key: object) -> None:
        """The key is gone from the world."""
        self._entries.pop((source, str(key)), None)

    def get(self, source: str, key: object) -> KeyHealth | None:
        """One entry."""
        return self._entries.get((source, str(key)))

    def items(self, source: str | None = None) -> tuple[KeyHealth, ...]:
        """All entries (of one source), worst first, then by name."""
        chosen = (entry for entry in self._entries.values() if source in (None, entry.source))
        return tuple(sorted(chosen, key=lambda entry: (-_SEVERITY[entry.state], entry.source, entry.key)))

    def bad(self) -> tuple[KeyHealth, ...]:
        """The entries somebody should look at, worst first."""
        return tuple(entry for entry in self.items() if entry.bad)

    def _enter(
        self,
        source: str,
        key: object,
        state: State,
        *,
        reason: str = "",
        hint: str = "",
        attempts: int,
        next_try: float | None = None,
    ) -> None:
        now = self._now()
        before = self._entries.get((source, str(key)))
        entry = KeyHealth(
            source=source,
            key=str(key),
            state=state,
            since=before.since if before is not None and before.state == state else now,
            reason=reason,
            hint=hint,
            attempts=attempts,
            next_try=None if next_try is None else now + timedelta(seconds=next_try),
            last_success=before.last_success if before is not None else None,
        )
        if state == "ok":
            entry = replace(entry, last_success=now)
        self._entries[source, str(key)] = entry
