"""Issues: which condition clears each without Resolve, and what Resolve does.

EAM heals nothing that a person broke. An issue blocks its EsxAgent; the phase that the EsxAgent holds meanwhile is the
one to go on with, so that resolving mostly means taking the issue away. Keys are unique in the server; an issue that
comes back has a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from contrail_vsphere.simulator.eam.situation import Phase, Situation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import eam

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.profiles import Profile

Resolution = Literal[
    "continue", "recheck", "exit-maintenance", "power-up-host", "delete-orphan", "rebuild", "impossible"
]
"""What Resolve does: go on with the EsxAgent's phase; check the condition again at once; do something to the host or
virtual machine first, the issue staying until that shows; delete the virtual machine and deploy another; nothing."""

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
    event: str = ""
    """Last part of the event type id, where it is not the type's name in lower camel case."""

    @property
    def event_type_id(self) -> str:
        """``com.vmware.vim.eam.issue.vmPoweredOff`` and the like."""
        return "com.vmware.vim.eam.issue." + (self.event or self.type[0].lower() + self.type[1:])


def _never(_: Situation) -> bool:
    return False


def _rolled_back(s: Situation) -> bool:
    """What could not be deployed is not wanted any more: the configuration names the package that runs."""
    return s.phase is Phase.UPGRADE_PRECHECK and s.vm != "none" and s.vm_current


def _no_longer(problem: str) -> Condition:
    return lambda s: problem not in s.problems or _rolled_back(s)


_RULES: Final = (
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
        event="managedHostNotReachable",
    ),
    Rule(
        type="VmOrphaned",
        text="The agent virtual machine {vm} is on host {host}, where it does not belong.",
        clears=_never,  # the observer of orphans takes it away with the virtual machine
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
        type="AgencyDisabled",
        text="A cluster in the scope of agency {agency} is disabled.",
        clears=_never,  # of the agency, not of an EsxAgent: goes with the cluster's flag
        resolve="impossible",
    ),
    Rule(
        type="ExtensibleIssue",
        text="{typeId}",
        clears=_never,
        event="extensibleIssue",
    ),
)
RULES: Final[Mapping[str, Rule]] = {rule.type: rule for rule in _RULES}

NOT_BLOCKING: Final = frozenset({"VmOrphaned", "AgencyDisabled", "ExtensibleIssue"})
"""Issues beside which an EsxAgent goes on."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An issue that is about to be raised; ``fields`` are those of its type beyond the common ones."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
    """An issue as kept. ``vm`` and ``host`` are entities and may have left the world since."""

    key: int
    type: str
    time: datetime
    host: Any = None
    vm: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    vm_version: int = 0
    """``change_version`` of the virtual machine when the issue was raised."""

    @property
    def rule(self) -> Rule:
        """The row of the table."""
        return RULES[self.type]

    def project(self, *, agency: Agency, agent: EsxAgent | None, profile: Profile) -> Any:
        """The issue as a pyVmomi value of the release's own type; None where that release has no word for it."""
        name = profile.issue_name(self.type)
        if name is None:
            return None
        cls = getattr(eam.issue, name)
        values: dict[str, Any] = {
            "agency": agency,
            "agencyName": agency.name,
            "solutionId": agency.solution_id,
            "solutionName": agency.solution_name,
            "agent": agent,
            "agentName": agent.name if agent is not None else "",
            "host": self.host,
            "hostName": getattr(self.host, "name", ""),
            "vm": self.vm,
            "downloadUrl": self.fields.get("url"),
            **self.fields,
        }
        allowed = {info.name for info in cls._GetPropertyList()}
        known = {key: value for key, value in values.items() if key in allowed and value is not None}
        known.update(key=self.key, time=self.time, description=self.describe(agency))
        return data_object(cls, **known)

    def describe(self, agency: Agency) -> str:
        """The description, for people."""
        names = {
            "vm": getattr(self.vm, "name", "") or "",
            "host": getattr(self.host, "name", ""),
            "agency": agency.name,
            **{key: ", ".join(value) if key.endswith("Name") else value for key, value in self.fields.items()},
        }
        return self.rule.text.format_map(names)
