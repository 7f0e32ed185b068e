"""What may happen to a site with the plugin: one function per kind of mischief, aimed by a seeded random."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

from elected_site import ElectedSite
from plugin_site import PluginSite

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator.contrail.answers import RefusedError
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim

PAUSES = (0.0, 0.0, 0.05, 0.3, 1.0, 5.0, 30.0, 130.0)
"""Virtual seconds between two steps: in the middle of something, or when it has calmed down."""
MOST_VMS, MOST_NETWORKS = 7, 4
NAMES = ("web", "a/b%c", 'x" --oper="delete" --uuid="1"', "\u202eevil\n", "n" * 80, "contrailVM-7", "web")
_DVS = vim.dvs.VmwareDistributedVirtualSwitch

Step = Callable[["PluginMischief"], Awaitable[str]]
STEPS: list[Step] = []


def step(weight: int = 1) -> Callable[[Step], Step]:
    def add(function: Step) -> Step:
        STEPS.extend([function] * weight)
        return function

    return add


class PluginMischief:
    """A walk's hand; every step returns in words what it did, empty where there was nothing to do it to."""

    def __init__(self, site: PluginSite, chance: Random) -> None:
        self.site = site
        self.chance = chance
        self._count = 0

    async def walk(self, steps: int) -> None:
        for _ in range(steps):
            done = await self.chance.choice(STEPS)(self)
            if done:
                self.site.told.append(f"  {asyncio.get_running_loop().time():8.2f} {done}")
            await asyncio.sleep(self.chance.choice(PAUSES))
            self.site.truth.strangers()

    # -- aims -------------------------------------------------------------------------------------------------------

    def a_vm(self) -> VirtualMachine | None:
        vms = self.site.truth.vms()
        return self.chance.choice(vms) if vms else None

    def a_network(self) -> str | None:
        groups = [group.name for group in self.site.groups().values()]
        return self.chance.choice(groups) if groups else None

    def an_agent(self) -> str:
        return self.chance.choice(sorted(self.site.vcenter.vrouters.agents))

    def next(self) -> int:
        self._count += 1
        return self._count

    # -- machines ---------------------------------------------------------------------------------------------------

    @step(4)
    async def create(self) -> str:
        if len(self.site.truth.vms()) >= MOST_VMS:
            return ""
        groups = [name for name in (self.a_network() for _ in range(self.chance.choice((1, 1, 2)))) if name]
        name, host, on = f"vm-{self.next()}", self.chance.randrange(3), self.chance.random() < 0.8
        self.site.begin(self.site.vm(name, *groups, host=host, on=on))
        return f"{name} is made on host {host} in {groups}, on: {on}"

    @step(8)
    async def power(self) -> str:
        vm, scenario = self.a_vm(), self.site.vcenter.scenario
        if vm is None:
            return ""
        verbs = {
            "power on": scenario.power_on,
            "power off": scenario.power_off,
            "suspend": scenario.suspend,
            "reset": scenario.reset_vm,
        }
        name = self.chance.choice(list(verbs))
        self.site.begin(verbs[name](vm))
        return f"{vm.name!r}: {name}"

    @step(7)
    async def move(self) -> str:
        vm, host = self.a_vm(), self.chance.choice(self.site.vcenter.scenario.hosts())
        if vm is None or vm.host is host:
            return ""
        takes = self.chance.choice((0.0, 0.0, 0.3, 6.0))
        self.site.vcenter.world.services[Timing] = replace(Timing.instant(), relocate=takes)
        self.site.begin(self.site.vcenter.scenario.move_vm(vm, host))
        return f"{vm.name!r} moves to {host.name} in {takes} s"

    @step(2)
    async def delete(self) -> str:
        vm = self.a_vm()
        if vm is None:
            return ""
        self.site.begin(self.site.vcenter.scenario.delete_vm(vm))
        return f"{vm.name!r} is deleted"

    @step()
    async def rename(self) -> str:
        vm, name = self.a_vm(), self.chance.choice(NAMES)
        if vm is None:
            return ""
        self.site.begin(self.site.vcenter.scenario.rename_vm(vm, name))
        return f"{vm.name!r} is renamed {name!r}"

    @step(6)
    async def card(self) -> str:
        vm, group = self.a_vm(), self.a_network() if self.chance.random() < 0.8 else "VM Network"
        if vm is None or group is None:
            return ""
        verbs = ["add"] if len(vm.nics) < 3 else []
        verbs += ["edit", "edit", "remove"] if vm.nics else []
        verb = self.chance.choice(verbs)
        key = -1 if verb == "add" else self.chance.choice(vm.nics).key
        self.site.begin(self.site.change(vm, (verb, key, group)))
        return f"{vm.name!r}: {verb} card {key} in {group}"

    @step(2)
    async def other_mac(self) -> str:
        vm = self.a_vm()
        if vm is None or not vm.nics:
            return ""
        nic, mac = self.chance.choice(vm.nics), f"00:50:56:00:00:{self.next() % 256:02x}"
        card = vim.vm.device.VirtualVmxnet3(key=nic.key, macAddress=mac, addressType="manual")
        spec = vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)])
        self.site.begin(vm_life.reconfigure(self.site.vcenter.world, vm, spec, user="somebody"))
        return f"{vm.name!r}: card {nic.key} gets {mac}"

    @step(2)
    async def clone(self) -> str:
        vm, name = self.a_vm(), f"clone-{self.next()}"
        if vm is None or len(self.site.truth.vms()) >= MOST_VMS:
            return ""
        place = vim.vm.RelocateSpec(pool=vm.host.compute_resource.root_pool.ref if vm.host is not None else None)
        spec = vim.vm.CloneSpec(location=place, powerOn=self.chance.random() < 0.5, template=False)
        folder = vm.parent.ref
        self.site.begin(self.site.admin.run_task(vm.ref, "CloneVM_Task", folder=folder, name=name, spec=spec))
        return f"{vm.name!r} is cloned to {name}"

    @step()
    async def template(self) -> str:
        vm = self.a_vm()
        if vm is None:
            return ""
        if vm.template:
            pool = vm.host.compute_resource.root_pool
            self.site.begin(self.site.admin.call(vm.ref, "MarkAsVirtualMachine", pool=pool.ref, host=vm.host.ref))
            return f"{vm.name!r} is a VM again"
        self.site.begin(self.site.admin.call(vm.ref, "MarkAsTemplate"))
        return f"{vm.name!r} becomes a template"

    @step()
    async def register_again(self) -> str:
        vm, host = self.a_vm(), self.chance.choice(self.site.vcenter.scenario.hosts())
        if vm is None or vm.power_state != "poweredOff" or vm.template or vm.busy_chain:
            return ""
        name, path, folder = vm.name, vm.vmx, vm.parent
        pause = self.chance.choice((0.5, 15.0))

        async def away_and_back() -> None:
            vm_life.unregister(self.site.vcenter.world, vm)
            await asyncio.sleep(pause)
            where = {"pool": host.compute_resource.root_pool.ref, "host": host.ref}
            await self.site.admin.run_task(folder.ref, "RegisterVM_Task", path=path, asTemplate=False, **where)

        self.site.begin(away_and_back())
        return f"{name!r} is unregistered and {pause} s later registered on {host.name}"

    @step(2)
    async def snapshot(self) -> str:
        vm = self.a_vm()
        if vm is None:
            return ""
        if vm.current_snapshot is None:
            fields = {"name": "before", "memory": False, "quiesce": False}
            self.site.begin(self.site.admin.run_task(vm.ref, "CreateSnapshot_Task", **fields))
            return f"{vm.name!r}: snapshot"
        self.site.begin(self.site.admin.run_task(vm.ref, "RevertToCurrentSnapshot_Task"))
        return f"{vm.name!r} is reverted"

    # -- networks ---------------------------------------------------------------------------------------------------

    @step(2)
    async def new_network(self) -> str:
        if len(self.site.truth.networks()) >= MOST_NETWORKS:
            return ""
        number = self.next()
        self.site.network(f"net-{number}", f"10.{number % 200 + 10}.0.0/24")
        return f"network net-{number}"

    @step()
    async def network_made_anew(self) -> str:
        networks = list(self.site.truth.networks().values())
        if not networks:
            return ""
        network = self.chance.choice(networks)
        try:
            self.site.contrail.scenario.delete(network)
        except RefusedError:
            return ""
        self.site.network(network.name, f"10.{self.next() % 200 + 10}.0.0/24")
        return f"network {network.name} is deleted and made anew"

    @step(2)
    async def delete_network(self) -> str:
        networks = list(self.site.truth.networks().values())
        if not networks:
            return ""
        network = self.chance.choice(networks)
        try:
            self.site.contrail.scenario.delete(network)
        except RefusedError:
            return ""
        return f"network {network.name} is deleted"

    @step()
    async def rename_network(self) -> str:
        networks = list(self.site.truth.networks().values())
        if not networks:
            return ""
        network, name = self.chance.choice(networks), self.chance.choice((*NAMES, f"other-{self.next()}"))
        self.site.contrail.scenario.update(network, display_name=name)
        return f"network {network.name} is called {name!r}"

    @step(3)
    async def bend_group(self) -> str:
        groups = list(self.site.groups().values())
        if not groups:
            return ""
        group = self.chance.choice(groups)
        policy = _DVS.VMwarePortgroupPolicy(
            blockOverrideAllowed=True, vlanOverrideAllowed=True, shapingOverrideAllowed=False,
            vendorConfigOverrideAllowed=False, livePortMovingAllowed=False, portConfigResetAtDisconnect=False,
            uplinkTeamingOverrideAllowed=False, securityPolicyOverrideAllowed=False,
        )  # fmt: skip
        vlan = _DVS.VlanIdSpec(inherited=False, vlanId=self.chance.randrange(1, 4000))
        setting = _DVS.VmwarePortConfigPolicy(vlan=vlan, blocked=vim.BoolPolicy(inherited=False, value=False))
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec
        tasks = {
            "destroyed": ("Destroy_Task", {}),
            "renamed": ("Rename_Task", {"newName": f"mine-{self.next()}"}),
            "given a VLAN and opened": (
                "ReconfigureDVPortgroup_Task",
                {"spec": spec(configVersion=str(group.config_version), defaultPortConfig=setting)},
            ),
            "kept at disconnect": (
                "ReconfigureDVPortgroup_Task",
                {"spec": spec(configVersion=str(group.config_version), policy=policy)},
            ),
        }
        name = self.chance.choice(list(tasks))
        method, fields = tasks[name]
        self.site.begin(self.site.admin.run_task(group.ref, method, **fields))
        return f"port group {group.name} is {name}"

    @step(3)
    async def bend_port(self) -> str:
        ports = [port for port in self.site.dvs.ports.ports.values() if port.vm is not None and port.group.vendor]
        ports = [port for port in ports if port.vm not in self.site.carrier_vms]
        if not ports:
            return ""
        port = self.chance.choice(ports)
        vlan = 3000 + self.next() % 1000  # not one that was set by hand before: nobody may be there to mend it
        settings = {
            f"VLAN {vlan}": {"vlan": _DVS.VlanIdSpec(inherited=False, vlanId=vlan)},
            "blocked": {"blocked": vim.BoolPolicy(inherited=False, value=True)},
            "inherited": {
                "vlan": _DVS.VlanIdSpec(inherited=True, vlanId=0),
                "blocked": vim.BoolPolicy(inherited=True, value=False),
            },
        }
        name = self.chance.choice(list(settings))
        setting = _DVS.VmwarePortConfigPolicy(**settings[name])
        spec = vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port.key, setting=setting)
        self.site.begin(self.site.admin.run_task(self.site.dvs.ref, "ReconfigureDVPort_Task", port=[spec]))
        return f"port {port.key} of {port.vm.name!r} is set {name}"

    # -- Contrail ---------------------------------------------------------------------------------------------------

    @step(2)
    async def delete_object(self) -> str:
        """Somebody deletes what is ours in Contrail."""
        kind = self.chance.choice(("instance-ip", "virtual-machine-interface", "virtual-machine"))
        found = self.site.objects(kind)
        if not found:
            return ""
        gone = self.chance.choice(found)
        try:
            self.site.contrail.scenario.delete(gone)
        except RefusedError:
            return ""
        return f"{kind} {gone.uuid} is deleted"

    @step(3)
    async def contrail_fault(self) -> str:
        faults = (
            FaultRule(method="create", http_status=500, times=2),
            FaultRule(method="create", http_status=409, message="already exists", times=1),
            FaultRule(method="create", drop_reply=True, times=2),
            FaultRule(method="create", drop=True, times=2),
            FaultRule(method="update", drop_reply=True, times=1),
            FaultRule(method="delete", http_status=503, times=3),
            FaultRule(method="delete", drop_reply=True, times=2),
            FaultRule(method="list*", http_status=500, times=3),
            FaultRule(method="list*", truncate=300, times=2),
            FaultRule(method="list*", drop=True, times=2),
            FaultRule(method="*", delay=4.0, times=5),
        )
        rule = self.chance.choice(faults)
        self.site.contrail.faults.add(rule)
        return f"fault at {rule.method}: {rule.http_status} {rule.drop} {rule.drop_reply} {rule.truncate} {rule.delay}"

    @step(3)
    async def contrail_service(self) -> str:
        scenario, doors = self.site.contrail.scenario, self.site.contrail.doors
        verbs = {
            "restart": lambda: self.site.begin(scenario.restart_api(down=self.chance.choice((0.5, 20.0)))),
            "connections dropped": scenario.drop_connections,
            "messages lost": lambda: scenario.lose_messages(self.chance.choice((1, 3, 10))),
            "messages late": lambda: scenario.delay_messages(0.5, jitter=2.0),
            "messages quick": lambda: scenario.delay_messages(0.0005),
            "no writes": scenario.lose_zookeeper,
            "writes": lambda: scenario.lose_zookeeper(lost=False),
            "broker away": scenario.stop_broker,
            "broker back": scenario.start_broker,
        }
        name = self.chance.choice(list(verbs))
        if name == "restart" and not doors[0].up:
            return ""
        verbs[name]()
        return f"Contrail: {name}"

    # -- vRouters ---------------------------------------------------------------------------------------------------

    @step(4)
    async def disturb_agent(self) -> str:
        name = self.an_agent()
        act = self.chance.choice(("kill", "restart", "restart", "hang", "unhang", "xmpp-down", "xmpp-up", "anew"))
        if act == "anew":
            # Another ContrailVM takes its place: nothing of the old one's disk is left.
            self.site.vcenter.vrouters.agents[name].table.files.clear()
            act = "restart"
        await self.site.vcenter.vrouters.act(name, act)
        return f"VRouterAgent of {name}: {act}"

    @step()
    async def take_port_away(self) -> str:
        name = self.an_agent()
        table = self.site.vcenter.vrouters.agents[name].table
        if not table.ports:
            return ""
        port = self.chance.choice(sorted(table.ports))
        table.delete(port)
        return f"VRouterAgent of {name}: somebody unplugs {port}"

    # -- hosts and vCenter ------------------------------------------------------------------------------------------

    @step(3)
    async def disturb_host(self) -> str:
        host, scenario = self.chance.choice(self.site.vcenter.scenario.hosts()), self.site.vcenter.scenario
        if host.crashed:
            self.site.begin(scenario.boot_host(host))
            return f"{host.name} boots"
        if host.connection_state != "connected":
            self.site.begin(scenario.reconnect_host(host))
            return f"{host.name} is connected again"
        verbs = {
            "disconnected": scenario.disconnect_host,
            "lost": scenario.lose_host,
            "crashed": scenario.crash_host,
        }
        name = self.chance.choice(list(verbs))
        self.site.begin(verbs[name](host))
        return f"{host.name}: {name}"

    @step(4)
    async def vcenter_fault(self) -> str:
        faults = (
            FaultRule(method="ReconfigureDVPort_Task", fault="ConcurrentAccess", times=2),
            FaultRule(method="ReconfigureDVPort_Task", drop_reply=True, times=2),
            FaultRule(method="ReconfigureDVPort_Task", drop=True, times=2),
            FaultRule(method="ReconfigureDVPort_Task", delay=3.0, times=3),
            FaultRule(method="AddDVPortgroup_Task", drop_reply=True, times=1),
            FaultRule(method="CreateDVPortgroup_Task", drop_reply=True, times=1),
            FaultRule(method="FetchDVPorts", http_status=503, times=3),
            FaultRule(method="FetchDVPorts", delay=2.0, times=5),
            FaultRule(method="FetchDVPorts", truncate=150, times=2),
            FaultRule(method="WaitForUpdatesEx", drop=True, times=2),
            FaultRule(method="*", http_status=503, probability=0.3, times=20),
        )
        rule = self.chance.choice(faults)
        self.site.vcenter.faults.add(rule)
        return f"fault at {rule.method}: {rule.fault or rule.http_status or rule.delay or 'dropped'}"

    @step()
    async def drop_connections(self) -> str:
        return f"{await self.site.vcenter.drop_connections()} connections are reset"

    @step()
    async def expire_sessions(self) -> str:
        return f"{self.site.vcenter.expire_sessions()} sessions expire"

    # -- the plugin -------------------------------------------------------------------------------------------------

    @step(2)
    async def kill(self) -> str:
        if not self.site.alive:
            return ""
        await self.site.crash()
        return "the plugin is killed"

    @step(4)
    async def revive(self) -> str:
        if self.site.alive:
            return ""
        await self.site.revive()
        return "the plugin runs again"

    # -- elections --------------------------------------------------------------------------------------------------

    @step(5)
    async def election(self) -> str:
        site = self.site
        if not isinstance(site, ElectedSite) or not site.alive:
            return ""
        return site.thaw() or site.freeze()

    @step(3)
    async def one_process(self) -> str:
        """One of the two ends, or comes back; the other goes on."""
        site = self.site
        if not isinstance(site, ElectedSite) or not site.alive:
            return ""
        name = self.chance.choice(site.names)
        if name not in site.members:
            try:
                await site.begin_process(name)
            except ContrailVsphereError as refused:
                return f"process {name} does not start: {refused}"
            return f"process {name} begins"
        if len(site.members) == 1:
            return ""
        leads = site.reigning == name
        await site.stop(name)
        return f"process {name} ends" + (", which led" if leads else "")

    # -- guests -----------------------------------------------------------------------------------------------------

    @step(4)
    async def guest_addresses(self) -> str:
        """What VMware Tools tell: an address, another one, none, or they do not run."""
        vm = self.a_vm()
        if vm is None or not vm.nics:
            return ""
        nic, number = self.chance.choice(vm.nics), self.next() % 240 + 10
        four, six = f"10.9.0.{number}", f"fd00:9::{number}"
        told = self.chance.choice(((four,), (four, six), ("192.0.2.7",), ()))
        tools = self.chance.random() < 0.8
        with self.site.vcenter.world.commit("guest") as tx:
            tx.set(vm, tools_running=tools, guest_addresses={**vm.guest_addresses, nic.key: told})
        return f"{vm.name!r} card {nic.key}: the guest tells {told}, tools run: {tools}"
