"""PCI devices and virtual functions that a VM takes from its host: Dynamic DirectPath I/O and SR-IOV.

A VM names kinds of devices, and is given ones when it is powered on; a host that has none left refuses. Either way all
memory must be reserved, for devices write into it by themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

FIRST_KEY: Final = 13_000
SRIOV: Final = "VirtualSriovEthernetCard"


def name_of(allowed: Any) -> str:
    """``8086:1583``, as lspci writes it."""
    return f"{allowed.vendorId:04x}:{allowed.deviceId:04x}"


def apply(tx: Transaction, vm: VirtualMachine, device_changes: list[Any]) -> None:
    """Inside a commit: add passthrough devices. One says which kinds it takes; the first counts."""
    added = []
    for change in device_changes:
        device = change.device
        if isinstance(device, vim.vm.device.VirtualPCIPassthrough) and str(change.operation) == "add":
            allowed = getattr(device.backing, "allowedDevice", None)
            if not allowed:
                raise fault(vim.fault.InvalidDeviceBacking, "Only dynamic backings are simulated.", deviceIndex=0)
            added.append(name_of(allowed[0]))
    if added:
        if vm.power_state != "poweredOff":
            raise fault(vim.fault.InvalidPowerState, "A PCI device cannot be added while the VM runs.")
        tx.set(vm, passthrough=(*vm.passthrough, *added))


def devices(vm: VirtualMachine) -> list[Any]:
    """VirtualPCIPassthrough values."""
    kinds = vim.vm.device.VirtualPCIPassthrough
    found = []
    for number, name in enumerate(vm.passthrough):
        vendor, device = (int(part, 16) for part in name.split(":"))
        allowed = data_object(kinds.AllowedDevice, vendorId=vendor, deviceId=device)
        backing = data_object(kinds.DynamicBackingInfo, deviceName="", allowedDevice=[allowed])
        label = data_object(vim.Description, label=f"PCI device {number}", summary=name)
        found.append(data_object(kinds, key=FIRST_KEY + number, deviceInfo=label, backing=backing))
    return found


def check(vm: VirtualMachine, host: HostSystem) -> None:
    """Before power-on: all memory is reserved, and the host has what the VM takes left."""
    functions = sum(nic.kind == SRIOV for nic in vm.nics)
    if not vm.passthrough and not functions:
        return
    if vm.memory_reservation < vm.memory_mb:
        raise _refused(vm, "Invalid memory setting: memory reservation (sched.mem.min) should be equal to memsize.")
    others = [each for each in host.vms if each is not vm and each.power_state == "poweredOn"]
    left = Counter(host.pci_devices)
    left.subtract(name for each in others for name in each.passthrough)
    for name, wanted in Counter(vm.passthrough).items():
        if left[name] < wanted:
            raise _refused(vm, f"No host device matches PCI device {name}, or all are in use.")
    taken = sum(nic.kind == SRIOV for each in others for nic in each.nics)
    if host.virtual_functions - taken < functions:
        raise _refused(vm, "No virtual function is left on the host's physical adapters.")


def _refused(vm: VirtualMachine, reason: str) -> Exception:
    return fault(vim.fault.GenericVmConfigFault, reason, reason=reason)
