"""Who refers to whom, in the direction that the inventories do not have; kept by the changes they tell of. No I/O.

There are 50,000 of most of them: UUIDs are kept as their numbers. Port groups have thousands of users: theirs are sets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from typing import TypeVar
from uuid import UUID

from contrail_vsphere.model.contrail import ContrailChange, InstanceIp, Vmi
from contrail_vsphere.model.ids import IipId, NetworkId, VirtualMachineId, VmId, VmiId, VnId
from contrail_vsphere.model.inventory import Change, Network, VirtualMachine
from contrail_vsphere.vcenter_plugin.books.few import Few
from contrail_vsphere.vcenter_plugin.desired import instance_of

N = TypeVar("N")
M = TypeVar("M")


class Index:
    """Who refers to whom, in the direction that the views do not have."""

    def __init__(self, network_of: Callable[[Network], VnId | None]) -> None:
        self._network_of = network_of
        self.users_of: dict[NetworkId, set[VmId]] = {}
        self.groups_of: dict[VnId, set[NetworkId]] = {}
        self._vms: Few[int, VmId] = Few()
        self._vmis: Few[int, int] = Few()
        self._iips: Few[int, int] = Few()
        self._macs: Few[str, int] = Few()

    def vms_of(self, instance: UUID) -> tuple[VmId, ...]:
        """VMs of vCenter with an instance UUID."""
        return self._vms.of(instance.int)

    def instances_of(self, vms: Set[VmId]) -> Iterator[int]:
        """Numbers of the instance UUIDs of these VMs, of which there are many: looks through all."""
        return (number for number in self._vms if not vms.isdisjoint(self._vms.of(number)))

    def vmis_of(self, vm: VirtualMachineId) -> tuple[VmiId, ...]:
        """Interfaces of a VM."""
        return tuple(VmiId(UUID(int=vmi)) for vmi in self._vmis.of(vm.int))

    def iips_of(self, vmi: VmiId) -> tuple[IipId, ...]:
        """Instance IPs of an interface, by uuid."""
        return tuple(IipId(UUID(int=iip)) for iip in sorted(self._iips.of(vmi.int)))

    def vmis_with(self, mac: str) -> tuple[VmiId, ...]:
        """Interfaces with a MAC address, in whatever network."""
        return tuple(VmiId(UUID(int=vmi)) for vmi in self._macs.of(mac))

    def macs_twice(self) -> Iterator[tuple[str, tuple[VmiId, ...]]]:
        """MAC addresses that several interfaces have, in whatever networks, and those."""
        return ((mac, tuple(VmiId(UUID(int=vmi)) for vmi in vmis)) for mac, vmis in self._macs.shared())

    def vsphere(self, change: Change) -> None:
        """Take a change of the vSphere inventory in."""
        for value, add in ((change.before, False), (change.after, True)):
            if isinstance(value, VirtualMachine):
                instance = instance_of(value)
                if instance is not None:
                    self._vms.note(instance.int, value.id, add=add)
                for nic in value.nics:
                    if nic.network is not None:
                        _note(self.users_of, nic.network, value.id, add=add)
            elif isinstance(value, Network):
                network = self._network_of(value)
                if network is not None:
                    _note(self.groups_of, network, value.id, add=add)

    def contrail(self, change: ContrailChange) -> None:
        """Take a change of Contrail in."""
        for value, add in ((change.before, False), (change.after, True)):
            if isinstance(value, Vmi):
                if value.vm is not None:
                    self._vmis.note(value.vm.int, value.uuid.int, add=add)
                for mac in value.macs:
                    # vCenter's cards have the same text.
                    self._macs.note(sys.intern(mac), value.uuid.int, add=add)
            elif isinstance(value, InstanceIp):
                for vmi in value.vmis:
                    self._iips.note(vmi.int, value.uuid.int, add=add)


class Names(Collection[str]):
    """Names of VMs, which are only looked up for who reads them: a port group may have thousands of users."""

    def __init__(self, vms: Mapping[VmId, VirtualMachine], wanted: Collection[VmId]) -> None:
        self._vms = vms
        self._wanted = wanted

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[str]:
        return (vm.name for each in self._wanted if (vm := self._vms.get(each)) is not None)

    def __contains__(self, name: object) -> bool:
        return any(each == name for each in self)


def _note(table: dict[N, set[M]], key: N, value: M, *, add: bool) -> None:
    if add:
        table.setdefault(key, set()).add(value)
    elif key in table:
        table[key].discard(value)
        if not table[key]:
            del table[key]
