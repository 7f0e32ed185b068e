"""What the seed era served from its own files: the defaults of objects, and a log of provisioning per cluster.

Nothing is read from a disk here: defaults are those of the roles' data, a cluster's log is written from its runs. The
era changed the directory of its whole process for it, and a name could lead out of that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.servermanager.api.seed_era_answers import failure
from contrail_vsphere.servermanager.api.seed_era_words import GENERAL, NO_VALUE, SeedEraError
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.records import history
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Run

LOG_SUFFIX: Final = "_provision.log"
RUNS: Final = 100
"""The latest of a cluster."""


def defaults(catalogue: Catalogue, query: dict[str, str]) -> dict[str, Any]:
    """What an object has that does not say otherwise. The level ``config`` was the settings file's; it has none now."""
    kind, level = query.get("object", ""), query.get("level", "code")
    if kind not in ("server", "cluster", "image") or level not in ("code", "config"):
        raise SeedEraError(NO_VALUE, "object is one of server, cluster, image; level one of code, config")
    if level == "config" or kind == "image":
        return {}
    if kind == "server":
        return {"ssh_user": "root", "ssh_port": 22, "roles": [], "tag": {}, "parameters": {}}
    containers = {
        role.role: {
            name: {
                key: option.default
                for key, option in section.options.items()
                if option.default is not None and not option.secret
            }
            for name, section in role.sections.items()
        }
        for role in catalogue
    }
    return {"parameters": {"provision": {"containers": containers}}}


def logs_page(store: Store, name: str) -> Response:
    """The names of the logs, or one of them; blocks, for a thread."""
    with store.reading() as session:
        clusters = sorted(set(session.scalars(select(Run.cluster_id))))
        if not name:
            items = "".join(f'<li><a href="/logs/{escape(each)}{LOG_SUFFIX}">{escape(each)}{LOG_SUFFIX}</a></li>'
                            for each in clusters)  # fmt: skip
            return Response(f"<html><body><ul>{items}</ul></body></html>", media_type="text/html")
        cluster = name.removesuffix(LOG_SUFFIX)
        if cluster not in clusters or not name.endswith(LOG_SUFFIX):
            return failure(GENERAL, "no such log")
        return Response("\n".join(_log(session, cluster)) + "\n", media_type="text/plain")


def _log(session: Session, cluster: str) -> Iterator[str]:
    """A line for every change of every run, and one for each server's end."""
    rows = session.scalars(select(Run).where(Run.cluster_id == cluster).order_by(Run.started.desc()).limit(RUNS))
    for run in reversed(rows.all()):
        for each in history(session, "run", run.id):
            yield f"{each['at']:%Y-%m-%dT%H:%M:%SZ} {run.id} {run.kind} {each['after']}: {each['reason']}"
        for name, host in sorted(run.hosts.items()):
            words = " ".join(str(host.get("message", "")).split())
            yield f"{run.since:%Y-%m-%dT%H:%M:%SZ} {run.id} {name} {json.dumps(host.get('roles', {}))} {words}".rstrip()
