"""Mass deletion stops here and asks a person.

A view that came back empty, a cluster dropped from a file by mistake, a bug of ours: all look like "delete everything".
Every controller asks the brake before it deletes. Once too much was asked for within the window the brake is engaged,
also across restarts, until a person releases it; the release approves exactly the deletions that were refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.model.errors import BrakeEngaged, InvalidState

KIND = "brake"
RELEASES = "brake-release"


@dataclass(frozen=True, slots=True)
class BrakeState:
    """As shown to people. ``refused``: the keys that wait for the release, sorted."""

    name: str
    engaged: bool
    since: datetime | None = None
    refused: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class _State:
    deleted: dict[str, datetime] = field(default_factory=dict)
    approved: dict[str, datetime] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    since: datetime | None = None
    reason: str = ""


class DeletionBrake:
    """Lets through ``max(absolute, fraction * population)`` distinct deletions per ``window``.

    ``absolute`` makes small populations usable: one of three may go although it is a third. ``approve_for`` bounds how
    long a release stands for keys that were not deleted at once. State lives in the journal under the brake's name.
    """

    def __init__(
        self,
        name: str,
        *,
        journal: RecordStore,
        now: Callable[[], datetime],
        absolute: int = 3,
        fraction: float = 0.1,
        window: timedelta = timedelta(minutes=15),
        approve_for: timedelta = timedelta(hours=1),
    ) -> None:
        if absolute < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"not a brake: absolute={absolute} fraction={fraction}")
        self.name = name
        self._journal = journal
        self._now = now
        self._absolute = absolute
        self._fraction = fraction
        self._window = window
        self._approve_for = approve_for
        record = journal.get(KIND, name)
        self._state = _State() if record is None else _decode(record.value)

    def limit(self, population: int) -> int:
        """How many of a population may go within the window."""
        return max(self._absolute, int(self._fraction * population))

    def permit(self, keys: Collection[str], *, population: int) -> None:
        """Ask before deleting; counted when permitted. ``population``: how many there are before the deletion.

        Raises ``BrakeEngaged`` for all the keys if one of them may not go, and remembers them for the release.
        """
        self._expire()
        state = self._state
        wanted = {key for key in keys if key not in state.approved}
        if not wanted:
            return
        counted = len(wanted | state.deleted.keys())
        limit = self.limit(population)
        if state.since is None and counted > limit:
            state.since = self._now()
            state.reason = (
                f"{counted} of {population} would be deleted within {self._window.total_seconds() / 60:g} min,"
                f" {limit} are allowed"
            )
        if state.since is not None:
            if not wanted <= state.refused:
                state.refused |= wanted
                self._save()
            raise BrakeEngaged(f"{self.name}: {state.reason}", hint=f"check, then release the brake {self.name!r}")
        state.deleted.update(dict.fromkeys(wanted, self._now()))
        self._save()

    def release(self, *, by: str, reason: str = "") -> tuple[str, ...]:
        """A person approves the refused deletions; returns their keys. ``InvalidState`` if it is not engaged."""
        state = self._state
        if state.since is None:
            raise InvalidState(f"the brake {self.name!r} is not engaged")
        now = self._now()
        approved = tuple(sorted(state.refused))
        record = {"by": by, "reason": reason, "at": now.isoformat(), "cause": state.reason, "keys": list(approved)}
        self._state = _State(approved=dict.fromkeys(approved, now + self._approve_for))
        with self._journal.transaction():
            self._journal.put(RELEASES, f"{self.name}/{now.isoformat()}", record)
            self._save()
        return approved

    @property
    def state(self) -> BrakeState:
        """For status and metrics."""
        state = self._state
        return BrakeState(self.name, state.since is not None, state.since, tuple(sorted(state.refused)), state.reason)

    def _expire(self) -> None:
        now = self._now()
        state = self._state
        state.deleted = {key: at for key, at in state.deleted.items() if at + self._window > now}
        state.approved = {key: until for key, until in state.approved.items() if until > now}

    def _save(self) -> None:
        self._journal.put(KIND, self.name, _encode(self._state))


def _encode(state: _State) -> dict[str, Any]:
    return {
        "deleted": {key: at.isoformat() for key, at in state.deleted.items()},
        "approved": {key: at.isoformat() for key, at in state.approved.items()},
        "refused": sorted(state.refused),
        "since": state.since.isoformat() if state.since else None,
        "reason": state.reason,
    }


def _decode(value: Mapping[str, Any]) -> _State:
    return _State(
        deleted={key: datetime.fromisoformat(at) for key, at in value["deleted"].items()},
        approved={key: datetime.fromisoformat(at) for key, at in value["approved"].items()},
        refused=set(value["refused"]),
        since=datetime.fromisoformat(value["since"]) if value["since"] else None,
        reason=value["reason"],
    )
