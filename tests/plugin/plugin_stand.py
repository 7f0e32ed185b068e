"""A whole stand in one process on virtual time: simulated vCenter, Contrail and VRouterAgents, and the plugin."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.engine.leader import AlwaysLeader
from contrail_vsphere.model.protocols import HostEntry
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.oracle import Frame, VmNic, verdict
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vcenter_plugin.identity import CREATOR
from contrail_vsphere.vcenter_plugin.plugin import EVENTS, PluginOptions, VCenterPlugin
from contrail_vsphere.vsphere.told import folded_vms
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim

MARK = "contrail.vn-uuid"
WRITES = ("ReconfigureDVPort_Task", "AddDVPortgroup_Task", "ReconfigureDVPortgroup_Task", "Rename_Task", "Destroy_Task")


class PluginStand:
    """``async with`` it; ``crash`` and ``resume`` restart the plugin."""

    def __init__(
        self, directory: Path, *, hosts: int = 2, switches: dict | None = None, events: bool = True, **options
    ):
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.events = events
        self.options = PluginOptions(**options)
        self.vcenter = VCenterSimulator(timing=Timing.instant(), hosts=hosts, vms=0, guests=False)
        self._switches = switches or {}
        self._start = datetime.now(UTC)
        self.leader: AlwaysLeader = AlwaysLeader()
        self.database = "plugin.db"
        self.journal_type = Journal
        self.failures: list[str] = []
        self.told: list[str] = []
        """What happened, for whoever reads of a failure."""
        self.carrier_vms: list[VirtualMachine] = []
        """The ContrailVMs, once ``carry`` was called."""

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time() - self._origin)

    async def __aenter__(self) -> PluginStand:
        self._origin = asyncio.get_running_loop().time()
        self.contrail = ContrailSimulator()
        await self.vcenter.start()
        Switches(**self._switches).install(self.vcenter.world)
        await self.contrail.start()
        self.vcenter.vrouters.control_node = self.contrail.control_node
        for host in self.vcenter.scenario.hosts():
            await self.vcenter.vrouters.add(host.moid, controllers=("127.0.0.1",), connect_after=0.0)
        await asyncio.sleep(1)
        self.admin = VCenter(*self._access())
        await self.admin.__aenter__()
        await self.resume()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.crash()
        await self.admin.close()
        await self.vcenter.vrouters.stop()
        await self.contrail.stop()
        await self.vcenter.stop()

    async def resume(self) -> None:
        self.journal = self.journal_type(self.directory / self.database, now=self.now)
        self.http = aiohttp.ClientSession()
        self.client = VCenter(*self._access(), now=self.now, random=random.Random(1), vms=folded_vms)
        await self.client.__aenter__()
        self.api = ConfigApi([self.contrail.ready["url"]], random=random.Random(2), rate=100_000)
        await self.api.__aenter__()
        self.inventory = ContrailInventory(self.api, BusNotifications(self.contrail.bus), random=random.Random(3))
        self.client.inventory.start()
        self.inventory.start()
        if self.events:
            self.client.events.start(EVENTS)
        self.health = HealthBook(self.now)
        self.plugin = VCenterPlugin(
            vcenter=self.client,
            contrail=self.inventory,
            api=self.api,
            agents=VRouterAgentClient(self.http),
            introspect=Introspect(self.http),
            directory=self.directory_of_hosts,
            journal=self.journal,
            leader=self.leader,
            health=self.health,
            now=self.now,
            random=random.Random(4),
            options=self.options,
        )
        await self.plugin.start()

    def _access(self) -> tuple[Endpoint, PasswordLogin]:
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        endpoint = Endpoint(host, int(port), thumbprint=ready["thumbprint"])
        return endpoint, PasswordLogin(ready["username"], ready["password"])

    async def crash(self) -> None:
        await self.plugin.stop(deadline=0.01)
        await self.abandon()

    async def abandon(self) -> None:
        """Close what the plugin stands on."""
        await self.inventory.stop()
        await self.api.__aexit__(None, None, None)
        await self.client.close()
        await self.http.close()
        self.journal.close()

    async def carry(self) -> None:
        """Give every host a ContrailVM with a trunk card, so that frames find their way through its vRouter."""
        port = vim.dvs.VmwareDistributedVirtualSwitch
        setting = port.VmwarePortConfigPolicy(
            vlan=port.TrunkVlanSpec(inherited=False, vlanId=[vim.NumericRange(start=1, end=4094)]),
            macManagementPolicy=port.MacManagementPolicy(
                inherited=False, allowPromiscuous=True, forgedTransmits=True, macChanges=True
            ),
        )
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name="contrail-trunk", type="earlyBinding", numPorts=8, defaultPortConfig=setting
        )
        await self.admin.run_task(self.dvs.ref, "AddDVPortgroup_Task", spec=[spec])
        for number, host in enumerate(self.vcenter.scenario.hosts()):
            vm = await self.vcenter.scenario.create_vm(f"cvm-{number}", host=host, nics=0, power_on=False)
            with self.vcenter.world.commit("EAM") as tx:
                tx.set(vm, esx_agent=True)  # HA and DRS leave it where it is
            await self.change(vm, ("add", -1, "contrail-trunk"))
            await self.vcenter.scenario.power_on(vm)
            self.carrier_vms.append(vm)

    @property
    def carriers(self) -> dict[str, Any]:
        """The VRouterAgents by their ContrailVM, as the packet oracle wants them."""
        agents = self.vcenter.vrouters.agents
        return {vm.moid: agents[vm.host.moid] for vm in self.carrier_vms if vm.host is not None}

    def directory_of_hosts(self) -> list[HostEntry]:
        fleet = self.vcenter.vrouters
        return [
            HostEntry(host.moid, host.name, agent_address=fleet.address_of(host.moid))
            for host in self.vcenter.scenario.hosts()
            if host.moid in fleet.agents
        ]

    # -- what people do ---------------------------------------------------------------------------------------------

    def network(self, name: str, prefix: str = "10.1.0.0/24", **fields: Any) -> UUID:
        return UUID(self.contrail.scenario.create_network(name, prefix, **fields).uuid)

    async def vm(self, name: str, *groups: str, host: int = 0, on: bool = True) -> VirtualMachine:
        where = self.vcenter.scenario.hosts()[host]
        vm = await self.vcenter.scenario.create_vm(name, host=where, nics=0, power_on=False)
        await self.change(vm, *(("add", -1 - number, group) for number, group in enumerate(groups)))
        if on:
            await self.vcenter.scenario.power_on(vm)
        return vm

    async def change(self, vm: VirtualMachine, *changes: tuple[str, int, str | None]) -> None:
        """Cards: (operation, device key, name of the port group or network)."""
        specs = []
        for operation, key, group in changes:
            card = vim.vm.device.VirtualVmxnet3(key=key)
            if operation != "remove":
                card.backing = self._backing(group)
                card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
                    startConnected=True, connected=vm.power_state == "poweredOn", allowGuestControl=True
                )
                old = next((nic for nic in vm.nics if nic.key == key), None)
                if old is not None:
                    card.macAddress = old.mac
            specs.append(vim.vm.device.VirtualDeviceSpec(operation=operation, device=card))
        if specs:
            await self.admin.run_task(vm.ref, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=specs))

    def _backing(self, name: str | None) -> Any:
        group = self.group(name or "")
        if group is None:
            return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
        connection = vim.dvs.PortConnection(switchUuid=group.dvs.uuid, portgroupKey=group.moid)
        return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)

    # -- what is true outside ---------------------------------------------------------------------------------------

    @property
    def dvs(self) -> DistributedVirtualSwitch:
        return next(iter(self.vcenter.world.of_type(DistributedVirtualSwitch)))

    def groups(self) -> dict[str, DistributedVirtualPortgroup]:
        """The marked ones by name."""
        found = self.vcenter.world.of_type(DistributedVirtualPortgroup)
        return {group.name: group for group in found if any(blob.key == MARK for blob in group.vendor)}

    def group(self, name: str) -> DistributedVirtualPortgroup | None:
        found = self.vcenter.world.of_type(DistributedVirtualPortgroup)
        return next((group for group in found if group.name == name), None)

    def ports(self, vm: VirtualMachine) -> list[Any]:
        return [port for port in self.dvs.ports.ports.values() if port.vm is vm]

    def port(self, vm: VirtualMachine) -> Any:
        (port,) = self.ports(vm)
        return port

    @staticmethod
    def vlan(port: Any) -> int | None:
        vlan = getattr(port.override, "vlan", None)
        return vlan.vlanId if vlan is not None and not vlan.inherited else None

    @staticmethod
    def is_open(port: Any) -> bool:
        blocked = getattr(port.override, "blocked", None)
        return blocked is not None and not blocked.inherited and blocked.value is False

    def objects(self, kind: str) -> list[Any]:
        return [one for one in self.contrail.scenario.all(kind) if one.properties["id_perms"].get("creator") == CREATOR]

    def plugged(self, host: Any) -> dict[str, Any]:
        """What the host's agent has, by interface."""
        moid = host if isinstance(host, str) else host.moid
        return dict(self.vcenter.vrouters.agents[moid].table.ports)

    def calls(self) -> Counter:
        """Writes so far, by world."""
        found = Counter({name: self.vcenter.calls[name] for name in WRITES})
        for (verb, kind), number in self.contrail.calls.items():
            found[f"contrail {verb} {kind}"] += number
        return found

    def written(self, before: Counter) -> dict[str, int]:
        """The writes since ``before``, both worlds; reads do not count."""
        reads = ("list", "read", "fq-name-to-id", "fqname-to-id")
        spent = self.calls() - before
        return {name: number for name, number in spent.items() if not any(word in name for word in reads)}

    def frame_arrives(self, source: VirtualMachine, target: VirtualMachine) -> bool:
        frame = Frame(source_mac=source.nics[0].mac, destination_mac=target.nics[0].mac)
        seen = verdict(
            self.vcenter.world, self.carriers, VmNic(source, source.nics[0].key),
            VmNic(target, target.nics[0].key), frame,
        )  # fmt: skip
        return seen.delivered

    # -- waiting ----------------------------------------------------------------------------------------------------

    async def until(self, condition: Any, *, seconds: float = 60.0) -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not condition():
            if loop.time() - begun > seconds:
                raise AssertionError(f"not within {seconds} s:\n{self.describe()}")
            await asyncio.sleep(0.05)
        return loop.time() - begun

    async def settle(self, seconds: float = 90.0) -> None:
        """Until nothing is due and what was asked for has happened; then nothing may be wrong outside."""
        await asyncio.sleep(1.5)
        await self.until(lambda: self.plugin.controller.idle, seconds=seconds)
        self.check()

    def describe(self) -> str:
        lines = [f"{entry.source} {entry.key}: {entry.state} {entry.reason}" for entry in self.health.items()]
        lines += [
            f"{state.vm} {state.id.nic}: {state.state} {state.reason}" for state in self.plugin.controller.ports()
        ]
        return "\n".join(lines)

    def check(self) -> None:
        """The invariants, read outside; see issue "The vCenter plugin", what must hold."""
        used: dict[tuple[str, int], str] = {}
        for port in self.dvs.ports.ports.values():
            managed = any(blob.key == MARK for blob in port.group.vendor)
            if not managed or port.vm is None:
                continue
            vlan, host = self.vlan(port), port.proxy_host
            if self.is_open(port):
                assert vlan, f"{port.vm.name} is open without a VLAN"
            if vlan and host is not None and port.vm.power_state == "poweredOn":
                other = used.setdefault((host.moid, vlan), port.vm.name)
                assert other == port.vm.name, f"{other} and {port.vm.name} share VLAN {vlan} on {host.name}"
