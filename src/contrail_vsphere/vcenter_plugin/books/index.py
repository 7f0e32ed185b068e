"""Who refers to whom, in the direction that the inventories do not have; kept by the changes they tell of. No I/O.

At 50,000 VMs most of these relations have one end, and a set of one costs four times a tuple of one. Port groups have
thousands of users: theirs are sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from contrail_vsphere.model.contrail import ContrailChange, InstanceIp, Vmi
from contrail_vsphere.model.ids import NetworkId, VirtualMachineId, VmId, VmiId, VnId
from contrail_vsphere.model.inventory import Change, Network, VirtualMachine
from contrail_vsphere.vcenter_plugin.desired import instance_of

_NOWHERE = VnId(UUID(int=0))
K = TypeVar("K")
V = TypeVar("V")


class Index:
    """Who refers to whom, in the direction that the views do not have."""

    def __init__(self, network_of: Callable[[Network], VnId | None]) -> None:
        self._network_of = network_of
        self.vms_of: dict[UUID, tuple[VmId, ...]] = {}
        self.users_of: dict[NetworkId, set[VmId]] = {}
        self.groups_of: dict[VnId, set[NetworkId]] = {}
        self.vmis_of: dict[VirtualMachineId, tuple[VmiId, ...]] = {}
        self.iips_of: dict[VmiId, tuple[InstanceIp, ...]] = {}
        """By uuid."""
        self.macs_of: dict[tuple[VnId, str], tuple[VmiId, ...]] = {}

    def vsphere(self, change: Change) -> None:
        """Take a change of the vSphere inventory in."""
        for value, add in ((change.before, False), (change.after, True)):
            if isinstance(value, VirtualMachine):
                instance = instance_of(value)
                if instance is not None:
                    _note_few(self.vms_of, instance, value.id, add=add)
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
                    _note_few(self.vmis_of, value.vm, value.uuid, add=add)
                for mac in value.macs:
                    _note_few(self.macs_of, (value.network or _NOWHERE, mac), value.uuid, add=add)
            elif isinstance(value, InstanceIp):
                for vmi in value.vmis:
                    others = (iip for iip in self.iips_of.get(vmi, ()) if iip.uuid != value.uuid)
                    iips = (*others, value) if add else tuple(others)
                    if iips:
                        self.iips_of[vmi] = tuple(sorted(iips, key=lambda iip: iip.uuid))
                    else:
                        self.iips_of.pop(vmi, None)


def _note_few(table: dict[K, tuple[V, ...]], key: K, value: V, *, add: bool) -> None:
    others = tuple(each for each in table.get(key, ()) if each != value)
    if add:
        table[key] = (*others, value)
    elif others:
        table[key] = others
    else:
        table.pop(key, None)


def _note(table: dict[K, set[V]], key: K, value: V, *, add: bool) -> None:
    if add:
        table.setdefault(key, set()).add(value)
    elif key in table:
        table[key].discard(value)
        if not table[key]:
            del table[key]
