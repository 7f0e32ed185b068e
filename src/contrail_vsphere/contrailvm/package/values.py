"""A verified package, as the rest of the ContrailVM Manager sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from contrail_vsphere.contrailvm.package.container import open_slice
from contrail_vsphere.wire.ovf.descriptor import Descriptor
from contrail_vsphere.wire.ovf.manifest import render_manifest

MANAGER_PROPERTIES: Final = ("manager_url", "manager_ca_sha256", "bootstrap_token", "agency_id")
"""What the ContrailVM Manager says to every ContrailVM; the first-boot program reads them."""
OPTIONAL_PROPERTIES: Final = ("http_proxy", "log_level")
NIC_ROLES: Final = ("management", "fabric", "control-data", "overlay")
ROLE_KEY: Final = "guestinfo.contrail.nic."
"""``vmw:ExtraConfig`` key that ties a NIC's unit number to its role."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of a package; ``offset`` is where it begins in ``container`` (0 unless that is an OVA)."""

    name: str
    size: int
    sha256: str
    container: Path
    offset: int = 0

    def open(self) -> BinaryIO:
        """The file's bytes and nothing around them."""
        return open_slice(self.container, offset=self.offset, size=self.size)


@dataclass(frozen=True, slots=True)
class Package:
    """Everything about a package that holds together.

    ``digest`` is the SHA-256, in hex, of the package's SHA-256 manifest: of descriptor and referenced files, in that
    order. It is the same for a directory and for the OVA of the same files, signed or not.
    """

    name: str
    version: str
    digest: str
    descriptor: Descriptor
    descriptor_name: str
    files: tuple[PackageFile, ...]
    """Descriptor, manifest, certificate, then referenced files in the descriptor's order."""
    directory: Path
    """Where it lies; the OVA itself where it is one."""
    signer: str = ""
    """Subject of the certificate that signed the manifest; empty where nobody did."""

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)

    @property
    def nic_roles(self) -> tuple[tuple[str, str], ...]:
        """(role, network name in the package) of each NIC, in the order of their unit numbers."""
        return nic_roles(self.descriptor)


def package_digest(files: Iterable[tuple[str, str]]) -> str:
    """The digest of a package from (name, SHA-256) of descriptor and referenced files."""
    return hashlib.sha256(render_manifest(dict(files))).hexdigest()


def nic_roles(descriptor: Descriptor) -> tuple[tuple[str, str], ...]:
    """Roles as the package states them; where it does not, by custom: management first, overlay last."""
    nics = sorted(descriptor.hardware().nics, key=lambda nic: nic.unit or 0)
    stated = {entry.key: entry.value for entry in descriptor.extra_config if entry.key.startswith(ROLE_KEY)}
    roles = [stated.get(f"{ROLE_KEY}{nic.unit}", "") for nic in nics]
    if not all(roles):
        roles = {2: [NIC_ROLES[0], NIC_ROLES[3]], 3: [NIC_ROLES[0], *NIC_ROLES[2:]]}.get(len(nics), list(NIC_ROLES))
    return tuple((role, nic.network) for role, nic in zip(roles, nics, strict=False))
