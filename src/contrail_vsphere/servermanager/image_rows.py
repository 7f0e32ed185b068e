"""Questions to an image's row: who uses it, what a server pulls of it, how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.servermanager.tables import Cluster, Image, Server


def users_of(session: Session, image_id: str) -> list[str]:
    """Who refers to an image."""
    clusters = session.scalars(
        select(Cluster.id).where(or_(Cluster.image_id == image_id, Cluster.provisioned_id == image_id))
    )
    servers = session.scalars(select(Server.id).where(Server.provisioned_id == image_id))
    return [f"cluster {each}" for each in clusters] + [f"server {each}" for each in servers]


def reference(image: Image, role_names: Iterable[str]) -> str:
    """What a server pulls for a role: by digest where it lies in our registry; ``NotFound`` if the image lacks it."""
    names = set(role_names)
    for part in image.parts:
        if part.role in names:
            return f"{part.repository}@{part.digest}" if part.digest else f"{part.repository}:{part.tag}"
    raise NotFound(f"image {image.id} holds nothing for the role {min(names)}", hint="add an image that does")


def shown_image(row: Image) -> dict[str, Any]:
    """For people, with the progress of each role."""
    return {
        "id": row.id, "category": row.category, "type": row.type, "version": row.release, "path": row.path,
        "parameters": row.parameters, "state": row.state, "reason": row.reason, "since": row.since,
        "containers": [
            {
                "role": part.role, "container_image": f"{part.repository}:{part.tag}", "digest": part.digest,
                "total_bytes": part.total_bytes, "done_bytes": part.done_bytes, "sent_bytes": part.sent_bytes,
            }
            for part in row.parts
        ],
    }  # fmt: skip
