"""Which VMs have a NIC on an overlay trunk of ours: kept as changes come, since looking at every VM would cost much."""

from __future__ import annotations

from collections.abc import Collection

from contrail_vsphere.contrailvm.networks import is_ours
from contrail_vsphere.contrailvm.observed import InventoryView
from contrail_vsphere.model.eam import EAM_KEY
from contrail_vsphere.model.ids import HostId, NetworkId, VmId
from contrail_vsphere.model.inventory import Change, Network, VirtualMachine


class Visitors:
    """All but EAM's own VMs; ``solution_id`` is in the mark of our trunks."""

    def __init__(self, inventory: InventoryView, *, solution_id: str) -> None:
        self._inventory = inventory
        self._solution_id = solution_id
        self._trunks: frozenset[NetworkId] = frozenset()
        self._found: dict[VmId, VirtualMachine] = {}

    def rebuild(self) -> None:
        """Look at everything."""
        networks = self._inventory.networks.values()
        self._trunks = frozenset(each.id for each in networks if is_ours(each, self._solution_id))
        self._found = {vm.id: vm for vm in self._inventory.vms.values() if self._visits(vm)}

    def see(self, change: Change) -> HostId | None:
        """Take in a change; the host of a VM that came onto a trunk, or left it."""
        match change.after or change.before:
            case Network() as network:
                if is_ours(network, self._solution_id) != (network.id in self._trunks) or change.after is None:
                    self.rebuild()
            case VirtualMachine() as vm:
                before = self._found.pop(vm.id, None)
                if change.after is not None and self._visits(vm):
                    self._found[vm.id] = vm
                if before is not None or vm.id in self._found:
                    return vm.host or (before.host if before is not None else None)
            case _:
                pass
        return None

    def on(self, hosts: Collection[HostId]) -> tuple[VirtualMachine, ...]:
        """Those on these hosts."""
        return tuple(vm for vm in self._found.values() if vm.host in hosts)

    def _visits(self, vm: VirtualMachine) -> bool:
        return vm.managed_by != EAM_KEY and any(nic.network in self._trunks and nic.port_key for nic in vm.nics)
