"""The journal: what the driver writes in the transaction of an API request, and how a worker goes through it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from contrail_vsphere.ml2.tables.clock import utc_in, utc_now
from contrail_vsphere.ml2.tables.schema import DEAD, PENDING, JournalRow

NETWORK, PORT, SECURITY_GROUP, GROUP_MEMBERS, ADDRESS_GROUP, QUALITY, EVERYTHING = (
    "network",
    "port",
    "security_group",
    "group_members",
    "address_group",
    "qos_policy",
    "everything",
)
"""Kinds. ``security_group``: its rules; ``group_members``: the addresses in it, which rules of other groups name."""
ORPHANS = "orphans"
"""Object of a row ``everything`` after which port groups go whose networks Neutron does not know, however new."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An open row."""

    id: int
    kind: str
    object_id: str
    request_id: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeadEntry:
    """A row that was given up."""

    kind: str
    object_id: str
    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one vCenter owes."""

    pending: int
    dead: int
    oldest: datetime | None
    """When the oldest pending row was written, by the database's clock."""


def note(session: Session, vcenters: Iterable[str], kind: str, object_id: str, *, request_id: str = "") -> None:
    """Write a row for each vCenter, in the caller's transaction."""
    for vcenter in sorted(set(vcenters)):
        row = JournalRow(
            vcenter=vcenter,
            kind=kind,
            object_id=object_id,
            request_id=request_id,
            state=PENDING,
            attempts=0,
            reason="",
            created_at=utc_now(),
        )
        session.add(row)


def due(session: Session, vcenter: str, *, limit: int) -> tuple[Entry, ...]:
    """Rows whose time has come, oldest first."""
    rows = session.scalars(
        select(JournalRow)
        .where(
            JournalRow.vcenter == vcenter,
            JournalRow.state == PENDING,
            or_(JournalRow.retry_at.is_(None), JournalRow.retry_at <= utc_now()),
        )
        .order_by(JournalRow.id)
        .limit(limit)
    )
    return tuple(Entry(row.id, row.kind, row.object_id, row.request_id, row.attempts) for row in rows)


def finish(session: Session, ids: Collection[int]) -> None:
    """These were followed."""
    if ids:
        session.execute(delete(JournalRow).where(JournalRow.id.in_(ids)))


def postpone(session: Session, ids: Collection[int], *, seconds: int, reason: str) -> None:
    """These failed and are due again later."""
    if ids:
        session.execute(
            update(JournalRow)
            .where(JournalRow.id.in_(ids))
            .values(attempts=JournalRow.attempts + 1, retry_at=utc_in(seconds), reason=reason[:2000])
        )


def bury(session: Session, ids: Collection[int], *, reason: str) -> None:
    """These will not succeed until somebody changes something; shown by ``neutron status``, revived by ``repair``."""
    if ids:
        session.execute(
            update(JournalRow)
            .where(JournalRow.id.in_(ids))
            .values(attempts=JournalRow.attempts + 1, state=DEAD, reason=reason[:2000])
        )


def dead(session: Session, vcenter: str, *, limit: int) -> tuple[DeadEntry, ...]:
    """Rows that were given up, newest first."""
    rows = session.scalars(
        select(JournalRow)
        .where(JournalRow.vcenter == vcenter, JournalRow.state == DEAD)
        .order_by(JournalRow.id.desc())
        .limit(limit)
    )
    return tuple(DeadEntry(row.kind, row.object_id, row.request_id, row.reason) for row in rows)


def revive(session: Session, vcenter: str) -> int:
    """Make dead rows due; how many there were."""
    found = session.execute(
        update(JournalRow)
        .where(JournalRow.vcenter == vcenter, JournalRow.state == DEAD)
        .values(state=PENDING, retry_at=None)
    )
    return int(getattr(found, "rowcount", 0))


def backlog(session: Session, vcenter: str) -> Backlog:
    """How much is open."""
    counts = {
        state: (number, oldest)
        for state, number, oldest in session.execute(
            select(JournalRow.state, func.count(), func.min(JournalRow.created_at))
            .where(JournalRow.vcenter == vcenter)
            .group_by(JournalRow.state)
        )
    }
    pending, oldest = counts.get(PENDING, (0, None))
    return Backlog(pending, counts.get(DEAD, (0, None))[0], oldest)
