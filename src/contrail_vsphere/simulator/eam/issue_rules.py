"""The table of issues: which condition clears each without Resolve, and what Resolve does.

EAM heals nothing that a person broke. An issue blocks its EsxAgent; the phase that the EsxAgent holds meanwhile is the
one to go on with, so that resolving mostly means taking the issue away. What is raised for which failure is in
``failures``; issues of VIBs have a table of their own in ``vib_rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from contrail_vsphere.simulator.eam.situation import HOOKS, Phase, Situation

Resolution = Literal[
    "continue",
    "recheck",
    "exit-maintenance",
    "enter-maintenance",
    "reboot-host",
    "power-up-host",
    "delete-orphan",
    "move-back",
    "rebuild",
    "destroy-agency",
    "impossible",
]
"""What Resolve does: go on with the EsxAgent's phase; check the condition again at once; do something to the host or
virtual machine first, the issue staying until that shows; delete the virtual machine and deploy another; remove the
agency; nothing."""

Condition = Callable[[Situation], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One type of issue. ``clears`` is asked whenever something changed and every ``Timing.eam_scan`` seconds."""

    type: str
    text: str
    """Description; ``{vm}``, ``{host}``, ``{agency}`` and the issue's own fields are filled in."""
    clears: Condition
    resolve: Resolution = "continue"
    cleared_by_update: bool = False
    """A change of the agency's configuration takes it away."""


def never(_: Situation) -> bool:
    """Only Resolve takes it away, or whoever raised it."""
    return False


def _rolled_back(s: Situation) -> bool:
    """What could not be deployed is not wanted any more: the configuration names the package that runs."""
    return s.phase is Phase.UPGRADE_PRECHECK and s.vm != "none" and s.vm_current


def _no_longer(problem: str) -> Condition:
    return lambda s: problem not in s.problems or _rolled_back(s)


VM_RULES: Final = (
    Rule(
        type="VmPoweredOff",
        text="The agent virtual machine {vm} is expected to be powered on but is powered off.",
        clears=lambda s: s.subject != "off" or s.goal != "enabled" or s.host == "maintenance",
    ),
    Rule(
        type="VmPoweredOn",
        text="The agent virtual machine {vm} is expected to be powered off but is powered on.",
        clears=lambda s: s.subject != "on" or s.goal != "disabled",
    ),
    Rule(
        type="VmSuspended",
        text="The agent virtual machine {vm} is expected to be powered on but is suspended.",
        clears=lambda s: s.subject != "suspended",
    ),
    Rule(
        type="VmNotDeployed",
        text="The agent virtual machine is expected to be deployed on host {host} but is not.",
        clears=lambda s: (s.phase is Phase.PRECHECK and s.subject != "none") or _rolled_back(s),
    ),
    Rule(
        type="CannotAccessAgentOVF",
        text="The OVF package {downloadUrl} of the agent cannot be accessed.",
        clears=_rolled_back,
    ),
    Rule(
        type="CertificateNotTrusted",
        text="The certificate of {url} is not trusted.",
        clears=_rolled_back,
    ),
    Rule(
        type="OvfInvalidFormat",
        text="The OVF package of the agent cannot be deployed on host {host}: its format is invalid.",
        clears=_rolled_back,
        cleared_by_update=True,
    ),
    Rule(
        type="OvfInvalidProperty",
        text="A property of the agent's OVF environment is missing or invalid.",
        clears=_rolled_back,
        cleared_by_update=True,
    ),
    Rule(
        type="IncompatibleHostVersion",
        text="No agent configuration of agency {agency} matches the version of host {host}.",
        clears=_no_longer("IncompatibleHostVersion"),
    ),
    Rule(
        type="NoAgentVmDatastore",
        text="No agent datastore is configured on host {host}.",
        clears=_no_longer("NoAgentVmDatastore"),
        resolve="recheck",
    ),
    Rule(
        type="NoAgentVmNetwork",
        text="No agent network is configured on host {host}.",
        clears=_no_longer("NoAgentVmNetwork"),
        resolve="recheck",
    ),
    Rule(
        type="NoCustomAgentVmDatastore",
        text="None of the agent datastores {customAgentVmDatastoreName} is on host {host}.",
        clears=_no_longer("NoCustomAgentVmDatastore"),
        resolve="recheck",
    ),
    Rule(
        type="NoCustomAgentVmNetwork",
        text="None of the agent networks {customAgentVmNetworkName} is on host {host}.",
        clears=_no_longer("NoCustomAgentVmNetwork"),
        resolve="recheck",
    ),
    Rule(
        type="InsufficientSpace",
        text="The agent virtual machine does not fit on the datastore of host {host}.",
        clears=_rolled_back,
    ),
    Rule(
        type="InsufficientResources",
        text="Host {host} lacks CPU or memory for the agent virtual machine.",
        clears=lambda s: _rolled_back(s) or (s.phase is Phase.POWERING_ON and s.subject == "on"),
    ),
    Rule(
        type="InvalidConfig",
        text="The configuration of the agent virtual machine {vm} is not valid.",
        clears=lambda s: s.vm_changed or s.subject in {"on", "none"},
        resolve="recheck",
        cleared_by_update=True,
    ),
    Rule(
        type="HostInMaintenanceMode",
        text="An operation on the agent virtual machine {vm} waits for host {host} to leave maintenance mode.",
        clears=lambda s: s.host != "maintenance" or s.goal == "disabled",
        resolve="exit-maintenance",
    ),
    Rule(
        type="VmRequiresHostOutOfMaintenanceMode",
        text="The agent virtual machine cannot be deployed: host {host} is in maintenance mode.",
        clears=lambda s: s.host != "maintenance" or (s.phase is not Phase.PRECHECK and s.subject_current),
        resolve="exit-maintenance",
    ),
    Rule(
        type="HostInStandbyMode",
        text="An operation on the agent virtual machine waits for host {host} to leave standby mode.",
        clears=lambda s: s.host != "standby",
        resolve="power-up-host",
    ),
    Rule(
        type="HostNotReachable",
        text="Host {host} is not reachable.",
        clears=lambda s: s.host != "unreachable",
        resolve="impossible",
    ),
    Rule(
        type="VmOrphaned",
        text="The agent virtual machine {vm} is on host {host}, where it does not belong.",
        clears=never,  # the observer of orphans takes it away with the virtual machine
        resolve="delete-orphan",
    ),
    Rule(
        type="VmDeployed",
        text="The agent virtual machine {vm} should have been removed but is still there.",
        clears=lambda s: s.vm == "none" and s.new_vm == "none",
    ),
    Rule(
        type="VmInaccessible",
        text="The agent virtual machine {vm} is inaccessible.",
        clears=lambda s: s.subject != "inaccessible",
        resolve="impossible",
    ),
    Rule(
        type="VmCorrupted",
        text="The agent virtual machine {vm} is corrupted.",
        clears=lambda s: s.subject in {"on", "none"},
        resolve="rebuild",
    ),
    Rule(
        type="VmMarkedAsTemplate",
        text="The agent virtual machine {vm} is marked as a template.",
        clears=lambda s: not s.as_template,
    ),
    Rule(
        type="VmWrongFolder",
        text="The agent virtual machine {vm} is expected in another folder.",
        clears=lambda s: "VmWrongFolder" not in s.misplaced,
        resolve="move-back",
    ),
    Rule(
        type="VmWrongResourcePool",
        text="The agent virtual machine {vm} is expected in another resource pool.",
        clears=lambda s: "VmWrongResourcePool" not in s.misplaced,
        resolve="move-back",
    ),
    Rule(
        type="VmProtected",
        text="The agent virtual machine {vm} is protected from changes at the moment.",
        clears=_rolled_back,
    ),
    Rule(
        type="HostInPartialMaintenanceMode",
        text="An operation on the agent virtual machine waits for host {host} to leave partial maintenance mode.",
        clears=lambda s: s.host != "partial",
        resolve="impossible",
    ),
    Rule(
        type="InsufficientIpAddresses",
        text="The IP pool of network {networkName} has no address left for the agent on host {host}.",
        clears=lambda s: s.phase is Phase.POWERING_ON and s.subject == "on",
        cleared_by_update=True,
    ),
    Rule(
        type="MissingAgentIpPool",
        text="No IP pool gives an address on network {networkName} to the agent on host {host}.",
        clears=lambda s: s.phase is Phase.POWERING_ON and s.subject == "on",
        cleared_by_update=True,
    ),
    Rule(
        type="VmHookTimedout",
        text="The lifecycle hook of virtual machine {vm} was not processed in time.",
        clears=lambda s: s.phase not in HOOKS,
    ),
    Rule(
        type="VmHookFailed",
        text="The lifecycle hook of virtual machine {vm} was failed by the solution.",
        clears=lambda s: s.phase not in HOOKS,
    ),
    Rule(
        type="TransitionFailed",
        text="The agent on host {host} could not be handed over to vLCM.",
        clears=never,
    ),
    Rule(
        type="OrphanedAgency",
        text="The solution of agency {agency} is not registered any more.",
        clears=never,  # of the agency: goes with it, or when the extension is back
        resolve="destroy-agency",
    ),
    Rule(
        type="UnknownAgentVm",
        text="The virtual machine {vm} is one of EAM's, but no agency knows it.",
        clears=never,  # of EAM as a whole: goes with the virtual machine
        resolve="delete-orphan",
    ),
    Rule(
        type="AgencyDisabled",
        text="A cluster in the scope of agency {agency} is disabled.",
        clears=never,  # of the agency, not of an EsxAgent: goes with the cluster's flag
        resolve="impossible",
    ),
    Rule(
        type="ExtensibleIssue",
        text="{typeId}",
        clears=never,
    ),
)

NOT_BLOCKING: Final = frozenset(
    {"VmOrphaned", "VmWrongFolder", "VmWrongResourcePool", "AgencyDisabled", "ExtensibleIssue"}
)
"""Issues beside which an EsxAgent goes on."""
