"""Issues of VIBs: of the direct way (EAM installs on the host), of Update Manager before 7.0, of images in vLCM.

Most keep an EsxAgent from going on; Resolve tries again. The two that concern maintenance mode and reboots make EAM do
that to the host, which is why a solution should ask somebody first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from contrail_vsphere.simulator.eam.issue_rules import Rule, never

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.situation import Situation


def _settled(s: Situation) -> bool:
    """Nothing is to be installed or removed any more."""
    return s.vib in {"none", "current"}


VIB_RULES: Final = (
    Rule(
        type="VibNotInstalled",
        text="A VIB of agency {agency} is expected on host {host} but is not installed.",
        clears=_settled,
        cleared_by_update=True,
    ),
    Rule(
        type="CannotAccessAgentVib",
        text="The offline bundle {downloadUrl} cannot be accessed.",
        clears=_settled,
        cleared_by_update=True,
    ),
    Rule(
        type="VibInvalidFormat",
        text="The offline bundle of agency {agency} is not valid.",
        clears=_settled,
        cleared_by_update=True,
    ),
    Rule(
        type="VibDependenciesNotMetByHost",
        text="A VIB of agency {agency} depends on, or conflicts with, other VIBs of host {host}.",
        clears=_settled,
        cleared_by_update=True,
    ),
    Rule(
        type="VibRequirementsNotMetByHost",
        text="A VIB of agency {agency} does not run on the hardware of host {host}.",
        clears=_settled,
        cleared_by_update=True,
    ),
    Rule(
        type="VibRequiresHostInMaintenanceMode",
        text="Host {host} must be in maintenance mode for a VIB to be installed or removed.",
        clears=lambda s: s.host == "maintenance" or _settled(s),
        resolve="enter-maintenance",
    ),
    Rule(
        type="VibCannotPutHostInMaintenanceMode",
        text="Host {host} cannot be put into maintenance mode for a VIB.",
        clears=lambda s: s.host == "maintenance" or _settled(s),
        resolve="enter-maintenance",
    ),
    Rule(
        type="VibCannotPutHostOutOfMaintenanceMode",
        text="Host {host} cannot be taken out of maintenance mode after a change of its VIBs.",
        clears=lambda s: s.host == "ready",
        resolve="exit-maintenance",
    ),
    Rule(
        type="VibRequiresHostReboot",
        text="Host {host} must be rebooted for a change of its VIBs to take effect.",
        clears=lambda s: s.vib != "staged",
        resolve="reboot-host",
    ),
    Rule(
        type="ImmediateHostRebootRequired",
        text="Host {host} must be rebooted before any VIB can be installed or removed.",
        clears=lambda s: not s.reboot_required or _settled(s),
        resolve="reboot-host",
    ),
    Rule(
        type="VibRequiresManualInstallation",
        text="The VIBs of agency {agency} must be installed on host {host} by hand.",
        clears=_settled,
        resolve="recheck",
    ),
    Rule(
        type="VibRequiresManualUninstallation",
        text="The VIBs of agency {agency} must be removed from host {host} by hand.",
        clears=_settled,
        resolve="recheck",
    ),
    Rule(
        type="personality.agent.AwaitingPMRemediation",
        text="The VIBs of agency {agency} reach host {host} when its cluster's image is remediated.",
        clears=lambda s: s.vib != "awaiting",
        resolve="recheck",
    ),
    Rule(
        type="personality.agent.BlockedByAgencyOperation",
        text="The agent on host {host} waits for an operation of agency {agency}.",
        clears=lambda s: not s.agency_blocked,
        resolve="impossible",
    ),
)
"""Of EsxAgents."""

AGENCY_VIB_RULES: Final = (
    Rule(
        type="integrity.agency.VUMUnavailable",
        text="Update Manager cannot be reached for the VIBs of agency {agency}.",
        clears=never,
    ),
    Rule(
        type="integrity.agency.CannotStageSoftware",
        text="Update Manager cannot stage the VIBs of agency {agency}.",
        clears=never,
    ),
    Rule(
        type="integrity.agency.CannotDeleteSoftware",
        text="Update Manager cannot delete the VIBs of agency {agency}.",
        clears=never,
    ),
    Rule(
        type="personality.agency.PMUnavailable",
        text="vLCM cannot be reached for the VIBs of agency {agency}.",
        clears=never,
    ),
    Rule(
        type="personality.agency.InaccessibleDepot",
        text="vLCM cannot read the depot {remoteDepotUrl} of agency {agency}.",
        clears=never,
    ),
    Rule(
        type="personality.agency.InvalidDepot",
        text="The depot {remoteDepotUrl} of agency {agency} is not valid.",
        clears=never,
    ),
    Rule(
        type="personality.agency.CannotUploadDepot",
        text="The depot {remoteDepotUrl} of agency {agency} cannot be uploaded to vLCM.",
        clears=never,
    ),
    Rule(
        type="personality.agency.CannotConfigureSolutions",
        text="vLCM cannot change the solutions of a cluster's image for agency {agency}.",
        clears=never,
    ),
)
"""Of the agency as a whole; its EsxAgents wait for Resolve, or for another configuration."""
