"""A solution whose virtual machines are a set somewhere in the cluster (CLUSTER_VM_SET): where each goes, and to what.

A deployment unit is an EsxAgent that belongs to no host in particular: DRS, HA and users may move its virtual machine,
and the unit is where that is. What has no virtual machine yet goes to the host that has most of what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.eam.config import Selection
from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.system_vm.solution import SystemVmSolution
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.drs import load
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.system_vm.spec import ClusterSolutionSpec, PlacementPolicy, RedeploymentPolicy

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(slots=True, eq=False, kw_only=True)
class SystemVmSet(SystemVmSolution):
    """State of a set; ``agents`` are its deployment units, oldest first."""

    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def wish(self) -> ClusterSolutionSpec:
        """The part of the desired state that only sets have."""
        found = self.spec.cluster_solution_spec
        assert found is not None  # noqa: S101 - checked when it was set
        return found

    @property
    def is_set(self) -> bool:
        return True

    @property
    def blue_green(self) -> bool:
        return self.spec.redeployment_policy is RedeploymentPolicy.BLUE_GREEN

    @property
    def units(self) -> list[EsxAgent]:
        """Those that no apply has dismissed."""
        return [agent for agent in self.agents if not agent.dismissed]

    @property
    def surplus(self) -> list[EsxAgent]:
        """Units that the next apply removes: all of a deleted set, else the newest beyond ``vm_count``."""
        return self.units[0 if self.deleted else self.wish.vm_count :]

    def requires_agent_on(self, host: HostSystem) -> bool:
        return False

    def has_in_scope(self, host: HostSystem) -> bool:
        """A unit does not end with its host."""
        return True

    def own_networks(self) -> Mapping[str, Any] | None:
        found = {name: self.world.get(moid) for name, moid in (self.wish.vm_networks or {}).items()}
        return {name: network for name, network in found.items() if isinstance(network, Network)}

    def place(self, agent: EsxAgent) -> HostSystem | None:
        """Where it can be, with the fewest of its siblings; where it is, if that is as good."""
        usable = [host for host in self.cluster.hosts if _usable(host)]
        if not usable:
            return None
        return min(usable, key=lambda host: self._drawback(agent, host))

    def _drawback(self, agent: EsxAgent, host: HostSystem) -> tuple[int, int, bool, int]:
        missing = len(self._choose(host).problems)
        return missing, self._siblings(agent, host), host is not agent.host, load(host)

    def _siblings(self, agent: EsxAgent, host: HostSystem) -> int:
        return sum(1 for other in self.units if other is not agent and other.host is host)

    def _comes_first(self, agent: EsxAgent) -> bool:
        """Whether a sibling on the same host has a virtual machine, or is to have one before this."""
        units = self.units
        before = units[: units.index(agent)] if agent in units else units
        return any(other.host is agent.host and (other.vm is not None or other in before) for other in units)

    def select(self, agent: EsxAgent) -> Selection:
        found = self._choose(agent.host)
        apart = PlacementPolicy.VM_VM_ANTI_AFFINITY in (self.wish.vm_placement_policies or [])
        if apart and agent.vm is None and self._comes_first(agent):
            return Selection(found.datastore, problems=(*found.problems, Draft("InsufficientResources")))
        return found

    def _choose(self, host: HostSystem) -> Selection:
        """Datastore on that host, and whether it has all the networks."""
        problems = []
        present = {item.moid for item in host.networks}
        wanted = (self.wish.vm_networks or {}).values()
        if any(moid not in present for moid in wanted):
            problems.append(Draft("NoAgentVmNetwork"))
        datastore = self._datastore(host)
        if datastore is None:
            problems.append(Draft("NoAgentVmDatastore"))
        return Selection(datastore, problems=tuple(problems))

    def _datastore(self, host: HostSystem) -> Datastore | None:
        """The first of those that are named, else the one that most hosts share and that has most room."""
        mounted = {item.moid: item for item in host.datastores if item.accessible}
        named = self.wish.vm_datastores
        if named:
            return next((mounted[moid] for moid in named if moid in mounted), None)
        return max(mounted.values(), key=lambda item: (len(item.hosts), item.free), default=None)


def _usable(host: HostSystem) -> bool:
    ready = host.connection_state == "connected" and host.power_state == "poweredOn"
    return ready and not host.in_maintenance and not host.entering_maintenance
