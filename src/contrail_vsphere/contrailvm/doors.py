"""What this service needs of vCenter, EAM and the bootstrap tokens, as Protocols.

``vsphere.VCenter`` and ``vsphere.eam`` are the real ones; tests of ``apply`` pass small fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.observed import PackageOffer
from contrail_vsphere.model.eam import Agency, AgencyConfig, Backend, EamFeatures, VmHook
from contrail_vsphere.model.ids import AgencyId, ClusterId, EsxAgentId, HostId, VmId


class EamDoor(Protocol):
    """EAM (``vsphere.eam.client``); every method raises errors of ``model.errors``."""

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


class SystemVmDoor(Protocol):
    """vLCM's System VMs as agencies (``vsphere.system_vm.client``); the methods that EAM has too mean the same."""

    @property
    def cache(self) -> AgencyCache:
        """What was read last."""
        ...

    def why_not(self, cluster: ClusterId) -> str | None:
        """Why a cluster cannot have System VMs; empty when it can, None while that is not known."""
        ...

    async def query_agencies(self, solution_id: str = ...) -> tuple[Agency, ...]: ...  # noqa: D102
    async def read_agency(self, agency: AgencyId, *, with_agents: bool = ...) -> Agency: ...  # noqa: D102
    async def create_agency(self, config: AgencyConfig) -> AgencyId: ...  # noqa: D102
    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None: ...  # noqa: D102
    async def uninstall(self, agency: AgencyId) -> None: ...  # noqa: D102
    async def destroy_agency(self, agency: AgencyId) -> None: ...  # noqa: D102
    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]: ...  # noqa: D102

    async def apply(self, agency: AgencyId, hosts: Sequence[HostId]) -> None:
        """Begin to bring hosts to the desired state."""
        ...

    async def mark_as_available(self, agent: EsxAgentId, hook: VmHook, *, well: bool = True) -> None:
        """Go on after a hook."""
        ...

    async def take_over(self, agency: AgencyId, config: AgencyConfig) -> AgencyId:
        """Make an agency of EAM ours; the new id."""
        ...


class AgencyDoor(Protocol):
    """Who keeps the ContrailVMs, be it EAM or vLCM, as ``apply`` uses it (``backends.Backends``)."""

    async def query_agencies(self, solution_id: str) -> tuple[Agency, ...]:
        """All agencies of ours with their units."""
        ...

    async def read_agency(self, agency: AgencyId) -> Agency:
        """One agency: its configuration and the state of its units; NotFound once it is gone."""
        ...

    async def create_agency(self, config: AgencyConfig, backend: Backend) -> AgencyId:
        """Make sure of scope and configuration, for the first time."""
        ...

    async def update_agency(self, agency: AgencyId, config: AgencyConfig) -> None:
        """Make sure of scope and configuration."""
        ...

    async def apply(self, agency: AgencyId, hosts: Sequence[HostId]) -> None:
        """Bring hosts to the configuration, where that is not done unasked."""
        ...

    async def resolve(self, agency: AgencyId, issue_keys: Sequence[int]) -> tuple[int, ...]:
        """Remedy issues; returns the keys that cannot be remedied now."""
        ...

    async def release_hook(self, agent: EsxAgentId, hook: VmHook, *, well: bool = True) -> None:
        """Go on after a hook."""
        ...

    async def uninstall(self, agency: AgencyId) -> None:
        """Remove all its units."""
        ...

    async def destroy_agency(self, agency: AgencyId) -> None:
        """Remove what is left."""
        ...

    async def hand_over(self, agency: AgencyId, config: AgencyConfig) -> AgencyId:
        """From EAM to vLCM; the new id."""
        ...


class AgencyCache(Protocol):
    """``vsphere.eam.cache.EamCache``."""

    error: str
    """Why the service did not answer the last time; empty when it did."""
    whole_reads: int

    @property
    def agencies(self) -> Mapping[AgencyId, Agency]: ...  # noqa: D102
    @property
    def features(self) -> EamFeatures: ...  # noqa: D102
    @property
    def healthy(self) -> bool: ...  # noqa: D102
    def subscribe(  # noqa: D102
        self, subscriber: Callable[[AgencyId, Agency | None, Agency | None], None]
    ) -> Callable[[], None]: ...
    def nudge(self, agency: AgencyId | None = None) -> None: ...  # noqa: D102
    def hint(self, host: HostId | None = None) -> None: ...  # noqa: D102
    def fold(self, agency: Agency) -> None: ...  # noqa: D102


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
