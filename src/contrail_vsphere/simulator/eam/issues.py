"""Issues as EAM keeps them, and as each release shows them. Keys are unique in the server; an issue that comes back has
a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.simulator.eam.issue_rules import NOT_BLOCKING, VM_RULES, Rule
from contrail_vsphere.simulator.eam.profiles import issue_class
from contrail_vsphere.simulator.eam.vib_rules import AGENCY_VIB_RULES, VIB_RULES
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import eam

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.profiles import Profile

__all__ = ["AGENCY_ISSUES", "NEVER_RAISED", "NOT_BLOCKING", "RULES", "Draft", "IssueRecord"]

RULES: Final[Mapping[str, Rule]] = {rule.type: rule for rule in (*VM_RULES, *VIB_RULES, *AGENCY_VIB_RULES)}
AGENCY_ISSUES: Final = frozenset(rule.type for rule in AGENCY_VIB_RULES)
"""Issues of VIBs that the agency has as a whole."""
NEVER_RAISED: Final[Mapping[str, str]] = {
    "HostPoweredOff": "raised as HostNotReachable; releases before 6.8 show it under this name",
    "MissingDvFilterSwitch": "dvFilterEnabled has no effect any more",
    "OrphanedDvFilterSwitch": "dvFilterEnabled has no effect any more",
    "NoDiscoverableAgentVmDatastore": "of the internal agencies of vCLS, which no solution can make",
    "NoDiscoverableAgentVmNetwork": "of the internal agencies of vCLS, which no solution can make",
}
"""Issue types of the API that this simulator has no cause for; the whole package ``eam.issue.cluster`` is of agencies
bound to clusters, which no solution can make either."""


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

    def project(self, *, agency: Agency | None, agent: EsxAgent | None, profile: Profile) -> Any:
        """The issue as a pyVmomi value of the release's own type; None where that release has no word for it."""
        name = profile.issue_name(self.type)
        if name is None:
            return None
        if self.vm is None and name != self.type and issubclass(issue_class(name), eam.issue.VmIssue):
            name = "VmNotDeployed"  # the older word needs a virtual machine, and there is none
        cls = issue_class(name)
        values: dict[str, Any] = {
            "agency": agency,
            "agencyName": agency.name if agency is not None else None,
            "solutionId": agency.solution_id if agency is not None else None,
            "solutionName": agency.solution_name if agency is not None else None,
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

    def describe(self, agency: Agency | None) -> str:
        """The description, for people."""
        names = {
            "vm": getattr(self.vm, "name", "") or "",
            "host": getattr(self.host, "name", ""),
            "agency": agency.name if agency is not None else "",
            **{
                key: ", ".join(value) if isinstance(value, list) and key.endswith("Name") else value
                for key, value in self.fields.items()
            },
        }
        return self.rule.text.format_map(names)
