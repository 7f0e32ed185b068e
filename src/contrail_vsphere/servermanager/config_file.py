"""A file that holds a whole cluster: its images, the cluster, its servers, added in one unit of work or not at all.

In this order, whatever the order in the file: a cluster may name an image of the file, and a server its cluster. The
seed era added images last, so that its own combined files were refused unless the image was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import DocumentError
from contrail_vsphere.servermanager import documents
from contrail_vsphere.servermanager.images import Images
from contrail_vsphere.servermanager.objects import Objects
from contrail_vsphere.servermanager.records import Actor

KINDS: Final = ("image", "cluster", "server")


@dataclass(slots=True)
class Added:
    """What a file added or changed."""

    ids: list[tuple[str, str]] = field(default_factory=list)
    """Kind and id of every object of the file."""
    to_begin: list[str] = field(default_factory=list)
    """Images whose jobs are to begin once the unit of work is kept."""
    notes: list[str] = field(default_factory=list)


def put(
    session: Session, actor: Actor, document: Mapping[str, Any], *, objects: Objects, images: Images, again: bool = True
) -> Added:
    """Add or change everything of the file; ``DocumentError`` with the problems of all objects of the first wrong kind.

    With ``again`` an image that is there already, as the file describes it, is left as it is: so that the same file can
    be given twice. Without, and for one that differs, it is ``AlreadyExists``.
    """
    added = Added()

    def put_image(each: Mapping[str, Any]) -> str:
        row = images.same(session, each) if again else None
        if row is None:
            row = images.register(session, actor, each)
            added.to_begin.append(row.id)
        return row.id

    def put_cluster(each: Mapping[str, Any]) -> str:
        row, notes = objects.put_cluster(session, actor, each)
        added.notes += notes
        return row.id

    def put_server(each: Mapping[str, Any]) -> str:
        row, notes = objects.put_server(session, actor, each)
        added.notes += notes
        return row.id

    for kind, one in zip(KINDS, (put_image, put_cluster, put_server), strict=True):
        added.ids += [(kind, each) for each in _each(document, kind, one)]
        session.flush()
    return added


def _each(document: Mapping[str, Any], kind: str, put_one: Callable[[Mapping[str, Any]], str]) -> list[str]:
    if not (document.get(kind) or document.get(f"{kind}s")):
        return []
    done, problems = [], []
    for each in documents.listed(document, kind):
        try:
            done.append(put_one(each))
        except DocumentError as error:
            problems += [f"{kind} {each.get('id')}: {problem}" for problem in error.problems]
    if problems:
        raise DocumentError.of("the file", problems)
    return done
