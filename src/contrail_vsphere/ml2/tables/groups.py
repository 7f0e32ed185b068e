"""Known port groups and booked ports: how the driver fills in a binding without asking anybody."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from contrail_vsphere.ml2.tables.schema import BookingRow, PortGroupRow

NAME_LIMIT = 80
"""Most characters of a port group's name."""


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A port group that exists, as far as the worker knows."""

    vcenter: str
    dvs_name: str
    segment_id: str
    network_id: str
    dvs_uuid: str
    group_key: str
    group_name: str


def group_name(network_id: str, segment_id: str, *, several: bool) -> str:
    """Name of the port group of a network: nova, given no key, looks for a name that has the network's id in it."""
    return f"os-{network_id}-{segment_id[:8]}" if several else f"os-{network_id}"


def known(session: Session, vcenter: str, dvs_name: str, segment_id: str) -> KnownGroup | None:
    """None while the worker has not made it (or not said so)."""
    row = session.get(PortGroupRow, (vcenter, dvs_name, segment_id))
    return _value(row) if row is not None else None


def of_vcenter(session: Session, vcenter: str) -> tuple[KnownGroup, ...]:
    """All of one vCenter."""
    return tuple(_value(row) for row in session.scalars(select(PortGroupRow).where(PortGroupRow.vcenter == vcenter)))


def record(session: Session, group: KnownGroup) -> None:
    """It exists, and is like this."""
    session.merge(
        PortGroupRow(
            vcenter=group.vcenter,
            dvs_name=group.dvs_name,
            segment_id=group.segment_id,
            network_id=group.network_id,
            dvs_uuid=group.dvs_uuid,
            group_key=group.group_key,
            group_name=group.group_name,
        )
    )


def forget(session: Session, vcenter: str, dvs_name: str, segment_id: str) -> None:
    """It is gone, and its ports with it."""
    row = session.get(PortGroupRow, (vcenter, dvs_name, segment_id))
    if row is not None:
        session.execute(
            delete(BookingRow).where(BookingRow.dvs_uuid == row.dvs_uuid, BookingRow.group_key == row.group_key)
        )
        session.delete(row)


def book(session: Session, group: KnownGroup, port_id: str, host: str) -> str | None:
    """Key of a DVPort for this port on this host: the one it has, else a free one; None when there is none."""
    mine = session.scalar(select(BookingRow).where(BookingRow.port_id == port_id, BookingRow.host == host))
    if mine is not None:
        if (mine.dvs_uuid, mine.group_key) == (group.dvs_uuid, group.group_key):
            return mine.port_key
        mine.port_id = mine.host = None
        session.flush()
    row = session.scalar(
        select(BookingRow)
        .where(
            BookingRow.dvs_uuid == group.dvs_uuid,
            BookingRow.group_key == group.group_key,
            BookingRow.port_id.is_(None),
        )
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    row.port_id, row.host = port_id, host
    return row.port_key


def offer(session: Session, group: KnownGroup, keys: Collection[str]) -> None:
    """These ports are free to be booked; those that are booked stay so. The vCenter may have another name by now."""
    for key in keys:
        row = session.get(BookingRow, (group.dvs_uuid, key))
        if row is None:
            row = BookingRow(dvs_uuid=group.dvs_uuid, port_key=key, group_key=group.group_key)
            session.add(row)
        row.vcenter = group.vcenter


def free(session: Session, group: KnownGroup) -> int:
    """How many ports of a group can be booked."""
    return (
        session.scalar(
            select(func.count())
            .select_from(BookingRow)
            .where(
                BookingRow.dvs_uuid == group.dvs_uuid,
                BookingRow.group_key == group.group_key,
                BookingRow.port_id.is_(None),
            )
        )
        or 0
    )


def bookings(session: Session, vcenter: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(Port, host) -> (uuid of the switch, key)."""
    rows = session.scalars(select(BookingRow).where(BookingRow.vcenter == vcenter, BookingRow.port_id.is_not(None)))
    return {(row.port_id or "", row.host or ""): (row.dvs_uuid, row.port_key) for row in rows}


def free_keys(session: Session, vcenter: str) -> dict[tuple[str, str], set[str]]:
    """(Uuid of the switch, port group) -> keys that can be booked."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in session.scalars(select(BookingRow).where(BookingRow.vcenter == vcenter, BookingRow.port_id.is_(None))):
        found.setdefault((row.dvs_uuid, row.group_key), set()).add(row.port_key)
    return found


def withdraw(session: Session, dvs_uuid: str, keys: Collection[str]) -> None:
    """These are not there to be booked."""
    session.execute(
        delete(BookingRow).where(
            BookingRow.dvs_uuid == dvs_uuid, BookingRow.port_key.in_(sorted(keys)), BookingRow.port_id.is_(None)
        )
    )


def rebook(session: Session, group: KnownGroup, port_id: str, host: str, key: str) -> None:
    """The port is on this DVPort now, whatever it had booked."""
    release(session, port_id, host)
    session.flush()
    row = session.get(BookingRow, (group.dvs_uuid, key))
    if row is None:
        row = BookingRow(dvs_uuid=group.dvs_uuid, port_key=key, group_key=group.group_key)
        session.add(row)
    row.vcenter, row.port_id, row.host = group.vcenter, port_id, host


def release(session: Session, port_id: str, host: str) -> None:
    """Give back what a port had booked on a host."""
    session.execute(
        update(BookingRow).where(BookingRow.port_id == port_id, BookingRow.host == host).values(port_id=None, host=None)
    )


def unbook(session: Session, port_id: str, *, keep_host: str = "") -> None:
    """Give back what a port had booked, except on ``keep_host``."""
    session.execute(
        update(BookingRow)
        .where(BookingRow.port_id == port_id, BookingRow.host != keep_host)
        .values(port_id=None, host=None)
    )


def _value(row: PortGroupRow) -> KnownGroup:
    return KnownGroup(
        row.vcenter, row.dvs_name, row.segment_id, row.network_id, row.dvs_uuid, row.group_key, row.group_name
    )
