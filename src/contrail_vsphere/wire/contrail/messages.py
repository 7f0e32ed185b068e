"""Change notifications of the config API as they travel over RabbitMQ.

A message says which object changed and how. ``CREATE`` and ``DELETE`` carry the object, ``UPDATE`` does not; whoever
wants to know what is true reads the object again. Source: messages observed on RabbitMQ 3.10 with R1912 and master.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

EXCHANGE = "vnc_config.object-update"
"""Fanout, neither durable nor auto-deleted: a declaration with other flags is refused. The routing key is empty."""
CONTENT_TYPE = "application/json"
MAX_MESSAGE = 4 * 1024 * 1024

Operation = Literal["CREATE", "UPDATE", "DELETE", "UPDATE-IMPLICIT"]
"""``UPDATE-IMPLICIT``: the other end of a symmetric reference; nobody acts on it."""


class MalformedNotificationError(ValueError):
    """Not a notification; the message says why."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One change of one object."""

    operation: Operation
    type: str
    """Underscored, as on the wire."""
    uuid: str
    fq_name: tuple[str, ...] = ()
    request_id: str = ""
    """The ``X-Request-Id`` of the request that caused it: who sent it knows its own echo."""
    obj_dict: Mapping[str, Any] | None = None
    """The object, of ``CREATE`` (with allocated addresses) and ``DELETE`` (as it last was)."""
    extra_dict: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        """The body of the message."""
        body: dict[str, Any] = {
            "request-id": self.request_id,
            "oper": self.operation,
            "type": self.type,
            "uuid": self.uuid,
            "fq_name": list(self.fq_name),
        }
        if self.obj_dict is not None:
            body["obj_dict"] = dict(self.obj_dict)
        if self.extra_dict is not None:
            body["extra_dict"] = dict(self.extra_dict)
        return json.dumps(body).encode()

    @classmethod
    def decode(cls, body: bytes) -> Notification:
        """Read a message. MalformedNotificationError for what does not name an operation, a type and a uuid."""
        if len(body) > MAX_MESSAGE:
            raise MalformedNotificationError(f"{len(body)} bytes is more than {MAX_MESSAGE}")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise MalformedNotificationError(f"no JSON: {error}") from None
        if not isinstance(document, dict):
            raise MalformedNotificationError("not an object")
        operation = document.get("oper")
        if operation not in get_args(Operation):
            raise MalformedNotificationError(f"unknown operation {operation!r:.60}")
        kind, uuid = document.get("type"), document.get("uuid")
        if not isinstance(kind, str) or not kind or not isinstance(uuid, str) or not uuid:
            raise MalformedNotificationError("type or uuid is missing")
        name = document.get("fq_name")
        return cls(
            operation=cast("Operation", operation),
            type=kind,
            uuid=uuid,
            fq_name=tuple(str(part) for part in name) if isinstance(name, list) else (),
            request_id=str(document.get("request-id") or ""),
            obj_dict=_object(document.get("obj_dict")),
            extra_dict=_object(document.get("extra_dict")),
        )


def _object(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None
