"""What users do in the demo's vCenter, and what an auditor finds there: a session of its own, beside the product's.

The plugin's word is not taken for it: VLANs are read from the switch's ports, as anybody with a vSphere client can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import NetworkId
from contrail_vsphere.model.inventory import Host, Network, VirtualMachine
from contrail_vsphere.model.port_group import marked_network
from contrail_vsphere.vsphere.dvports import DvPorts
from contrail_vsphere.vsphere.endpoint import Endpoint, PasswordLogin
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

TOGETHER = 16
"""Changes of VMs under way at once, as a patient administrator's script would have it."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The ports of Contrail's networks, as the switches have them."""

    active: int
    """Open, with a VLAN of their own, on a VM that runs."""
    conflicts: int
    """Ports beyond the first that have one VLAN on one host."""
    shut: int
    """On a VM that runs, but blocked or without VLAN."""
    hosts: int
    """Hosts that have any."""


class Estate:
    """A user's session; ``async with`` it."""

    def __init__(self, endpoint: Endpoint, login: PasswordLogin) -> None:
        self._vcenter = VCenter(endpoint, login)
        self._ports = DvPorts(self._vcenter)

    async def __aenter__(self) -> Self:
        """Log in, and follow the inventory."""
        await self._vcenter.__aenter__()
        self._vcenter.inventory.start()
        await self._vcenter.inventory.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Log out."""
        await self._vcenter.close()

    @property
    def calls(self) -> int:
        """Calls that this session made; they are not the product's."""
        return sum(self._vcenter.calls.values())

    def groups(self) -> dict[str, Network]:
        """Port groups that stand for networks of Contrail, by name."""
        networks = self._vcenter.inventory.networks.values()
        return {group.name: group for group in networks if marked_network(group) is not None}

    def hosts(self) -> tuple[Host, ...]:
        """Those that VMs can be on."""
        return tuple(host for host in self._vcenter.inventory.hosts.values() if host.usable)

    def tenants(self) -> tuple[VirtualMachine, ...]:
        """Users' VMs, by name."""
        vms = self._vcenter.inventory.vms.values()
        return tuple(sorted((vm for vm in vms if not vm.managed_by), key=lambda vm: vm.name))

    def placed(self) -> tuple[VirtualMachine, ...]:
        """Running users' VMs with a card in a network of Contrail."""
        ours = {group.id for group in self.groups().values()}
        return tuple(
            vm for vm in self.tenants() if vm.power == "poweredOn" and any(nic.network in ours for nic in vm.nics)
        )

    async def place(self, vms: Iterable[VirtualMachine], groups: Collection[Network]) -> None:
        """Connect the first card of each VM to one of the port groups in turn."""
        targets = list(groups)
        await _each(
            (self._connect(vm, targets[number % len(targets)]) for number, vm in enumerate(vms)),
        )

    async def move(self, vms: Iterable[VirtualMachine], hosts: Collection[Host]) -> int:
        """Move each VM to the host after its own, live; how many there were."""
        ring = [host.id for host in hosts]
        moves = []
        for vm in vms:
            if vm.host in ring and len(ring) > 1:
                target = ring[(ring.index(vm.host) + 1) % len(ring)]
                spec = build(vim.vm.RelocateSpec, host=reference(vim.HostSystem, target))
                moves.append(self._task(vm, "RelocateVM_Task", spec=spec))
        await _each(moves)
        return len(moves)

    async def leave(self, vms: Iterable[VirtualMachine], network: Network) -> None:
        """Connect the first card of each VM to a network that is not Contrail's."""
        backing = build(
            vim.vm.device.VirtualEthernetCard.NetworkBackingInfo,
            deviceName=network.name,
            network=reference(vim.Network, network.id),
        )
        await _each(self._rewire(vm, backing) for vm in vms)

    def standard(self, name: str) -> Network:
        """A standard network. LookupError when there is none of that name."""
        for network in self._vcenter.inventory.networks.values():
            if network.name == name and network.dvs is None:
                return network
        raise LookupError(f"vCenter has no network {name}")

    async def audit(self) -> Audit:
        """Read the ports of all port groups of Contrail's networks."""
        running = {vm.id for vm in self.tenants() if vm.power == "poweredOn"}
        ports = [port for port in await self._read() if port.vm in running]
        good = [port for port in ports if port.vlan and port.blocked is False]
        places = {(port.host, port.vlan) for port in good}
        return Audit(
            active=len(good),
            conflicts=len(good) - len(places),
            shut=len(ports) - len(good),
            hosts=len({port.host for port in good}),
        )

    async def _read(self) -> list[DvPort]:
        by_switch: dict[Any, set[NetworkId]] = {}
        for group in self.groups().values():
            if group.dvs is not None:
                by_switch.setdefault(group.dvs, set()).add(group.id)
        return [port for dvs, groups in by_switch.items() for port in await self._ports.of_groups(dvs, groups)]

    async def _connect(self, vm: VirtualMachine, group: Network) -> None:
        switch = self._vcenter.inventory.dvss[group.dvs] if group.dvs is not None else None
        connection = build(
            vim.dvs.PortConnection, switchUuid=switch.uuid if switch is not None else "", portgroupKey=group.id
        )
        await self._rewire(
            vm, build(vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo, port=connection)
        )

    async def _rewire(self, vm: VirtualMachine, backing: Any) -> None:
        device = vim.vm.device
        nic = vm.nics[0]
        connectable = build(
            device.VirtualDevice.ConnectInfo, startConnected=True, connected=True, allowGuestControl=True
        )
        card = build(device.VirtualVmxnet3, key=nic.key, macAddress=nic.mac, backing=backing, connectable=connectable)
        change = build(device.VirtualDeviceSpec, operation="edit", device=card)
        await self._task(vm, "ReconfigVM_Task", spec=build(vim.vm.ConfigSpec, deviceChange=[change]))

    async def _task(self, vm: VirtualMachine, method: str, **arguments: Any) -> None:
        await self._vcenter.run_task(reference(vim.VirtualMachine, vm.id), method, **arguments)


async def _each(doings: Iterable[Any]) -> None:
    """All of them, some at once; the first error ends it."""
    slots = asyncio.Semaphore(TOGETHER)

    async def one(doing: Any) -> None:
        async with slots:
            await doing

    async with asyncio.TaskGroup() as group:
        for doing in doings:
            group.create_task(one(doing))
