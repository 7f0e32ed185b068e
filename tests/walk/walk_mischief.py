"""What may happen on a walk: one function per kind of mischief, chosen and aimed by a seeded random."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from crash_rig import VERSIONS
from walk_site import CLUSTERS, WalkSite
from walk_truth import TRUNK

from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter import dvs_life, vm_life, vm_template
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

PAUSES = (0.0, 0.3, 2.0, 10.0, 40.0, 200.0)
"""Virtual seconds between two steps: in the middle of something, or when it has calmed down."""
MOST_HOSTS = 6
USER = "administrator@vsphere.local"

OF_VLCM = (
    FaultRule(method="Solutions.list", http_status=503, times=4),
    FaultRule(method="Solutions.set", http_status=503, times=2),
    FaultRule(method="SystemVms.apply", http_status=503, times=3),
    FaultRule(method="SystemVms.apply", drop=True, times=2),
    FaultRule(method="SystemVms.check-compliance", delay=20.0, times=3),
    FaultRule(method="SystemVms.mark-as-processed", drop=True, times=3),
    FaultRule(method="Tasks.get", http_status=503, times=3),
)
"""What may happen to the calls of vLCM."""

Step = Callable[["Mischief"], Awaitable[str]]
STEPS: list[Step] = []


def step(weight: int = 1) -> Callable[[Step], Step]:
    def add(function: Step) -> Step:
        STEPS.extend([function] * weight)
        return function

    return add


class Mischief:
    """A walk's hand; every step returns in words what it did, empty where there was nothing to do it to."""

    def __init__(self, site: WalkSite, chance: Random) -> None:
        self.site = site
        self.chance = chance
        self._added = 0

    async def walk(self, steps: int) -> None:
        for _ in range(steps):
            done = await self.chance.choice(STEPS)(self)
            if done:
                self.site.told.append(f"  {asyncio.get_running_loop().time():8.1f} {done}")
            await asyncio.sleep(self.chance.choice(PAUSES))
            await self.site.bury()

    # -- aims ---------------------------------------------------------------------------------------------------

    @property
    def world(self):
        return self.site.vcenter.world

    def a_host(self) -> HostSystem | None:
        hosts = list(self.world.of_type(HostSystem))
        return self.chance.choice(hosts) if hosts else None

    def a_contrailvm(self) -> VirtualMachine | None:
        vms = self.site.truth.contrailvms
        return self.chance.choice(vms) if vms else None

    # -- the operator -------------------------------------------------------------------------------------------

    @step(2)
    async def apply(self) -> str:
        """Another version, fewer or more clusters, a second deployment."""
        shapes = (
            dict.fromkeys(CLUSTERS, "dc1"),
            {"C0": "dc1"},
            {"C1": "dc1"},
            {"C0": "dc1", "C1": "dc2"},
        )
        shape, version = self.chance.choice(shapes), self.chance.choice(VERSIONS)
        await self.site.apply({cluster: (owner, version) for cluster, owner in shape.items()})
        return f"the operator applies {shape} {version}; in force: {self.site.wanted}"

    @step()
    async def remove_deployment(self) -> str:
        name = self.chance.choice(("dc1", "dc2"))
        if name not in {owner for owner, _ in self.site.wanted.values()}:
            return ""
        await self.site.remove(name)
        return f"the operator removes {name}; in force: {self.site.wanted}"

    # -- hosts --------------------------------------------------------------------------------------------------

    @step(2)
    async def add_host(self) -> str:
        if sum(1 for _ in self.world.of_type(HostSystem)) >= MOST_HOSTS:
            return ""
        self._added += 1
        name, cluster = f"esx-new-{self._added}", self.chance.choice(CLUSTERS)
        self.site.begin(self.site.vcenter.scenario.add_host(name, cluster))
        return f"{name} joins {cluster}"

    @step(2)
    async def remove_host(self) -> str:
        host = self.a_host()
        if host is None or len(host.compute_resource.hosts) < 2 or any(not vm.esx_agent for vm in host.vms):
            return ""
        scenario = self.site.vcenter.scenario

        async def leave() -> None:
            if host.connection_state == "connected" and not host.in_maintenance:
                await self.chance.choice((scenario.enter_maintenance, scenario.disconnect_host))(host)
            if all(vm.esx_agent for vm in host.vms):
                await scenario.remove_host(host)

        self.site.begin(leave())
        return f"{host.name} is taken out"

    @step(6)
    async def disturb_host(self) -> str:
        host, scenario = self.a_host(), self.site.vcenter.scenario
        if host is None:
            return ""
        back = {
            "boot": (host.crashed, scenario.boot_host),
            "wake": (host.power_state == "standBy", scenario.wake_host),
            "reconnect": (host.connection_state != "connected", scenario.reconnect_host),
            "exit maintenance": (host.in_maintenance, scenario.exit_maintenance),
        }
        for name, (away, mend) in back.items():
            if away:
                self.site.begin(mend(host))
                return f"{host.name}: {name}"
        verbs = {
            "maintenance": lambda: scenario.enter_maintenance(host, deadline=600),
            "disconnect": lambda: scenario.disconnect_host(host),
            "lost": lambda: scenario.lose_host(host),
            "crash": lambda: scenario.crash_host(host),
            "standby": lambda: scenario.standby_host(host, deadline=600),
        }
        name = self.chance.choice(list(verbs))
        self.site.begin(verbs[name]())
        return f"{host.name}: {name}"

    # -- ContrailVMs --------------------------------------------------------------------------------------------

    @step(6)
    async def disturb_vm(self) -> str:
        vm, scenario = self.a_contrailvm(), self.site.vcenter.scenario
        if vm is None:
            return ""
        verbs = {
            "power off": lambda: scenario.power_off(vm),
            "power on": lambda: scenario.power_on(vm),
            "suspend": lambda: scenario.suspend(vm),
            "reset": lambda: scenario.reset_vm(vm),
            "delete": lambda: scenario.delete_vm(vm),
            "rename": lambda: scenario.rename_vm(vm, f"renamed-{self.chance.randrange(10**6)}"),
        }
        name = self.chance.choice(list(verbs))
        if name == "power on":
            self.site.truth.started.add(vm.moid)
        self.site.begin(verbs[name]())
        return f"{vm.name} ({vm.moid}): {name}"

    @step()
    async def move_vm(self) -> str:
        vm, host = self.a_contrailvm(), self.a_host()
        if vm is None or host is None or vm.host is host:
            return ""
        self.site.truth.moved.add(vm.moid)
        self.site.begin(self.site.vcenter.scenario.move_vm(vm, host))
        return f"{vm.name} ({vm.moid}): moved to {host.name}"

    @step()
    async def make_template(self) -> str:
        vm = self.a_contrailvm()
        if vm is None or vm.power_state != "poweredOff" or vm.busy_chain:
            return ""
        try:
            vm_template.mark_as_template(self.world, vm, user=USER)
        except SoapFault:
            return ""
        return f"{vm.name} ({vm.moid}): marked as template"

    @step(3)
    async def edit_vm(self) -> str:
        """Somebody rewires a ContrailVM, takes its reservations, gives it another card."""
        vm = self.a_contrailvm()
        if vm is None or not vm.nics:
            return ""
        nic = self.chance.choice(vm.nics)
        group = self._network(self.chance.choice(("VM Network", "somebody-overlay")))
        specs = {
            "reservations taken": vim.vm.ConfigSpec(
                cpuAllocation=vim.ResourceAllocationInfo(reservation=0),
                memoryAllocation=vim.ResourceAllocationInfo(reservation=0),
            ),
            "NIC rewired": vim.vm.ConfigSpec(deviceChange=[_card("edit", group, key=nic.key)]),
            "NIC added": vim.vm.ConfigSpec(deviceChange=[_card("add", group, key=-1)]),
        }
        name = self.chance.choice(list(specs))
        self.site.begin(vm_life.reconfigure(self.world, vm, specs[name], user=USER))
        return f"{vm.name} ({vm.moid}): {name}"

    def _network(self, name: str):
        return self.site.vcenter.inventory[name]

    @step(2)
    async def disturb_vrouter(self) -> str:
        agents = list(self.site.vcenter.vrouters.agents)
        if not agents:
            return ""
        acts = ("kill", "restart", "hang", "xmpp-down", "xmpp-up", "lossy", "lossless")
        name, act = self.chance.choice(agents), self.chance.choice(acts)
        if act == "hang":
            self.site.hung.add(name)
        if act == "xmpp-down":
            self.site.silent.add(name)
        if act == "lossy":
            self.site.lossy.add(name)
        self.site.begin(self.site.vcenter.scenario.vrouter(name, act))
        return f"vRouter of {name}: {act}"

    # -- what the ContrailVMs stand on --------------------------------------------------------------------------

    @step()
    async def delete_trunk(self) -> str:
        groups = [each for each in self.world.of_type(DistributedVirtualPortgroup) if each.name == TRUNK]
        for group in groups:
            self.site.begin(dvs_life.destroy_portgroup(self.world, group, user=USER))
        return "the trunk port group is deleted" if groups else ""

    @step()
    async def bend_trunk(self) -> str:
        groups = [each for each in self.world.of_type(DistributedVirtualPortgroup) if each.name == TRUNK]
        switch = vim.dvs.VmwareDistributedVirtualSwitch
        vlan = switch.VlanIdSpec(inherited=False, vlanId=self.chance.randrange(1, 4000))
        for group in groups:
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
                configVersion=group.read("config.configVersion"),
                defaultPortConfig=switch.VmwarePortConfigPolicy(vlan=vlan),
            )
            self.site.begin(dvs_life.reconfigure_portgroup(self.world, group, spec, user=USER))
        return "the trunk port group becomes an access port group" if groups else ""

    @step()
    async def fill_datastore(self) -> str:
        store = next(each for each in self.world.of_type(Datastore) if each.name == "nfs-shared")
        with self.world.commit("somebody") as tx:
            tx.set(store, free=0)
        self.site.full.add(store)
        return "nfs-shared is full"

    # -- vCenter, EAM, the way to them --------------------------------------------------------------------------

    @step(4)
    async def fault(self) -> str:
        faults = (
            FaultRule(method="ReconfigVM_Task", fault="TaskInProgress", fields={"task": "task-1"}, times=3),
            FaultRule(method="ReconfigVM_Task", fault="HostCommunication", times=2),
            FaultRule(method="ReconfigVM_Task", drop_reply=True, times=2),
            FaultRule(method="CreateAgency", drop_reply=True, times=1),
            FaultRule(method="CreateDVPortgroup_Task", drop_reply=True, times=1),
            FaultRule(method="CreateResourcePool", drop_reply=True, times=1),
            FaultRule(method="MarkAsAvailable", drop=True, times=4),
            FaultRule(method="Resolve", http_status=503, times=4),
            FaultRule(method="AgencyQueryRuntime", http_status=500, times=6),
            FaultRule(method="AgencyQueryRuntime", delay=20.0, times=4),
            FaultRule(method="WaitForUpdatesEx", drop=True, times=2),
            FaultRule(method="RetrievePropertiesEx", truncate=200, times=2),
            FaultRule(method="*", http_status=503, probability=0.3, times=20),
            FaultRule(point="eam.deploy", fault="NoDiskSpace", fields={"datastore": "nfs-shared", "file": ""}, times=2),
            FaultRule(point="eam.deploy", fault="HostCommunication", times=1),
            FaultRule(point="eam.power_on", fault="InsufficientMemoryResourcesFault", times=1),
            FaultRule(point="eam.delete", fault="HostCommunication", times=1),
            *(OF_VLCM if self.site.images else ()),
        )
        rule = self.chance.choice(faults)
        self.site.vcenter.faults.add(rule)
        what = rule.fault or f"drop {rule.drop or rule.drop_reply} status {rule.http_status} delay {rule.delay:g}"
        return f"fault at {rule.method or rule.point}: {what}"

    @step()
    async def drop_connections(self) -> str:
        return f"{await self.site.vcenter.drop_connections()} connections are reset"

    @step()
    async def expire_sessions(self) -> str:
        return f"{self.site.vcenter.expire_sessions()} sessions expire"

    @step(2)
    async def restart_eam(self) -> str:
        await self.site.vcenter.restart_eam()
        return "EAM restarts"

    # -- the manager --------------------------------------------------------------------------------------------

    @step(2)
    async def kill(self) -> str:
        if not self.site.alive:
            return ""
        await self.site.rig.kill()
        return "the manager is killed"

    @step(2)
    async def kill_soon(self) -> str:
        """It dies over one of its next acts, after it had its effect or before."""
        if not self.site.alive:
            return ""
        number = self.chance.randint(1, 12)
        self.site.rig.points.begin(number)
        return f"the manager will die at act {number}"

    @step(5)
    async def revive(self) -> str:
        if self.site.alive:
            return ""
        await self.site.revive()
        return f"the manager runs again, died at {self.site.rig.points.deaths[-1:]}"


def _card(operation: str, network, *, key: int):
    card = vim.vm.device.VirtualVmxnet3(key=key)
    if isinstance(network, DistributedVirtualPortgroup):
        port = vim.dvs.PortConnection(switchUuid=network.dvs.uuid, portgroupKey=network.moid)
        card.backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    else:
        backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name, network=network.ref)
        card.backing = backing
    return vim.vm.device.VirtualDeviceSpec(operation=operation, device=card)
