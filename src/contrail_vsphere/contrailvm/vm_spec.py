"""What ReconfigVM is told: NICs on their networks, reservations, and the OVF properties that differ from VM to VM.

EAM gives every NIC the same network and every VM the same properties; both are put right here, while the VM waits in
its hook. Devices are edited as vCenter gave them, so that whatever we do not know about a device stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrail_vsphere.contrailvm.plan.actions import NicChange, ReconfigureVm
from contrail_vsphere.model.errors import InvalidState, NotFound
from contrail_vsphere.model.ids import DvsId, NetworkId
from contrail_vsphere.model.inventory import Dvs, Network
from contrail_vsphere.wire.soap.types import vim

READ = (
    "config.hardware.device",
    "config.vAppConfig.property",
    "config.vAppConfig.product",
    "config.changeVersion",
    "config.instanceUuid",
    "config.uuid",
    "rootSnapshot",
)
"""Property paths that ``reconfigure_spec`` and ``product_version`` need."""
POOL_READ = ("config.cpuAllocation", "config.memoryAllocation")
"""Property paths that ``same_allocations`` needs."""


def product_version(config: Mapping[str, Any]) -> str:
    """``ProductSection/Version`` of the OVF package that the VM was deployed from; empty where it says none."""
    products = config.get("config.vAppConfig.product") or ()
    return next((str(each.version) for each in products if each.version), "")


def reconfigure_spec(
    action: ReconfigureVm,
    *,
    config: Mapping[str, Any],
    networks: Mapping[NetworkId, Network],
    dvss: Mapping[DvsId, Dvs],
    properties: Mapping[str, str],
) -> Any:
    """A ``VirtualMachineConfigSpec``; ``config`` holds the values of ``READ``, ``properties`` new values by short key.

    The spec carries the VM's changeVersion, so that an edit of somebody else in between is a Conflict and not lost.
    """
    spec = vim.vm.ConfigSpec(changeVersion=config.get("config.changeVersion"))
    devices = list(config.get("config.hardware.device") or ())
    for number, change in enumerate(action.nics):
        spec.deviceChange.append(_nic_edit(change, number, devices=devices, networks=networks, dvss=dvss))
    for number, missing in enumerate(missing_pci(devices, action.pci)):
        spec.deviceChange.append(_pci_device(missing, number))
    if action.lock_memory:
        spec.memoryReservationLockedToMax = True
    if action.cpu_mhz is not None:
        spec.cpuAllocation = vim.ResourceAllocationInfo(reservation=action.cpu_mhz)
    if action.memory_mb is not None:
        spec.memoryAllocation = vim.ResourceAllocationInfo(reservation=action.memory_mb)
    if properties:
        infos = list(config.get("config.vAppConfig.property") or ())
        spec.vAppConfig = vim.vApp.VmConfigSpec(property=[_property_edit(infos, *each) for each in properties.items()])
    return spec


def missing_pci(devices: Sequence[Any], wanted: Sequence[str]) -> list[str]:
    """Which of the wanted PCI devices the VM does not have yet."""
    has = [
        f"{each.vendorId:04x}:{each.deviceId:04x}"
        for device in devices
        if isinstance(device, vim.vm.device.VirtualPCIPassthrough)
        for each in getattr(device.backing, "allowedDevice", None) or ()
    ]
    missing = []
    for name in wanted:
        if name in has:
            has.remove(name)
        else:
            missing.append(name)
    return missing


def _pci_device(name: str, number: int) -> Any:
    """Dynamic DirectPath I/O: vCenter chooses one of that kind when the VM is powered on, on a host that has one."""
    kinds = vim.vm.device.VirtualPCIPassthrough
    vendor, _, device = name.partition(":")
    allowed = kinds.AllowedDevice(vendorId=int(vendor, 16), deviceId=int(device, 16))
    backing = kinds.DynamicBackingInfo(deviceName="", allowedDevice=[allowed])
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=kinds(key=-100 - number, backing=backing))


def nic_backing(network: Network, dvss: Mapping[DvsId, Dvs]) -> Any:
    """The backing of a NIC on a standard network or a distributed port group."""
    if network.dvs is None:
        return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
            deviceName=network.name, network=vim.Network(network.id)
        )
    switch = dvss.get(network.dvs)
    if switch is None or not switch.uuid:
        raise NotFound(f"the distributed switch of port group {network.name} is not in the inventory")
    return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(
        port=vim.dvs.PortConnection(switchUuid=switch.uuid, portgroupKey=network.id)
    )


def _nic_edit(
    change: NicChange,
    number: int,
    *,
    devices: Sequence[Any],
    networks: Mapping[NetworkId, Network],
    dvss: Mapping[DvsId, Dvs],
) -> Any:
    network = networks.get(change.network)
    if network is None:
        raise NotFound(f"the {change.role} network {change.network} no longer exists")
    backing = nic_backing(network, dvss)
    if change.key is None:
        # A virtual function of whichever adapter of the host has one left: the backing names none.
        kind = vim.vm.device.VirtualSriovEthernetCard if change.sriov else vim.vm.device.VirtualVmxnet3
        card = kind(
            key=-1 - number,
            backing=backing,
            addressType="manual" if change.mac else "generated",
            macAddress=change.mac or None,
            connectable=vim.vm.device.VirtualDevice.ConnectInfo(
                startConnected=True, allowGuestControl=True, connected=False
            ),
        )
        return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)
    device = next((each for each in devices if each.key == change.key), None)
    if device is None:
        raise InvalidState(f"the VM has no device {change.key} any more", hint="it is looked at again")
    device.backing = backing
    if change.mac:
        device.addressType, device.macAddress = "manual", change.mac
    if device.connectable is not None:
        device.connectable.startConnected = True
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)


def _property_edit(infos: Sequence[Any], name: str, value: str) -> Any:
    info = next((each for each in infos if each.id == name), None)
    if info is None:
        raise InvalidState(f"the ContrailVM has no OVF property {name}", hint="the package was not built by us")
    return vim.vApp.PropertySpec(operation="edit", info=vim.vApp.PropertyInfo(key=info.key, id=info.id, value=value))


def block_spec(port: str, *, blocked: bool) -> Any:
    """``DVPortConfigSpec`` that blocks a port, or leaves that to its port group again."""
    policy = vim.BoolPolicy(inherited=not blocked, value=blocked)
    setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(blocked=policy)
    return vim.dvs.DistributedVirtualPort.ConfigSpec(operation="edit", key=port, setting=setting)


def macs_after(config: Mapping[str, Any], nics: Sequence[NicChange]) -> frozenset[str]:
    """The MAC addresses that the VM is known to have once ``nics`` are changed; new NICs may get others besides."""
    cards: dict[int | None, str] = {
        each.key: str(each.macAddress or "")
        for each in config.get("config.hardware.device") or ()
        if isinstance(each, vim.vm.device.VirtualEthernetCard)
    }
    cards |= {change.key: change.mac for change in nics if change.mac and change.key is not None}
    added = {change.mac for change in nics if change.key is None}
    return frozenset(mac.lower() for mac in {*cards.values(), *added} if mac)


def trunk_spec(*, name: str, description: str, ports: int, config_version: str = "") -> Any:
    """``DVPortgroupConfigSpec`` of the overlay trunk; with ``config_version`` an edit of an existing one."""
    security = vim.dvs.VmwareDistributedVirtualSwitch.SecurityPolicy(
        inherited=False,
        allowPromiscuous=vim.BoolPolicy(inherited=False, value=True),
        forgedTransmits=vim.BoolPolicy(inherited=False, value=True),
        macChanges=vim.BoolPolicy(inherited=False, value=False),
    )
    vlan = vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec(
        inherited=False, vlanId=[vim.NumericRange(start=1, end=4094)]
    )
    setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(securityPolicy=security, vlan=vlan)
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, description=description, defaultPortConfig=setting)
    if config_version:
        spec.configVersion = config_version
        return spec
    spec.type = "earlyBinding"
    spec.numPorts = ports
    spec.autoExpand = True
    spec.vendorSpecificConfig = [vim.dvs.KeyedOpaqueBlob(key="net.juniper.contrail.role", opaqueData="overlay-trunk")]
    return spec


def pool_spec(*, cpu_mhz: int, memory_mb: int) -> Any:
    """``ResourceConfigSpec`` of our resource pool: reservations that may grow, high shares, no limit."""
    shares = vim.SharesInfo(level="high", shares=0)
    return vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(
            reservation=cpu_mhz, expandableReservation=True, limit=-1, shares=shares
        ),
        memoryAllocation=vim.ResourceAllocationInfo(
            reservation=memory_mb, expandableReservation=True, limit=-1, shares=shares
        ),
    )


def same_allocations(config: Mapping[str, Any], spec: Any) -> bool:
    """Whether a pool's ``POOL_READ`` values are those of ``pool_spec`` already."""

    def settings(allocation: Any) -> tuple[Any, ...] | None:
        if allocation is None:
            return None
        level = str(allocation.shares.level) if allocation.shares is not None else ""
        return allocation.reservation, bool(allocation.expandableReservation), allocation.limit, level

    return all(
        settings(config.get(path)) == settings(getattr(spec, path.removeprefix("config."))) for path in POOL_READ
    )
