"""What must be true in the simulated vCenter, whatever the manager's records say.

Some of it must hold at every moment and is looked at after each commit; the rest once all is quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contrail_vsphere.simulator.core.world import Committed
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

TRUNK = "contrailvm-overlay"


class Truth:
    """``wrongs`` gathers what was wrong at some moment; ``now`` lists what is wrong at rest."""

    def __init__(self, vcenter: VCenterSimulator, *, solution_id: str) -> None:
        self._vcenter = vcenter
        self._solution_id = solution_id
        self._tenants: dict[str, Any] = {}
        self._open: dict[str, int] = {}
        self.tokens: dict[str, str] = {}
        """Every bootstrap token that a VM ever had -> that VM."""
        self.wrongs: list[str] = []

    def begin(self) -> None:
        """From here on; the VMs there are now are the tenants."""
        self._tenants = {vm.moid: _state(vm) for vm in self._all(VirtualMachine)}
        self._vcenter.world.observe(self._committed)

    def _all(self, kind: Any) -> list[Any]:
        return list(self._vcenter.world.of_type(kind))

    @property
    def contrailvms(self) -> list[VirtualMachine]:
        return [vm for vm in self._all(VirtualMachine) if vm.esx_agent]

    def contrailvm(self, host: str) -> VirtualMachine:
        """The one running ContrailVM of a host."""
        (found,) = [each for each in self.contrailvms if each.host.name == host and each.power_state == "poweredOn"]
        return found

    @property
    def clusters(self) -> list[str]:
        return [each.name for each in self._all(ClusterComputeResource)]

    @property
    def agencies(self) -> list[Agency]:
        return [each for each in self._all(Agency) if each.solution_id == self._solution_id]

    # -- at every moment ----------------------------------------------------------------------------------------

    def _committed(self, _done: Committed) -> None:
        running: dict[str, str] = {}
        for vm in self.contrailvms:
            token = vm.vapp_properties.get("bootstrap_token")
            if token:
                self.tokens[token] = vm.moid
            if vm.power_state == "poweredOn" and vm.host is not None:
                if vm.host.moid in running:
                    self.wrongs.append(f"{vm.name} and {running[vm.host.moid]} both run on {vm.host.name}")
                running[vm.host.moid] = vm.name
        scopes = [resource.moid for agency in self.agencies if agency.goal == "enabled" for resource in agency.scope]
        if len(scopes) != len(set(scopes)):
            self.wrongs.append("a cluster is in the scope of two agencies")
        for host in self._all(HostSystem):
            before, self._open[host.moid] = self._open.get(host.moid, 0), host.available_agents
            if host.available_agents > before and not self._forwards(host):
                self.wrongs.append(f"{host.name} was opened to tenants although its vRouter does not forward")

    def _forwards(self, host: HostSystem) -> bool:
        agents = self._vcenter.vrouters.agents
        return any(
            vm.host is host and vm.moid in agents and agents[vm.moid].forwards and vm.power_state == "poweredOn"
            for vm in self.contrailvms
        )

    # -- at rest ------------------------------------------------------------------------------------------------

    def now(self, *, deployed: bool, version: str) -> list[str]:
        """Everything that is wrong, in words; empty when all is well. ``version``: of the wanted package."""
        return [*self.wrongs, *self._bystanders(), *(self._deployed(version) if deployed else self._removed())]

    def _bystanders(self) -> Iterator[str]:
        for moid, state in self._tenants.items():
            vm = self._vcenter.world.get(moid)
            if not isinstance(vm, VirtualMachine) or _state(vm) != state:
                yield f"tenant {moid} was {state}, is {_state(vm) if isinstance(vm, VirtualMachine) else 'gone'}"
        strangers = {vm.moid for vm in self._all(VirtualMachine) if not vm.esx_agent} - self._tenants.keys()
        if strangers:
            yield f"VMs that nobody knows: {sorted(strangers)}"
        trunks = [each for each in self._all(DistributedVirtualPortgroup) if each.name == TRUNK]
        if len(trunks) > 1:
            yield f"{len(trunks)} trunk port groups"
        pools = [each.name for each in self._all(ResourcePool) if "contrailvm" in each.name.lower()]
        if len(pools) > len(self._all(ClusterComputeResource)):
            yield f"pools {pools}"
        yield from (f"defect of the simulator: {error!r}" for error in self._vcenter.world.defects)

    def _deployed(self, version: str) -> Iterator[str]:
        clusters, agencies = self._all(ClusterComputeResource), self.agencies
        if [each.scope for each in agencies] != [(each,) for each in clusters]:
            yield f"agencies {[each.name for each in agencies]} for {len(clusters)} clusters"
        yield from (f"{each.name} is {each.status}" for each in agencies if each.status != "green")
        for agent in (agent for agency in agencies for agent in agency.agents):
            url = agent.deployed.package.url if agent.deployed else ""
            if f"/{version}/" not in url:
                yield f"the ContrailVM of {agent.host.name} was made from {url or 'nothing'}, not from {version}"
        claimed = {agent.vm for agency in agencies for agent in agency.agents}
        for vm in self.contrailvms:
            if vm not in claimed:
                yield f"{vm.name} ({vm.moid}) belongs to no EsxAgent"
            if vm.resource_pool is None or "contrailvm" not in vm.resource_pool.name.lower():
                yield f"{vm.name} is in pool {vm.resource_pool.name if vm.resource_pool else None}"
        for host in self._all(HostSystem):
            here = [vm for vm in self.contrailvms if vm.host is host]
            if [vm.power_state for vm in here] != ["poweredOn"]:
                yield f"{host.name} has {[(vm.name, vm.power_state) for vm in here]}"
            forwards = self._forwards(host)
            if (host.required_agents, host.available_agents, forwards) != (1, 1, True):
                numbers = f"{host.available_agents} of {host.required_agents} EsxAgents available"
                yield f"{host.name}: {numbers}, vRouter forwards: {forwards}"
        trunks = [each for each in self._all(DistributedVirtualPortgroup) if each.name == TRUNK]
        if len(trunks) != 1:
            yield f"{len(trunks)} trunk port groups"

    def _removed(self) -> Iterator[str]:
        if self.agencies or self.contrailvms:
            yield f"left behind: {[each.name for each in (*self.agencies, *self.contrailvms)]}"
        yield from (f"{host.name} waits for EsxAgents" for host in self._all(HostSystem) if host.required_agents)

    def lines(self) -> list[str]:
        return [
            *(f"  agency {each.name} {each.status} {each.goal}" for each in self.agencies),
            *(f"  vm {vm.name} {vm.moid} {vm.power_state} on {vm.host and vm.host.name}" for vm in self.contrailvms),
        ]


def _state(vm: VirtualMachine) -> Any:
    """What nobody but its owner changes; where it runs is DRS's business."""
    return (vm.name, vm.power_state, vm.resource_pool, vm.nics, vm.boot_time)
