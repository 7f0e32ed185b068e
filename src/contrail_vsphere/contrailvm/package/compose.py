"""From a description to the descriptor of the package: pure, so that the same description gives the same package."""

from __future__ import annotations

from collections.abc import Sequence

from contrail_vsphere.contrailvm.package.description import Description, Property
from contrail_vsphere.contrailvm.package.values import ROLE_KEY
from contrail_vsphere.wire.ovf.descriptor import (
    GUEST_INFO_TRANSPORT,
    DeploymentOption,
    Descriptor,
    OvfConfig,
    OvfDisk,
    OvfFile,
    OvfItem,
    OvfNetwork,
    OvfProduct,
    OvfProperty,
    Qualifiers,
)
from contrail_vsphere.wire.ovf.hardware import CPU, DISK_DRIVE, ETHERNET, MEGABYTE, MEMORY, SCSI_CONTROLLER

_OTHER_LINUX_64 = 101
_FIRST_NIC_UNIT = 7


def compose(
    description: Description, *, files: Sequence[OvfFile], disks: Sequence[OvfDisk], first_disk_item: int = 10
) -> Descriptor:
    """The descriptor of a package with these files and disks, in the order given."""
    controller = OvfItem("3", SCSI_CONTROLLER, "SCSI controller 0", "VirtualSCSI", address="0")
    drives = (
        OvfItem(
            str(first_disk_item + number),
            DISK_DRIVE,
            f"Hard disk {number + 1}",
            parent=controller.instance_id,
            # Unit 7 is the controller's own.
            address_on_parent=str(number if number < 7 else number + 1),
            host_resource=f"ovf:/disk/{disk.id}",
        )
        for number, disk in enumerate(disks)
    )
    default = next((size.id for size in description.offered if size.default), description.offered[0].id)
    return Descriptor(
        name=description.name,
        id=description.name,
        products=(_product(description),),
        files=tuple(files),
        disks=tuple(disks),
        networks=tuple(
            OvfNetwork(nic.network, nic.description or f"Network for the {nic.role} interface")
            for nic in description.nics
        ),
        options=tuple(
            DeploymentOption(size.id, size.label, size.description, default=size.id == default)
            for size in description.sizes
        ),
        items=(*_processors_and_memory(description), controller, *drives, *_nics(description)),
        os_id=_OTHER_LINUX_64,
        os_type=description.os_type,
        transports=(GUEST_INFO_TRANSPORT,),
        virtual_system_types=(f"vmx-{description.hardware_version:02d}",),
        extra_config=tuple(
            OvfConfig(f"{ROLE_KEY}{_FIRST_NIC_UNIT + number}", nic.role) for number, nic in enumerate(description.nics)
        ),
        annotation=description.annotation,
    )


def _processors_and_memory(description: Description) -> list[OvfItem]:
    items: list[OvfItem] = []
    for size in description.offered:
        options = (size.id,) if size.id else ()
        cpu = OvfItem(
            "1",
            CPU,
            f"{size.cpus} virtual CPU(s)",
            quantity=size.cpus,
            reservation=size.cpu_mhz_reserved,
            cores_per_socket=description.cores_per_socket,
            options=options,
        )
        memory = OvfItem(
            "2",
            MEMORY,
            f"{size.memory_mb} MB of memory",
            quantity=size.memory_mb * MEGABYTE,
            reservation=size.memory_mb_reserved * MEGABYTE,
            options=options,
        )
        items += [cpu, memory]
    return items


def _nics(description: Description) -> list[OvfItem]:
    return [
        OvfItem(
            str(30 + number),
            ETHERNET,
            f"Network adapter {number + 1}",
            nic.kind,
            address_on_parent=str(_FIRST_NIC_UNIT + number),
            automatic_allocation=True,
            connection=nic.network,
            description=f"{nic.role} interface",
        )
        for number, nic in enumerate(description.nics)
    ]


def _product(description: Description) -> OvfProduct:
    return OvfProduct(
        product=description.product,
        vendor=description.vendor,
        version=description.version,
        full_version=description.full_version or description.version,
        properties=(*_MANAGER_PROPERTIES, *(_property(entry) for entry in description.properties)),
    )


def _property(entry: Property) -> OvfProperty:
    return OvfProperty(
        key=entry.key,
        type=entry.type,
        default=entry.default,
        user_configurable=entry.user_configurable,
        password=entry.password,
        qualifiers=Qualifiers(entry.min_length, entry.max_length, value_map=entry.values),
        label=entry.label,
        description=entry.description,
        category="ContrailVM",
    )


def _manager_property(
    key: str, label: str, description: str, *, default: str = "", password: bool = False, values: tuple[str, ...] = ()
) -> OvfProperty:
    return OvfProperty(
        key=key,
        default=default,
        user_configurable=True,
        password=password,
        qualifiers=Qualifiers(value_map=values),
        label=label,
        description=description,
        category="ContrailVM Manager",
    )


_MANAGER_PROPERTIES = (
    _manager_property("manager_url", "Manager", "Where the first-boot program reaches the ContrailVM Manager"),
    _manager_property("manager_ca_sha256", "Manager's CA", "SHA-256 of the certificate to trust there"),
    _manager_property("bootstrap_token", "Bootstrap token", "Single-use token with a short life", password=True),
    _manager_property("agency_id", "Agency", "The EAM agency that this VM belongs to"),
    _manager_property("http_proxy", "HTTP proxy", "Proxy on the way to the manager; empty for none"),
    _manager_property(
        "log_level",
        "Log level",
        "How much the first-boot program says",
        default="info",
        values=("debug", "info", "warning", "error"),
    ),
)
