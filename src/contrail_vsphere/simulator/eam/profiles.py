"""What differs between the releases of vCenter, as data.

A profile names the EAM API version and the behaviours that came or went with a release; which issue types exist follows
from the version in which pyVmomi's tables say they appeared.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from contrail_vsphere.wire.soap.types import eam

MaintenanceIssue = Literal["pending-only", "always"]

EAM_VERSIONS: Final = (
    *("1.0", "2.0", "2_5", "3.0", "6.0", "6.5", "6.7", "6.8", "6.9", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6"),
    *("8.0", "8.1", "8.2", "8.3", "9.0.0.0"),
)
"""Version ids as they travel in SOAPAction, oldest first."""

OLDER_NAMES: Final[Mapping[str, str]] = {
    "HostNotReachable": "HostPoweredOff",
    "InvalidConfig": "VmPoweredOff",
    "VmRequiresHostOutOfMaintenanceMode": "HostInMaintenanceMode",
    "CertificateNotTrusted": "CannotAccessAgentOVF",
    "VmInaccessible": "VmCorrupted",
    "VibDependenciesNotMetByHost": "VibNotInstalled",
    "VibRequirementsNotMetByHost": "VibNotInstalled",
    "ImmediateHostRebootRequired": "VibRequiresHostReboot",
    "personality.agent.BlockedByAgencyOperation": "VibNotInstalled",
    "HostInPartialMaintenanceMode": "HostInMaintenanceMode",
    "VmProtected": "InvalidConfig",
}
"""Issue type -> the one that older releases raise in its place."""
NEWER_NAMES: Final[Mapping[str, str]] = {
    "InsufficientIpAddresses": "InvalidConfig",
    "MissingAgentIpPool": "InvalidConfig",
}
"""Issue type that ended with 6.9 -> the one that releases since raise in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One release; the defaults are those of 8.0 U3."""

    name: str
    eam_version: str
    verifies_tls: bool = True
    """OVF URLs must be trusted or pinned (8.0 U2)."""
    removes_orphans: bool = True
    """Virtual machines of EAM that no agency knows are deleted (7.0 U1)."""
    maintenance_issue: MaintenanceIssue = "pending-only"
    """Whether a host in maintenance mode is an issue even where nothing waits for it."""
    shows_hook: bool = True
    """``AgentRuntimeInfo.vmHook`` exists (6.7); without it hooks are seen by their events only."""
    minds_place: bool = False
    """VmWrongFolder, VmWrongResourcePool and VmMarkedAsTemplate are raised (up to 6.x)."""
    uses_update_manager: bool = False
    """VIBs go through Update Manager, unless the agency bypasses it (up to 6.x)."""
    images_only_from: str = ""
    """Hosts of this version and later get VIBs through their cluster's image only (9.0)."""
    shows_vcls: bool = False
    """The agencies of vCLS are in EAM, for every user to see (7.0 U1 up to 8.0 U2)."""
    rest: bool = True
    """VCenter's REST API is below ``/api`` (7.0 U2)."""
    system_vm_rest: bool = False
    """vLCM's System VM API is served (9.0)."""
    later_operations: bool = False
    """... with updates of a VM in its hook, and transitions from several agencies and between clusters (9.1)."""

    def knows(self, issue_type: str) -> bool:
        """Whether this release raises that issue (a class name in ``eam.issue``)."""
        mine = EAM_VERSIONS.index(self.eam_version)
        if issue_type in NEWER_NAMES and mine > EAM_VERSIONS.index("6.9"):
            return False
        return EAM_VERSIONS.index(introduced(issue_class(issue_type))) <= mine

    def issue_name(self, issue_type: str) -> str | None:
        """The issue that this release raises where the newest would raise ``issue_type``; None where it has no word."""
        name: str | None = issue_type
        while name is not None and not self.knows(name):
            name = OLDER_NAMES.get(name) or NEWER_NAMES.get(name)
        return name


def issue_class(issue_type: str) -> Any:
    """The type of ``eam.issue`` with that name, which may lead into its packages (``personality.agent.PMIssue``)."""
    return functools.reduce(getattr, issue_type.split("."), eam.issue)


def introduced(item: Any) -> str:
    """EAM version that first had this type or method (anything with pyVmomi's name of a version)."""
    version = str(getattr(item, "_version", None) or item.version).removeprefix("eam.version.version")
    number = version.replace("_", ".")
    return {"1": "1.0", "2": "2.0", "2.5": "2_5", "3": "3.0", "6": "6.0", "7": "7.0", "9.0": "9.0.0.0"}.get(
        number, number
    )


PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(
            name="vc65",
            eam_version="6.5",
            verifies_tls=False,
            removes_orphans=False,
            maintenance_issue="always",
            shows_hook=False,
            minds_place=True,
            uses_update_manager=True,
            rest=False,
        ),
        Profile(
            name="vc67",
            eam_version="6.8",
            verifies_tls=False,
            removes_orphans=False,
            maintenance_issue="always",
            minds_place=True,
            uses_update_manager=True,
            rest=False,
        ),
        Profile(name="vc70", eam_version="7.6", verifies_tls=False, shows_vcls=True),
        Profile(name="vc80u2", eam_version="8.2", shows_vcls=True),
        Profile(name="vc80u3", eam_version="8.3"),
        Profile(name="vc90", eam_version="9.0.0.0", images_only_from="9.0", system_vm_rest=True),
        Profile(name="vc91", eam_version="9.0.0.0", images_only_from="9.0", system_vm_rest=True, later_operations=True),
    )
}
DEFAULT_PROFILE: Final = "vc80u3"
