"""What software a simulated host has: its VIBs, what it would refuse, and whether a change waits for its next boot.

Clients read it as HostImageConfigManager; EAM (and vLCM, when a cluster's image is remediated) changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.host_projection import VENDOR
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim, vmodl
from contrail_vsphere.wire.vib.bundle import LEVELS, Relation, Vib, version_key

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

LEVEL_NAMES = {
    "community": "community",
    "partner": "partner",
    "accepted": "vmware_accepted",
    "certified": "vmware_certified",
}
"""Acceptance level of a descriptor -> that of HostImageConfigManager."""


@dataclass(slots=True, eq=False, kw_only=True)
class HostImage(Entity):
    """One per host. ``vibs`` are those that were added to the ones of ESXi itself."""

    wsdl: ClassVar[str] = "HostImageConfigManager"

    host: HostSystem
    vibs: tuple[Vib, ...] = ()
    acceptance_level: str = "partner"
    """Least level of a VIB that the host takes."""
    stateless: bool = False
    """Booted from an image profile that only an administrator changes: EAM may neither install nor remove."""
    staged_at: datetime | None = None
    """A change waits for the next boot since then."""
    entered_by_eam: bool = False
    """EAM put the host into maintenance mode and takes it out again."""

    @classmethod
    def of(cls, world: World, host: HostSystem) -> HostImage | None:
        """The host's, if it has one yet."""
        known = world.get(_moid(host))
        return known if isinstance(known, HostImage) else None

    @classmethod
    def ensure(cls, tx: Transaction, host: HostSystem) -> HostImage:
        """The host's, made when it is first needed."""
        known = cls.of(tx.world, host)
        if known is not None:
            return known
        made = tx.add(cls.make(host))
        tx.set(host, image=made)
        tx.touch(host, "configManager")
        return made

    @classmethod
    def make(cls, host: HostSystem) -> HostImage:
        """Of a new host; not in the world yet."""
        return cls(world=host.world, moid=_moid(host), host=host)

    @property
    def reboot_required(self) -> bool:
        """Whether something waits for a boot that has not been since."""
        booted = self.host.boot_time
        return self.staged_at is not None and (booted is None or booted <= self.staged_at)

    def has(self, vib: Vib) -> bool:
        """Installed, in this version or a newer one: EAM never downgrades."""
        return any(
            item.name == vib.name and version_key(item.version) >= version_key(vib.version) for item in self.vibs
        )

    def replace(self, tx: Transaction, *, put: Iterable[Vib] = (), drop: Iterable[Vib] = ()) -> None:
        """Inside a commit: install and remove, older versions of what is put making way."""
        new = [vib for vib in put if not self.has(vib)]
        names = {vib.name for vib in new} | {vib.name for vib in drop}
        tx.set(self, vibs=(*(vib for vib in self.vibs if vib.name not in names), *new))

    def unmet(self, vibs: Iterable[Vib]) -> list[str]:
        """Relations to other VIBs that do not hold on this host, in words."""
        coming = tuple(vibs)
        after = (*(item for item in self.vibs if item.name not in {vib.name for vib in coming}), *coming)
        problems = []
        for vib in coming:
            problems += [f"{vib.name} needs {_words(item)}" for item in vib.depends if not _any(item, after)]
            others = tuple(item for item in after if item.name != vib.name)
            problems += [f"{vib.name} conflicts with {_words(item)}" for item in vib.conflicts if _any(item, others)]
        return problems

    def unfit(self, vibs: Iterable[Vib]) -> list[str]:
        """Names of VIBs for hardware that this host is not."""
        return [vib.name for vib in vibs if vib.platforms and VENDOR not in vib.platforms]

    def refused(self, vibs: Iterable[Vib]) -> list[str]:
        """Names of VIBs below the host's acceptance level."""
        least = LEVELS.index(self.acceptance_level)
        return [vib.name for vib in vibs if LEVELS.index(vib.acceptance_level) < least]

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("HostImageConfigGetAcceptance")
    def HostImageConfigGetAcceptance(self, call: Any) -> str:
        return LEVEL_NAMES[self.acceptance_level]

    @operation("UpdateHostImageAcceptanceLevel", privilege="Host.Config.Image")
    def UpdateHostImageAcceptanceLevel(self, call: Any, newAcceptanceLevel: str) -> None:
        level = next((own for own, name in LEVEL_NAMES.items() if name == str(newAcceptanceLevel)), None)
        if level is None:
            raise fault(vmodl.fault.InvalidArgument, "no such level", invalidProperty="newAcceptanceLevel")
        with self.world.commit(call.user) as tx:
            tx.set(self, acceptance_level=level)

    @operation("fetchSoftwarePackages", privilege="Host.Config.Image")
    def fetchSoftwarePackages(self, call: Any) -> list[Any]:
        return [
            data_object(
                vim.host.SoftwarePackage,
                name=vib.name,
                version=vib.version,
                type="bootbank",
                vendor=vib.vendor,
                acceptanceLevel=LEVEL_NAMES[vib.acceptance_level],
                summary=vib.summary,
                description=vib.summary,
                maintenanceModeRequired=vib.maintenance_mode,
                provides=list(vib.provides),
                capability=data_object(
                    vim.host.SoftwarePackage.Capability,
                    liveInstallAllowed=vib.live_install,
                    liveRemoveAllowed=vib.live_remove,
                    statelessReady=True,
                    overlay=False,
                ),
                tag=list(vib.tags),
            )
            for vib in (*_of_esxi(self.host), *self.vibs)
        ]


def _of_esxi(host: HostSystem) -> tuple[Vib, ...]:
    """A few of the packages that every ESXi has, in its own version."""
    version = f"{host.version}-0.0.{host.build}"
    return tuple(
        Vib(
            name=name,
            version=version,
            vendor="VMware",
            summary=summary,
            acceptance_level="certified",
            maintenance_mode=True,
            live_install=False,
        )
        for name, summary in (
            ("esx-base", "The base of ESXi"),
            ("esx-update", "Tools for updates"),
            ("vsan", "vSAN for ESXi"),
        )
    )


def _moid(host: HostSystem) -> str:
    return f"imageConfigManager-{host.moid.rpartition('-')[2]}"


def _any(relation: Relation, vibs: Iterable[Vib]) -> bool:
    return any(relation.matches(vib) for vib in vibs)


def _words(relation: Relation) -> str:
    return " ".join(part for part in (relation.name, relation.comparison, relation.version) if part)
