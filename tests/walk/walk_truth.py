"""What must be true of the walked vCenter: at every commit, and once all is quiet. Read from the simulator alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crash_rig import KEY
from walk_neighbours import Neighbours

from contrail_vsphere.simulator.core.world import Committed
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.system_vm.solution import SystemVmSolution
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

TRUNK = "contrailvm-overlay"
RESERVED_MB = 256
"""Memory that every deployment of the walk reserves for its ContrailVMs."""
HOST_DISTURBANCES = ("RebootHost_Task", "ShutdownHost_Task", "EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task")


class WalkTruth:
    """``wrongs`` fills at every commit; ``at_rest`` lists what is wrong once all is quiet."""

    def __init__(self, vcenter: VCenterSimulator, neighbours: Neighbours) -> None:
        self._vcenter = vcenter
        self._neighbours = neighbours
        self.wrongs: dict[str, None] = {}
        self.moved: set[str] = set()
        """ContrailVMs that a user moved: two on a host are his doing until EAM deleted them."""
        self.started: set[str] = set()
        """ContrailVMs that a user powered on: for those that wait for their turn that is too early. Nobody can keep him
        from it, so that two may run until we power it off again; but two never forward, and at rest one runs."""
        self._start_seen: set[str] = set()
        self._ours_once: set[str] = set()

    def begin(self) -> None:
        self._vcenter.world.observe(self._committed)

    def _all(self, kind: Any) -> list[Any]:
        return list(self._vcenter.world.of_type(kind))

    @property
    def agencies(self) -> list[Agency]:
        """With EAM, and solutions of vLCM, where nobody else has any."""
        return [each for each in self._all(Agency) if each.solution_id == KEY or isinstance(each, SystemVmSolution)]

    @property
    def contrailvms(self) -> list[VirtualMachine]:
        """EAM's virtual machines but the neighbour's."""
        foreign = {vm for agent in self._neighbours.agency.agents for vm in (agent.vm, agent.new_vm, *agent.orphans)}
        return [each for each in self._all(VirtualMachine) if each.esx_agent and each not in foreign]

    # -- at every moment ----------------------------------------------------------------------------------------

    def _committed(self, done: Committed) -> None:
        running: dict[str, VirtualMachine] = {}
        ours = [vm for agency in self.agencies for agent in agency.agents for vm in (agent.vm, agent.new_vm) if vm]
        for vm in ours:
            self._ours_once.add(vm.moid)
            self._note_start(vm)
            if vm.power_state == "poweredOn" and vm.host is not None and vm.moid not in self.moved:
                other = running.setdefault(vm.host.moid, vm)
                if other is not vm and not vm.host.crashed and (doing := self._both(vm, other)):
                    self.wrongs[f"{vm.name} and {other.name} both {doing} on {vm.host.name}"] = None
        scopes = [each.moid for agency in self.agencies if agency.goal == "enabled" for each in agency.scope]
        if len(scopes) != len(set(scopes)):
            self.wrongs["a cluster is in the scope of two agencies"] = None
        for event in done.events:
            if event.userName == KEY and (wrong := self._trespass(event)):
                self.wrongs[wrong] = None

    def _note_start(self, vm: VirtualMachine) -> None:
        """A user's start lasts until the ContrailVM is off again."""
        if vm.moid in self.started and vm.power_state == "poweredOn":
            self._start_seen.add(vm.moid)
        elif vm.moid in self._start_seen and vm.power_state == "poweredOff":
            self._start_seen.discard(vm.moid)
            self.started.discard(vm.moid)

    def _both(self, one: VirtualMachine, other: VirtualMachine) -> str:
        """What two ContrailVMs of a host must not both do, and do; empty for nothing."""
        agents = [self._vcenter.vrouters.agents.get(vm.moid) for vm in (one, other)]
        if all(agent is not None and agent.forwards for agent in agents):
            return "forward"
        return "" if self.started & {one.moid, other.moid} else "run"

    def _trespass(self, event: Any) -> str:
        """An event that we caused: only at our VMs, our port group, our pool."""
        kind = type(event).__name__.rpartition(".")[2]
        said = f"we caused {kind}: {event.fullFormattedMessage}"
        if "Maintenance" in kind or kind.startswith(("Host", "Cluster")):
            return said
        vm, net = getattr(event, "vm", None), getattr(event, "net", None)
        if vm is not None and vm.vm._moId not in self._ours_once:
            return said
        return said if net is not None and net.name != TRUNK else ""

    # -- at rest ------------------------------------------------------------------------------------------------

    def at_rest(self, wanted: Mapping[str, str]) -> list[str]:
        """Everything that is wrong, in words. ``wanted``: cluster name -> package version."""
        return [
            *self.wrongs,
            *self._neighbours.harmed(),
            *(f"defect of the simulator: {error!r}" for error in self._vcenter.world.defects),
            *(f"{method} was called" for method in HOST_DISTURBANCES if self._vcenter.calls[method]),
            *self._of_agencies(wanted),
            *self._of_vms(),
            *(wrong for host in self._all(HostSystem) for wrong in self._of_host(host, wanted)),
            *self._of_trunk(wanted),
        ]

    def _of_agencies(self, wanted: Mapping[str, str]) -> Iterator[str]:
        found = sorted((each.scope[0].name if each.scope else "", each.status) for each in self.agencies)
        if found != sorted((cluster, "green") for cluster in wanted):
            yield f"agencies {found} for {sorted(wanted)}"

    def _of_vms(self) -> Iterator[str]:
        claimed = {agent.vm for agency in self.agencies for agent in agency.agents}
        yield from (f"{vm.name} ({vm.moid}) belongs to no EsxAgent" for vm in self.contrailvms if vm not in claimed)

    def _of_host(self, host: HostSystem, wanted: Mapping[str, str]) -> Iterator[str]:
        here = [vm for vm in self.contrailvms if vm.host is host]
        agents = [agent for agency in self.agencies for agent in agency.agents if agent.host is host]
        cluster = host.compute_resource
        assert isinstance(cluster, ClusterComputeResource)
        version = wanted.get(cluster.name)
        if version is None:
            if here or agents:
                yield f"{host.name} is in no deployment, but has {[vm.name for vm in here]} and {len(agents)} EsxAgents"
            return
        if [vm.power_state for vm in here] != ["poweredOn"] or len(agents) != 1:
            yield f"{host.name} has {[(vm.name, vm.power_state) for vm in here]} and {len(agents)} EsxAgents"
            return
        yield from (f"{host.name}: {wrong}" for wrong in self._of_contrailvm(here[0], agents[0], version))
        if host.available_agents != host.required_agents:
            yield f"{host.name}: {host.available_agents} of {host.required_agents} EsxAgents are available"

    def _of_contrailvm(self, vm: VirtualMachine, agent: EsxAgent, version: str) -> Iterator[str]:
        if agent.status != "green" or agent.vm is not vm:
            yield f"the EsxAgent is {agent.status} and has {agent.vm and agent.vm.name}, found was {vm.name}"
        url = agent.deployed.package.url if agent.deployed else ""
        if f"/{version}/" not in url:
            yield f"{vm.name} was made from {url or 'nothing'}, not from {version}"
        wiring = [nic.network.name if nic.network else "" for nic in sorted(vm.nics, key=lambda nic: nic.key)]
        if wiring[:2] != ["mgmt", TRUNK]:
            yield f"{vm.name} is wired to {wiring}"
        if vm.memory_reservation < RESERVED_MB:
            yield f"{vm.name} has {vm.memory_reservation} MB reserved"
        if vm.resource_pool is None or vm.resource_pool in self._neighbours.pools:
            yield f"{vm.name} is in pool {vm.resource_pool and vm.resource_pool.name}"
        vrouter = self._vcenter.vrouters.agents.get(vm.moid)
        if vrouter is None or not vrouter.forwards:
            yield f"the vRouter of {vm.name} does not forward"

    def _of_trunk(self, wanted: Mapping[str, str]) -> Iterator[str]:
        trunks = [each for each in self._all(DistributedVirtualPortgroup) if each.name == TRUNK]
        if len(trunks) > 1 or (wanted and not trunks):
            yield f"{len(trunks)} trunk port groups"
        for trunk in trunks if wanted else ():
            setting = trunk.read("config.defaultPortConfig")
            ranges = [(each.start, each.end) for each in setting.vlan.vlanId]
            if ranges != [(1, 4094)] or not setting.securityPolicy.allowPromiscuous.value:
                yield f"the trunk has VLANs {ranges}, promiscuous {setting.securityPolicy.allowPromiscuous.value}"
