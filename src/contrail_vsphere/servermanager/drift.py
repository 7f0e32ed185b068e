"""The drift check: what runs on the servers against what was put there. Pure.

It is a run in which nothing is changed, so it finds what a provision would repair and nothing else. What is planned but
not provisioned yet is no drift: those roles are left out, and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from contrail_vsphere.servermanager.runs import HostReport, HostToRun
from contrail_vsphere.servermanager.states import ServerState

SHOWN: Final = 3
"""Deviations that a server's reason names."""

_LOOKED_AT: Final = (ServerState.PROVISIONED, ServerState.DRIFTED, ServerState.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class ToLookAt:
    """Servers with the roles that are as planned, and what is left out."""

    hosts: dict[str, HostToRun]
    pending: tuple[str, ...]


def to_look_at(document: Mapping[str, Any], hosts: Mapping[str, HostToRun]) -> ToLookAt:
    """From a plan's document and its request: the roles in which the plan changes nothing."""
    pending = {
        (host["server"], step["role"])
        for host in document["hosts"]
        for step in host["roles"]
        if step["container"]["action"] != "leave" or any(file["action"] != "leave" for file in step["files"])
    }
    kept = {}
    for name, host in hosts.items():
        roles = [role for role in host.roles if (name, role.role) not in pending]
        if roles:
            kept[name] = host.model_copy(update={"roles": roles})
    return ToLookAt(kept, tuple(f"{server} {role}" for server, role in sorted(pending)))


def verdict(state: ServerState, host: HostReport) -> tuple[ServerState, str] | None:
    """The server's new state with its reason; None if the check says nothing about it."""
    if state not in _LOOKED_AT:
        return None
    if host.state == "unreachable":
        return ServerState.UNREACHABLE, host.message
    if host.state != "completed":
        return None
    if not host.drift:
        return (ServerState.PROVISIONED, "as planned") if state is not ServerState.PROVISIONED else None
    more = len(host.drift) - SHOWN
    return ServerState.DRIFTED, "; ".join(host.drift[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
