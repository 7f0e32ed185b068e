"""What to do about each kind of EAM issue: the table of judgement, as data.

EAM heals nothing that a user broke; it reports an issue and waits for ``Resolve``. What Resolve does depends on the
issue: it may power on a VM, redeploy it, or drag a host through maintenance or a reboot. The table says which, and what
we do by ourselves. Types that are not in it (a newer vCenter's) are shown and left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contrail_vsphere.contrailvm.plan.actions import Effect

Handling = Literal["resolve", "probe", "retry", "settings", "wait", "report", "block", "approve"]
"""resolve: at once, bounded by the flap guard.  probe: resolve once our own publishing answers.
retry: tell a person, resolve now and then.  settings: write the host's EsxAgent settings if there is one choice.
wait: it ends by itself, Resolve would do harm.  report: a person must act.  block: the package is wrong, never retry.
approve: Resolve costs maintenance or a reboot, only with a person's approval."""


@dataclass(frozen=True, slots=True)
class IssuePolicy:
    """One row: ``effect`` is what Resolve does to the host, ``advice`` what a reader of the status is told."""

    handling: Handling
    advice: str
    effect: Effect = "none"
    reads: int = 2
    """Consecutive reads of EAM that must show the issue before it is acted on."""


_NEVER_MAINTENANCE = "resolving would pull the host out of maintenance; it ends when the host leaves maintenance"

_TABLE: dict[tuple[str, ...], IssuePolicy] = {
    ("VmPoweredOff",): IssuePolicy("resolve", "power on the ContrailVM", "power"),
    ("VmSuspended",): IssuePolicy("resolve", "resume the ContrailVM", "power"),
    ("VmPoweredOn",): IssuePolicy("resolve", "power off the ContrailVM", "power"),
    ("VmNotDeployed",): IssuePolicy("resolve", "deploy the ContrailVM again", "redeploy"),
    ("VmCorrupted",): IssuePolicy("resolve", "delete and deploy the ContrailVM again", "redeploy", reads=4),
    ("VmOrphaned",): IssuePolicy("resolve", "delete the orphaned ContrailVM", "removal"),
    ("VmDeployed",): IssuePolicy("resolve", "remove the ContrailVM", "removal"),
    ("VmMarkedAsTemplate",): IssuePolicy("resolve", "turn the template back into a VM", "power"),
    ("VmProtected",): IssuePolicy("resolve", "continue once vSphere HA is done with the VM", "power", reads=6),
    ("CannotAccessAgentOVF",): IssuePolicy("probe", "deploy again once the package can be fetched", "redeploy"),
    ("CertificateNotTrusted",): IssuePolicy("probe", "give EAM our certificate, then deploy again", "redeploy"),
    ("InsufficientResources",): IssuePolicy("retry", "free CPU or memory on the host", "redeploy"),
    ("InsufficientSpace",): IssuePolicy("retry", "free space on the datastore, or name another one", "redeploy"),
    ("InvalidConfig",): IssuePolicy(
        "retry", "vCenter cannot power it on as configured; see what it lacks on that host", "power"
    ),
    ("NoAgentVmDatastore", "NoAgentVmNetwork"): IssuePolicy(
        "settings", "give the host a datastore and a network for EsxAgents"
    ),
    ("NoCustomAgentVmDatastore",): IssuePolicy(
        "report", "the host has none of the deployment's datastores; attach one"
    ),
    ("NoCustomAgentVmNetwork",): IssuePolicy("report", "the host lacks the management network; add it to the switch"),
    ("NoDiscoverableAgentVmDatastore", "NoDiscoverableAgentVmNetwork"): IssuePolicy(
        "report", "EAM finds no datastore or network by itself"
    ),
    ("IncompatibleHostVersion",): IssuePolicy("report", "the package has no configuration for this host's version"),
    ("VmRequiresHostOutOfMaintenanceMode", "HostInMaintenanceMode"): IssuePolicy(
        "wait", _NEVER_MAINTENANCE, "maintenance"
    ),
    ("HostInPartialMaintenanceMode",): IssuePolicy("wait", "ends with the host's partial maintenance"),
    ("HostInStandbyMode",): IssuePolicy("wait", "ends when the host leaves standby", "power"),
    ("ManagedHostNotReachable", "HostNotReachable", "HostPoweredOff"): IssuePolicy(
        "wait", "ends when the host is back"
    ),
    ("VmInaccessible",): IssuePolicy("report", "vCenter cannot reach the VM's files; it may come back by itself"),
    ("VmWrongFolder", "VmWrongResourcePool"): IssuePolicy(
        "report", "somebody moved the VM; move it back if it disturbs"
    ),
    ("OvfInvalidFormat",): IssuePolicy("block", "vCenter cannot import the package; apply a sound one", "redeploy"),
    ("OvfInvalidProperty",): IssuePolicy("block", "the package's properties do not fit; apply a sound one", "redeploy"),
    ("VmHookTimedout", "VmHookFailed"): IssuePolicy("resolve", "run the hook's work again"),
    ("AgencyDisabled",): IssuePolicy("wait", "the cluster is disabled in vCenter; ends when it is enabled"),
    ("AgencyIssue",): IssuePolicy(
        "wait", "this vCenter has no name for it: the cluster is disabled, by all we know; ends when it is enabled"
    ),
    ("TransitionFailed",): IssuePolicy("report", "the hand-over to vSphere Lifecycle Manager failed"),
    ("VibRequiresHostInMaintenanceMode",): IssuePolicy(
        "approve", "Resolve puts the host into maintenance; approve it first", "maintenance"
    ),
    ("VibRequiresHostReboot", "ImmediateHostRebootRequired"): IssuePolicy(
        "approve", "Resolve reboots the host; approve it first", "reboot"
    ),
    ("VibCannotPutHostInMaintenanceMode", "VibCannotPutHostOutOfMaintenanceMode"): IssuePolicy(
        "approve", "a maintenance transition failed; approve another try", "maintenance"
    ),
    ("CannotAccessAgentVib",): IssuePolicy("probe", "install the VIBs once their bundle can be fetched"),
    ("VibInvalidFormat",): IssuePolicy("block", "EAM cannot read the bundle; publish and apply a sound one"),
    ("VibNotInstalled",): IssuePolicy("resolve", "install the VIBs again"),
    ("VibDependenciesNotMetByHost", "VibRequirementsNotMetByHost"): IssuePolicy(
        "retry", "the host lacks what a VIB of the bundle needs; install that, or leave the host out"
    ),
    ("VibRequiresManualInstallation", "VibRequiresManualUninstallation"): IssuePolicy(
        "report", "the host is managed by an image: put the bundle's VIBs there, or take them away, and remediate"
    ),
    ("PersonalityAgentAwaitingPMRemediation", "PersonalityAgentBlockedByAgencyOperation"): IssuePolicy(
        "report", "the VIBs come with the cluster's image: remediate the cluster in vSphere Lifecycle Manager"
    ),
    (
        "PersonalityAgencyPMUnavailable",
        "PersonalityAgencyDepotIssue",
        "PersonalityAgencyInaccessibleDepot",
        "PersonalityAgencyInvalidDepot",
        "PersonalityAgencyCannotUploadDepot",
        "PersonalityAgencyCannotConfigureSolutions",
        "IntegrityAgencyVUMUnavailable",
        "IntegrityAgencyVUMIssue",
        "IntegrityAgencyCannotStageSoftware",
        "IntegrityAgencyCannotDeleteSoftware",
    ): IssuePolicy("report", "vCenter cannot bring the VIBs to the hosts; look at its Lifecycle Manager"),
}

ISSUES: dict[str, IssuePolicy] = {name: row for names, row in _TABLE.items() for name in names}

UNKNOWN = IssuePolicy("report", "an issue this version does not know; nothing is done about it")

MAINTENANCE_ISSUES = frozenset({"HostInMaintenanceMode", "VmRequiresHostOutOfMaintenanceMode"})
"""Never resolved, approval or not: Resolve would end a maintenance that somebody wanted."""

PAUSING_ISSUES = ("AgencyDisabled", "AgencyIssue")
"""Of an agency: nothing is repaired or upgraded meanwhile.

``AgencyDisabled`` is of EAM 7.6. To clients of an older version it is a bare ``AgencyIssue``, and no other issue of an
agency as a whole is so young.
"""

MISSING_VM_ISSUES = frozenset(
    {"VmNotDeployed", "CannotAccessAgentOVF", "CertificateNotTrusted", "InsufficientResources", "InsufficientSpace"}
)
"""The EsxAgent has no ContrailVM."""


def policy_for(issue_type: str) -> IssuePolicy:
    """The row for an issue type; unknown types are reported, never resolved."""
    return ISSUES.get(issue_type, UNKNOWN)
