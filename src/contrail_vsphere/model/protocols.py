"""Where services meet without importing each other; ``app`` wires them, HTTP carries them between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from contrail_vsphere.model.ids import HostId, VmId

UnitState = Literal[
    "absent",
    "deploying",
    "hook-provisioned",
    "hook-pre-power-on",
    "hook-powered-on",
    "healthy",
    "degraded",
    "held",
    "maintenance",
    "unreachable",
    "blocked",
    "removing",
]
"""State of the ContrailVM of one host."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One line of the HostDirectory: an ESXi host and the ContrailVM that serves it."""

    host: HostId
    name: str
    vm: VmId | None = None
    instance_uuid: str = ""
    version: str = ""
    agent_address: str = ""
    """Where the VRouterAgent answers, ``HOST`` or ``HOST:PORT``; empty while unknown."""
    state: UnitState = "absent"


class VRouterObjects(Protocol):
    """VirtualRouter objects in Contrail (``contrail.virtual_routers``)."""

    async def ensure(self, name: str, address: str) -> None:
        """Have the object of that name with that address."""
        ...

    async def remove(self, name: str) -> None:
        """Have it no more."""
        ...


class HostDirectory(Protocol):
    """Which host is served by which ContrailVM (``GET /v1/hosts``)."""

    def hosts(self) -> tuple[HostEntry, ...]:
        """All hosts in scope."""
        ...


@dataclass(frozen=True, slots=True)
class ReadinessState:
    """Readiness of a host's vRouter; ``reason`` says what is missing."""

    forwards: bool
    """The VRouterAgent has an Established XMPP session with a controller."""
    synced: bool
    """Every port owed to the host is plugged; true where no plugin runs."""
    reason: str = ""


class Readiness(Protocol):
    """``GET /v1/hosts/{id}/readiness``."""

    async def readiness(self, host: HostId) -> ReadinessState:
        """Ask now; never raises for an agent that is away, that is ``forwards=False``."""
        ...
