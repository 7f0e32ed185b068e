"""Virtual hardware: the items of a VirtualHardwareSection, and what they come to under one deployment option.

Units are scaled: memory in items is bytes, CPU reservations are MHz; :class:`Hardware` gives memory in MB, as vSphere's
``VirtualMachineConfigSpec`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from contrail_vsphere.model.errors import PackageError

CPU: Final = 3
MEMORY: Final = 4
IDE_CONTROLLER: Final = 5
SCSI_CONTROLLER: Final = 6
ETHERNET: Final = 10
DISK_DRIVE: Final = 17
SATA_CONTROLLER: Final = 20
CONTROLLERS: Final = frozenset({IDE_CONTROLLER, SCSI_CONTROLLER, SATA_CONTROLLER})
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class OvfConfig:
    """``vmw:Config`` or ``vmw:ExtraConfig``: a vSphere device option or vmx key."""

    key: str
    value: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class OvfItem:
    """A ``VirtualHardwareSection/Item``, units scaled (memory: bytes; CPU: number, reservations in MHz)."""

    instance_id: str
    resource_type: int
    name: str
    subtype: str = ""
    quantity: int | None = None
    reservation: int | None = None
    limit: int | None = None
    weight: int | None = None
    cores_per_socket: int | None = None
    address: str = ""
    address_on_parent: str = ""
    parent: str = ""
    host_resource: str = ""
    connection: str = ""
    automatic_allocation: bool | None = None
    description: str = ""
    options: tuple[str, ...] = ()
    """Deployment options it belongs to; empty: to all."""
    required: bool = True
    config: tuple[OvfConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class OvfNic:
    """An ethernet adapter; ``kind`` as ``VmxNet3`` or ``E1000``, ``unit`` its place on the bus (7 is the first)."""

    instance_id: str
    network: str
    kind: str
    unit: int | None
    name: str = ""
    connected: bool = True


@dataclass(frozen=True, slots=True)
class OvfController:
    """A disk controller; ``kind`` as ``VirtualSCSI`` or ``lsilogic``."""

    instance_id: str
    resource_type: int
    kind: str
    bus: int


@dataclass(frozen=True, slots=True)
class OvfDrive:
    """A disk in its place: ``disk`` is the id of an :class:`OvfDisk`, ``controller`` an instance id."""

    instance_id: str
    disk: str
    controller: str
    unit: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The virtual hardware under one deployment option."""

    cpus: int
    memory_mb: int
    cores_per_socket: int | None = None
    cpu_mhz_reserved: int = 0
    memory_mb_reserved: int = 0
    cpu_mhz_limit: int | None = None
    memory_mb_limit: int | None = None
    cpu_shares: int | None = None
    memory_shares: int | None = None
    nics: tuple[OvfNic, ...] = ()
    disks: tuple[OvfDrive, ...] = ()
    controllers: tuple[OvfController, ...] = ()
    virtual_system_types: tuple[str, ...] = ()
    config: tuple[OvfConfig, ...] = ()
    extra_config: tuple[OvfConfig, ...] = ()
    others: tuple[OvfItem, ...] = ()
    """Items that are none of the above (CD drives, video cards, ...)."""


def select(items: Iterable[OvfItem], option: str) -> list[OvfItem]:
    """The items that hold under ``option``; one tied to the option replaces a general one of the same instance id."""
    chosen: dict[str, OvfItem] = {}
    for item in items:
        if item.options and option not in item.options:
            continue
        if item.instance_id in chosen and not item.options:
            continue
        chosen[item.instance_id] = item
    return list(chosen.values())


def assemble(
    items: Iterable[OvfItem],
    option: str,
    *,
    virtual_system_types: tuple[str, ...] = (),
    config: tuple[OvfConfig, ...] = (),
    extra_config: tuple[OvfConfig, ...] = (),
) -> Hardware:
    """The hardware under ``option``; PackageError where CPU or memory is missing or there twice."""
    chosen = select(items, option)
    cpu, memory = _one(chosen, CPU, option), _one(chosen, MEMORY, option)
    return Hardware(
        cpus=cpu.quantity or 0,
        memory_mb=(memory.quantity or 0) // MEGABYTE,
        cores_per_socket=cpu.cores_per_socket,
        cpu_mhz_reserved=cpu.reservation or 0,
        memory_mb_reserved=(memory.reservation or 0) // MEGABYTE,
        cpu_mhz_limit=cpu.limit,
        memory_mb_limit=None if memory.limit is None else memory.limit // MEGABYTE,
        cpu_shares=cpu.weight,
        memory_shares=memory.weight,
        nics=tuple(_nic(item) for item in chosen if item.resource_type == ETHERNET),
        disks=tuple(_drive(item) for item in chosen if item.resource_type == DISK_DRIVE),
        controllers=tuple(_controller(item) for item in chosen if item.resource_type in CONTROLLERS),
        virtual_system_types=virtual_system_types,
        config=config,
        extra_config=extra_config,
        others=tuple(item for item in chosen if item.resource_type not in _KNOWN),
    )


_KNOWN: Final = CONTROLLERS | {CPU, MEMORY, ETHERNET, DISK_DRIVE}


def _one(items: Iterable[OvfItem], resource_type: int, option: str) -> OvfItem:
    found = [item for item in items if item.resource_type == resource_type]
    if len(found) == 1:
        return found[0]
    name = "CPU" if resource_type == CPU else "memory"
    under = f" under deployment option {option!r}" if option else ""
    raise PackageError(
        f"the virtual hardware has {len(found)} {name} items{under}",
        hint=f"have exactly one Item with rasd:ResourceType {resource_type}",
    )


def _nic(item: OvfItem) -> OvfNic:
    return OvfNic(
        instance_id=item.instance_id,
        network=item.connection,
        kind=item.subtype,
        unit=_number(item.address_on_parent),
        name=item.name,
        connected=item.automatic_allocation is not False,
    )


def _drive(item: OvfItem) -> OvfDrive:
    return OvfDrive(
        instance_id=item.instance_id,
        disk=item.host_resource.rpartition("/")[2],
        controller=item.parent,
        unit=_number(item.address_on_parent) or 0,
        name=item.name,
    )


def _controller(item: OvfItem) -> OvfController:
    return OvfController(
        instance_id=item.instance_id,
        resource_type=item.resource_type,
        kind=item.subtype,
        bus=_number(item.address) or 0,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
