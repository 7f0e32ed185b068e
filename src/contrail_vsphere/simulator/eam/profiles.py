"""What differs between the releases of vCenter, as data.

A profile names the EAM API version and the behaviours that came or went with a release; which issue types exist follows
from the version in which pyVmomi's tables say they appeared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

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
}
"""Issue type -> the one that older releases raise in its place."""


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
    system_vm_rest: bool = False

    def knows(self, issue_type: str) -> bool:
        """Whether this release raises that issue (a class name in ``eam.issue``)."""
        return EAM_VERSIONS.index(_introduced(issue_type)) <= EAM_VERSIONS.index(self.eam_version)

    def issue_name(self, issue_type: str) -> str | None:
        """The issue that this release raises where the newest would raise ``issue_type``; None where it has no word."""
        name: str | None = issue_type
        while name is not None and not self.knows(name):
            name = OLDER_NAMES.get(name)
        return name


def _introduced(issue_type: str) -> str:
    version = str(getattr(eam.issue, issue_type)._version).removeprefix("eam.version.version")
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
        ),
        Profile(
            name="vc67",
            eam_version="6.8",
            verifies_tls=False,
            removes_orphans=False,
            maintenance_issue="always",
            minds_place=True,
        ),
        Profile(name="vc70", eam_version="7.6", verifies_tls=False),
        Profile(name="vc80u2", eam_version="8.2"),
        Profile(name="vc80u3", eam_version="8.3"),
        Profile(name="vc90", eam_version="9.0.0.0", system_vm_rest=True),
        Profile(name="vc91", eam_version="9.0.0.0", system_vm_rest=True),
    )
}
DEFAULT_PROFILE: Final = "vc80u3"
