"""The health document that vCenter reads at ``Extension.healthInfo.url`` (root ``vimhealth``, schema version 1.0).

A tree of parts, each with its own state; what a reader sees for a part is the worst of it and everything below it, so
that a red EsxAgent can never hide behind a green manager. EAM's own health is a part of its own beside ours: people
must be able to tell "EAM does not answer" from "a ContrailVM does not forward".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from contrail_vsphere.model.eam import Status

NAMESPACE = "http://www.vmware.com/vi/healthservice"

Level = Literal["info", "warning", "alert"]

_RANK: dict[Status, int] = {"green": 0, "yellow": 1, "red": 2}
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry, not even escaped; names of VMs may hold them."""


@dataclass(frozen=True, slots=True)
class HealthMessage:
    """One line for people. ``key`` is appended to the id of its node; ``time`` is aware."""

    key: str
    text: str
    time: datetime
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class HealthNode:
    """A part of the whole. ``key`` is the extension key at the root, a short word below it; ids join them with dots."""

    key: str
    name: str
    status: Status = "green"
    """Of this part alone; see :meth:`worst` for what is shown."""
    messages: tuple[HealthMessage, ...] = ()
    children: tuple[HealthNode, ...] = ()

    @property
    def worst(self) -> Status:
        """The worst state of this part and all below it."""
        return max((self.status, *(child.worst for child in self.children)), key=_RANK.__getitem__)


def render_health(root: HealthNode) -> bytes:
    """The document, UTF-8; served as ``text/xml``."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<vimhealth xmlns="{NAMESPACE}" schemaVersion="1.0">'
        f"{_node(root, root.key)}</vimhealth>\n"
    ).encode()


def _node(node: HealthNode, identity: str) -> str:
    parts = [f"<health id={_attribute(identity)}><name>{_text(node.name)}</name><status>{node.worst}</status>"]
    parts += [
        f"<message id={_attribute(f'{identity}.{message.key}')} level={_attribute(message.level)} "
        f"time={_attribute(_utc(message.time))}>{_text(message.text)}</message>"
        for message in node.messages
    ]
    parts += [_node(child, f"{identity}.{child.key}") for child in node.children]
    return "".join([*parts, "</health>"])


def _utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("a health message needs an aware time")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_ILLEGAL.sub("\ufffd", text))
