"""The tables. None refers to a table of Neutron's: a row must outlive the network or port that it cleans up after.

Times are the database's own (``UTC_TIMESTAMP``), because the clocks of controllers differ.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import BigInteger, DateTime, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Kind = Literal["network", "port", "everything"]
"""What a journal row is about; ``everything`` asks for a reconciliation of the whole vCenter."""
PENDING, DEAD = "pending", "dead"


class Base(DeclarativeBase):
    """Of our tables only."""


class JournalRow(Base):
    """One change of Neutron's that one vCenter has not followed yet.

    A row says which object to look at again, not what to do: what is wanted is read when the row is worked on, so that
    ten changes of one port cost one write, and a deletion needs no row of another kind.
    """

    __tablename__ = "vmware_dvs_journal"
    __table_args__ = (Index("ix_vmware_dvs_journal_open", "vcenter", "state", "retry_at", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    vcenter: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    object_id: Mapped[str] = mapped_column(String(36))
    request_id: Mapped[str] = mapped_column(String(64), default="")
    """Of the API request, for logs and vCenter's task list."""
    state: Mapped[str] = mapped_column(String(16), default=PENDING)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[datetime | None] = mapped_column(DateTime)
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why the last attempt failed."""
    created_at: Mapped[datetime] = mapped_column(DateTime)


class PortGroupRow(Base):
    """The port group that stands for one segment of a network on one switch, as the worker last saw it."""

    __tablename__ = "vmware_dvs_port_groups"
    __table_args__ = (Index("ix_vmware_dvs_port_groups_network", "network_id"),)

    vcenter: Mapped[str] = mapped_column(String(64), primary_key=True)
    dvs_name: Mapped[str] = mapped_column(String(80), primary_key=True)
    segment_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    network_id: Mapped[str] = mapped_column(String(36))
    dvs_uuid: Mapped[str] = mapped_column(String(64))
    """As vSphere writes it: ``50 2c ...-..``."""
    group_key: Mapped[str] = mapped_column(String(64))
    group_name: Mapped[str] = mapped_column(String(80))


class BookingRow(Base):
    """A DVPort that the worker keeps for ports to come (``port_id`` empty), or that a port was bound to."""

    __tablename__ = "vmware_dvs_bookings"
    __table_args__ = (
        UniqueConstraint("port_id", "host", name="uq_vmware_dvs_bookings_port"),
        Index("ix_vmware_dvs_bookings_free", "dvs_uuid", "group_key", "port_id"),
    )

    dvs_uuid: Mapped[str] = mapped_column(String(64), primary_key=True)
    port_key: Mapped[str] = mapped_column(String(32), primary_key=True)
    vcenter: Mapped[str] = mapped_column(String(64))
    group_key: Mapped[str] = mapped_column(String(64))
    port_id: Mapped[str | None] = mapped_column(String(36))
    host: Mapped[str | None] = mapped_column(String(255))


class LeaseRow(Base):
    """Who works for a vCenter. ``epoch`` grows with every new holder: what an older one still writes is refused."""

    __tablename__ = "vmware_dvs_leases"

    vcenter: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(255), default="")
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    expires_at: Mapped[datetime] = mapped_column(DateTime)
    seen: Mapped[str] = mapped_column(Text, default="{}")
    """What the holder last said of itself, as JSON: for ``neutron status``."""
