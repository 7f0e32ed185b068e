"""From the config API's answers to our exception tree: once, here, by the kinds of ``wire.contrail.errors``.

The exception raised says what a caller may do; the answer itself stays attached as its cause, for the few who decide
by the details (which object has the name, who still refers).
"""

from __future__ import annotations

from typing import Final

from contrail_vsphere.model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    Busy,
    Conflict,
    ContrailVsphereError,
    InvalidArgument,
    InvalidState,
    NoPermission,
    NotFound,
    NotReadyYet,
    OutcomeUnknown,
    OutOfResources,
    ProtocolError,
)
from contrail_vsphere.wire.contrail.errors import ApiError, Kind

SHOWN = 300
"""Characters of an answer that go into a message; an in-use answer can be 90 kB."""

_MEANING: Final[dict[Kind, tuple[type[ContrailVsphereError], str]]] = {
    Kind.NAME_TAKEN: (AlreadyExists, ""),
    Kind.UUID_TAKEN: (AlreadyExists, ""),
    Kind.IN_USE: (Busy, "it goes when nothing refers to it any more"),
    Kind.CHILDREN: (Busy, "its children go first"),
    Kind.ADDRESS_IN_USE: (AlreadyExists, "another instance-ip has the address"),
    Kind.SUBNET_IN_USE: (Busy, "an address of the subnet is in use"),
    Kind.CONFLICT: (InvalidArgument, ""),
    Kind.NOT_FOUND: (NotFound, ""),
    Kind.NO_SUCH_TYPE: (ProtocolError, "is this a Contrail config API?"),
    Kind.NO_SUCH_ROUTE: (ProtocolError, "is this a Contrail config API?"),
    Kind.UNKNOWN_REFERENCE: (Conflict, "an object it refers to is gone; it is looked at again"),
    Kind.EXHAUSTED: (OutOfResources, "widen the network's subnets or free addresses"),
    Kind.SUBNET_EDIT: (InvalidState, "gateway and pools of a subnet cannot be changed, only a new subnet can be added"),
    Kind.INVALID: (InvalidArgument, ""),
    Kind.SERVER_BUG: (InvalidArgument, "the API server stumbles over this request; see its log"),
    Kind.BACK_PRESSURE: (Busy, "the API server waits for RabbitMQ"),
    Kind.STARTING: (NotReadyYet, "it is starting"),
    Kind.UNAVAILABLE: (OutcomeUnknown, "its database, ZooKeeper or proxy is away"),
    Kind.OVER_QUOTA: (OutOfResources, "raise the project's quota"),
    Kind.UNAUTHENTICATED: (AuthenticationFailed, "check user, project and role at Keystone"),
    Kind.FORBIDDEN: (NoPermission, "the user needs the cloud admin role"),
    Kind.TOO_LARGE: (InvalidArgument, ""),
    Kind.UNKNOWN: (ProtocolError, ""),
}

PASSING = frozenset({Kind.BACK_PRESSURE, Kind.STARTING, Kind.UNAVAILABLE})
"""Kinds that say nothing about the request: it is worth repeating at once or at another server."""


class ApiAnswer(Exception):  # noqa: N818 - what was said, the cause of an error
    """An answer other than 200, as it was understood."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(f"{error.status} {error.text[:SHOWN]}")
        self.error = error


def raise_for(error: ApiError, *, server: str, what: str) -> None:
    """Raise the exception that ``error`` means; ``what`` names the call, e.g. ``POST virtual-machine``."""
    kind, hint = _MEANING[error.kind]
    text = " ".join(error.text.split())
    shown = text[:SHOWN] + ("..." if len(text) > SHOWN else "")
    raise kind(f"{what}: {server} answers {error.status}: {shown or error.kind.value}", hint=hint) from ApiAnswer(error)


def answer_of(error: BaseException) -> ApiError | None:
    """The answer behind an exception of the config API, or None if it has another reason."""
    return error.__cause__.error if isinstance(error.__cause__, ApiAnswer) else None


def kind_of(error: BaseException) -> Kind | None:
    """The kind of the answer behind an exception."""
    answer = answer_of(error)
    return None if answer is None else answer.kind
