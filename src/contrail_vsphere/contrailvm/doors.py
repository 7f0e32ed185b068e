"""What this service needs of vCenter, EAM and the bootstrap tokens, as Protocols.

``vsphere.VCenter`` and ``vsphere.eam`` are the real ones; tests of ``apply`` pass small fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.observed import PackageOffer
from contrail_vsphere.model.eam import Agency, AgencyConfig
from contrail_vsphere.model.ids import AgencyId, EsxAgentId, VmId


class EamDoor(Protocol):
    """EAM as ``apply`` uses it; every method raises errors of ``model.errors``."""

    async def query_agencies(self, solution_id: str = ...) -> tuple[Agency, ...]:
        """All agencies of ours, with configuration, runtime and EsxAgents."""
        ...

    async def read_agency(self, agency: AgencyId, *, with_agents: bool = ...) -> Agency:
        """One agency."""
        ...

    async def create_agency(self, config: AgencyConfig) -> AgencyId:
        """``CreateAgency`` with goal state enabled."""
        ...

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """``Update`` with the whole configuration."""
        ...

    async def uninstall(self, agency: AgencyId) -> None:
        """Goal state uninstalled."""
        ...

    async def destroy_agency(self, agency: AgencyId) -> None:
        """``DestroyAgency``."""
        ...

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """``Resolve``; returns the keys that were not found or cannot be resolved now."""
        ...

    async def mark_as_available(self, agent: EsxAgentId) -> None:
        """``MarkAsAvailable``."""
        ...


class VCenterDoor(Protocol):
    """vCenter as ``apply`` uses it."""

    async def call(self, ref: Any, method: str, **arguments: Any) -> Any:
        """Call a method by its name on the wire."""
        ...

    async def read(self, ref: Any, *paths: str) -> Mapping[str, Any]:
        """Properties of one object; unset ones are left out."""
        ...

    async def wait_task(self, task: Any, *, deadline: float) -> Any:
        """The result of a task; its error as one of ``model.errors``."""
        ...


class Publishing(Protocol):
    """Where packages are published."""

    async def offer(self, desired: Desired) -> PackageOffer:
        """The wanted package, published and probed through the advertised URL; what is wrong is in ``problem``."""
        ...


MintToken = Callable[[VmId, Mapping[str, str]], str]
"""A fresh single-use bootstrap token bound to these attributes; voids the VM's earlier ones."""
