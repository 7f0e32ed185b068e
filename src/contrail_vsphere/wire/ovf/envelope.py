"""What an OVF 1.x envelope says, as values with scaled units, so that nobody but the parser knows XML.

Names follow DSP0243 (Open Virtualization Format Specification 1.1). Sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.hardware import Hardware, OvfConfig, OvfItem, assemble
from contrail_vsphere.wire.ovf.properties import OvfProduct, OvfProperty

STREAM_OPTIMIZED: Final = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
"""``Disk@format`` of the one disk format that vSphere imports."""
GUEST_INFO_TRANSPORT: Final = "com.vmware.guestInfo"
"""Transport by which VMware Tools hands the OVF environment to the guest."""


@dataclass(frozen=True, slots=True)
class OvfFile:
    """``References/File``; ``href`` is relative to the descriptor, ``size`` in bytes where stated."""

    id: str
    href: str
    size: int | None = None
    compression: str = ""
    chunk_size: int | None = None


@dataclass(frozen=True, slots=True)
class OvfDisk:
    """``DiskSection/Disk``: ``capacity`` in bytes, ``file`` the id of an :class:`OvfFile` (empty: an empty disk)."""

    id: str
    file: str
    capacity: int
    format: str = STREAM_OPTIMIZED
    populated_size: int | None = None


@dataclass(frozen=True, slots=True)
class OvfNetwork:
    """``NetworkSection/Network``: a name that the deployer maps to a network of the datacenter."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentOption:
    """``DeploymentOptionSection/Configuration``: a size that the deployer may choose."""

    id: str
    label: str
    description: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An envelope with one virtual system."""

    name: str
    id: str
    products: tuple[OvfProduct, ...] = ()
    files: tuple[OvfFile, ...] = ()
    disks: tuple[OvfDisk, ...] = ()
    networks: tuple[OvfNetwork, ...] = ()
    options: tuple[DeploymentOption, ...] = ()
    items: tuple[OvfItem, ...] = ()
    os_id: int = 0
    """CIM operating system number (1 other, 101 Linux 64-bit, ...)."""
    os_type: str = ""
    """vSphere's guest id, such as ``other5xLinux64Guest``."""
    os_description: str = ""
    transports: tuple[str, ...] = ()
    virtual_system_types: tuple[str, ...] = ()
    config: tuple[OvfConfig, ...] = ()
    extra_config: tuple[OvfConfig, ...] = ()
    annotation: str = ""
    eulas: tuple[str, ...] = ()

    @property
    def main_product(self) -> OvfProduct:
        """The product the virtual system is: the section without class, otherwise the first."""
        return next(
            (p for p in self.products if not p.class_id and not p.instance_id), (*self.products, OvfProduct())[0]
        )

    @property
    def product(self) -> str:
        """Name of the main product."""
        return self.main_product.product

    @property
    def vendor(self) -> str:
        """Vendor of the main product."""
        return self.main_product.vendor

    @property
    def version(self) -> str:
        """Version of the main product."""
        return self.main_product.version

    @property
    def full_version(self) -> str:
        """Full version of the main product."""
        return self.main_product.full_version

    @property
    def properties(self) -> tuple[OvfProperty, ...]:
        """The properties of all product sections, in order."""
        return tuple(known for product in self.products for known in product.properties)

    @property
    def default_option(self) -> str:
        """Id of the option that holds where none is chosen: the marked one, otherwise the first; empty without any."""
        return next((o.id for o in self.options if o.default), self.options[0].id if self.options else "")

    def file(self, file_id: str) -> OvfFile:
        """The referenced file with that id; KeyError if none."""
        for known in self.files:
            if known.id == file_id:
                return known
        raise KeyError(file_id)

    def disk(self, disk_id: str) -> OvfDisk:
        """The disk with that id; KeyError if none."""
        for known in self.disks:
            if known.id == disk_id:
                return known
        raise KeyError(disk_id)

    def hardware(self, option: str = "") -> Hardware:
        """The hardware under ``option`` (empty: the default one); PackageError for an option that does not exist."""
        if option and all(known.id != option for known in self.options):
            offered = ", ".join(known.id for known in self.options) or "none"
            raise PackageError(f"there is no deployment option {option!r}", hint=f"the package offers: {offered}")
        return assemble(
            self.items,
            option or self.default_option,
            virtual_system_types=self.virtual_system_types,
            config=self.config,
            extra_config=self.extra_config,
        )
