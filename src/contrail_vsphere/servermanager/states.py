"""The states of servers, images and runs, and which may follow which: one table each, asked before every change.

The seed era kept a free text per server, so that a finished host could flip to failed and nobody knew why. Here a state
is one of a few words, every change carries a reason, and what the table does not allow is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from contrail_vsphere.model.errors import InvalidState


class ServerState(StrEnum):
    """Where a server stands."""

    ADDED = "added"
    CHECKED = "checked"
    PROVISIONING = "provisioning"
    PROVISIONED = "provisioned"
    FAILED = "failed"
    DRIFTED = "drifted"
    UNREACHABLE = "unreachable"
    REMOVING = "removing"


class ImageState(StrEnum):
    """Where an image stands; only a ready one can be provisioned."""

    ADDING = "adding"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class RunState(StrEnum):
    """Where a run stands; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"

    @property
    def final(self) -> bool:
        """Whether nothing follows it."""
        return not RUN_MOVES[self]


_S, _I, _R = ServerState, ImageState, RunState

SERVER_MOVES: Final[Mapping[ServerState, frozenset[ServerState]]] = {
    _S.ADDED: frozenset({_S.CHECKED, _S.PROVISIONING, _S.UNREACHABLE, _S.REMOVING}),
    _S.CHECKED: frozenset({_S.ADDED, _S.PROVISIONING, _S.UNREACHABLE, _S.REMOVING}),
    _S.PROVISIONING: frozenset({_S.PROVISIONED, _S.FAILED, _S.UNREACHABLE}),
    _S.PROVISIONED: frozenset({_S.PROVISIONING, _S.DRIFTED, _S.UNREACHABLE, _S.REMOVING}),
    _S.FAILED: frozenset({_S.CHECKED, _S.PROVISIONING, _S.UNREACHABLE, _S.REMOVING}),
    _S.DRIFTED: frozenset({_S.PROVISIONED, _S.PROVISIONING, _S.UNREACHABLE, _S.REMOVING}),
    _S.UNREACHABLE: frozenset({_S.CHECKED, _S.PROVISIONING, _S.PROVISIONED, _S.DRIFTED, _S.REMOVING}),
    _S.REMOVING: frozenset({_S.ADDED, _S.FAILED, _S.UNREACHABLE}),
}

IMAGE_MOVES: Final[Mapping[ImageState, frozenset[ImageState]]] = {
    _I.ADDING: frozenset({_I.READY, _I.FAILED, _I.DELETING}),
    _I.READY: frozenset({_I.DELETING}),
    _I.FAILED: frozenset({_I.ADDING, _I.DELETING}),
    _I.DELETING: frozenset({_I.FAILED}),
}

RUN_MOVES: Final[Mapping[RunState, frozenset[RunState]]] = {
    _R.QUEUED: frozenset({_R.RUNNING, _R.SUCCEEDED, _R.FAILED, _R.CANCELED, _R.INTERRUPTED}),
    _R.RUNNING: frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELED, _R.INTERRUPTED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.CANCELED: frozenset(),
    _R.INTERRUPTED: frozenset(),
}

State = TypeVar("State", ServerState, ImageState, RunState)


def check_move(before: State, after: State, *, name: str) -> None:
    """``InvalidState`` unless ``after`` may follow ``before``; ``name`` is the object's, for the message."""
    if isinstance(before, ServerState) and isinstance(after, ServerState):
        allowed = after in SERVER_MOVES[before]
    elif isinstance(before, ImageState) and isinstance(after, ImageState):
        allowed = after in IMAGE_MOVES[before]
    else:
        allowed = isinstance(before, RunState) and isinstance(after, RunState) and after in RUN_MOVES[before]
    if not allowed:
        raise InvalidState(f"{name} is {before}; it cannot become {after}")


SEED_ERA_STATUS: Final[Mapping[ServerState, str]] = {
    ServerState.ADDED: "server_added",
    ServerState.CHECKED: "server_added",
    ServerState.PROVISIONING: "provision_started",
    ServerState.PROVISIONED: "provision_completed",
    ServerState.FAILED: "provision_failed",
    ServerState.DRIFTED: "provision_completed",
    ServerState.UNREACHABLE: "provision_failed",
    ServerState.REMOVING: "provision_issued",
}
"""What the seed era's status text says for each state (its vocabulary has no more words)."""
