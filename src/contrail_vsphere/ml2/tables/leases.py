"""Who may work for a vCenter: a row that its holder renews, and an epoch that outlives the holder.

Pacemaker starts one worker per vCenter; the lease is the second fence, for a worker that was cut off and does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from contrail_vsphere.ml2.tables.clock import utc_in, utc_now
from contrail_vsphere.ml2.tables.schema import LeaseRow


@dataclass(frozen=True, slots=True)
class Lease:
    """As the table has it."""

    vcenter: str
    holder: str
    epoch: int
    expires_at: datetime
    expired: bool
    seen: str


def acquire(session: Session, vcenter: str, holder: str, *, seconds: int) -> int | None:
    """The new epoch, or None while somebody else's lease runs. Also takes over one's own from before a restart."""
    taken = session.execute(
        update(LeaseRow)
        .where(LeaseRow.vcenter == vcenter, or_(LeaseRow.expires_at < utc_now(), LeaseRow.holder == holder))
        .values(holder=holder, epoch=LeaseRow.epoch + 1, expires_at=utc_in(seconds), seen="{}")
    )
    if not getattr(taken, "rowcount", 0):
        if session.get(LeaseRow, vcenter) is not None:
            return None
        try:
            with session.begin_nested():
                session.execute(
                    insert(LeaseRow).values(
                        vcenter=vcenter, holder=holder, epoch=1, expires_at=utc_in(seconds), seen="{}"
                    )
                )
        except IntegrityError:
            return None
    epoch = session.scalar(select(LeaseRow.epoch).where(LeaseRow.vcenter == vcenter))
    return int(epoch) if epoch is not None else None


def renew(session: Session, vcenter: str, epoch: int, *, seconds: int, seen: str) -> bool:
    """False when the lease is somebody else's now."""
    renewed = session.execute(
        update(LeaseRow)
        .where(LeaseRow.vcenter == vcenter, LeaseRow.epoch == epoch)
        .values(expires_at=utc_in(seconds), seen=seen)
    )
    # MariaDB counts rows that match, not rows that change: Neutron's connections set CLIENT.FOUND_ROWS.
    return bool(getattr(renewed, "rowcount", 0))


def release(session: Session, vcenter: str, epoch: int) -> None:
    """Let the next one in at once."""
    session.execute(
        update(LeaseRow).where(LeaseRow.vcenter == vcenter, LeaseRow.epoch == epoch).values(expires_at=utc_in(-1))
    )


def hold(session: Session, vcenter: str, epoch: int) -> bool:
    """Lock the lease for the rest of the transaction; False when it is somebody else's now.

    What a holder writes to Neutron goes into such a transaction, so that one that was replaced writes nothing.
    """
    found = session.scalar(select(LeaseRow.epoch).where(LeaseRow.vcenter == vcenter).with_for_update())
    return found == epoch


def read(session: Session, vcenter: str) -> Lease | None:
    """None if nobody ever held it."""
    row = session.execute(
        select(LeaseRow, (LeaseRow.expires_at < utc_now()).label("expired")).where(LeaseRow.vcenter == vcenter)
    ).first()
    if row is None:
        return None
    lease, expired = row
    return Lease(vcenter, lease.holder, lease.epoch, lease.expires_at, bool(expired), lease.seen)
