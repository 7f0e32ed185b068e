"""What every change leaves behind: the state's history with its reason, and the audit log of who did what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.servermanager.states import ImageState, RunState, ServerState, check_move
from contrail_vsphere.servermanager.tables import Audit, Image, Run, Server, Transition
from contrail_vsphere.servermanager.vault import unsealed_masked


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and when; one per unit of work."""

    name: str
    at: datetime


SYSTEM = "server-manager"
"""Who acts when nobody asked: jobs, and what the Ansible server reports."""


def audit(
    session: Session, actor: Actor, action: str, *, kind: str, object_id: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Append to the audit log; secrets in ``detail`` are masked."""
    shown = unsealed_masked(dict(detail or {}))
    session.add(Audit(at=actor.at, who=actor.name, action=action, kind=kind, object_id=object_id, detail=shown))


def born(session: Session, actor: Actor, row: Server | Image | Run, *, reason: str) -> None:
    """Begin the history of a new object."""
    _append(session, actor, row, "", reason)


def move(session: Session, actor: Actor, row: Server | Image | Run, state: str, *, reason: str) -> bool:
    """Change the state of an object; ``InvalidState`` if the table does not allow it. False if it was there already.

    A new reason for the same state is kept without an entry in the history.
    """
    if row.state == state:
        row.reason = reason
        return False
    before = row.state
    if isinstance(row, Server):
        check_move(ServerState(before), ServerState(state), name=f"server {row.id}")
    elif isinstance(row, Image):
        check_move(ImageState(before), ImageState(state), name=f"image {row.id}")
    else:
        check_move(RunState(before), RunState(state), name=f"run {row.id}")
    row.state, row.reason, row.since = state, reason, actor.at
    _append(session, actor, row, before, reason)
    return True


def history(session: Session, kind: str, object_id: str) -> list[dict[str, Any]]:
    """The transitions of an object, the oldest first."""
    rows = session.scalars(
        select(Transition).where(Transition.kind == kind, Transition.object_id == object_id).order_by(Transition.id)
    )
    return [
        {"before": row.before, "after": row.after, "reason": row.reason, "who": row.who, "at": row.at} for row in rows
    ]


def _append(session: Session, actor: Actor, row: Server | Image | Run, before: str, reason: str) -> None:
    session.add(
        Transition(
            kind=row.__tablename__,
            object_id=row.id,
            before=before,
            after=row.state,
            reason=reason,
            who=actor.name,
            at=actor.at,
        )
    )
