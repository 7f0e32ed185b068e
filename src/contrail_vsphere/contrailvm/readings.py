"""Keeps, per agency, how often in a row EAM has shown something: one read alone is not believed where acting hurts.

vCenter and EAM are separate services that lag behind each other; a VM that is merely being registered looks deleted for
a moment. The memory is this process's own: after a restart everything is seen for the first time again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from contrail_vsphere.contrailvm.observed import Reading, Sighting
from contrail_vsphere.model.eam import Agency
from contrail_vsphere.model.ids import AgencyId, EsxAgentId, HostId, VmId

H = TypeVar("H", bound=Hashable)


class Readings:
    """Readings of all agencies of ours, by id."""

    def __init__(self) -> None:
        self._readings: dict[AgencyId, Reading] = {}
        self.host_of: dict[VmId, HostId] = {}
        """Where EAM has, or had, our ContrailVMs."""

    @property
    def by_id(self) -> Mapping[AgencyId, Reading]:
        """The newest reading of every agency."""
        return self._readings

    def read(self, agency: Agency, *, at: float) -> Reading:
        """Take in one read of an agency, made at ``at`` (epoch seconds)."""
        before = self._readings.get(agency.id)
        issues: set[tuple[EsxAgentId | None, str]] = {
            (None, issue.type) for issue in agency.issues if issue.agent is None and issue.host is None
        }
        issues |= {(agent.id, issue.type) for agent in agency.agents for issue in agent.issues}
        hooks = {(agent.id, f"{agent.hook.state} {agent.hook.vm}") for agent in agency.agents if agent.hook}
        statuses = {}
        for agent in agency.agents:
            old = next((each for each in before.agency.agents if each.id == agent.id), None) if before else None
            unchanged = before is not None and old is not None and old.status == agent.status
            kept = before.statuses.get(agent.id) if unchanged and before is not None else None
            statuses[agent.id] = Sighting(kept.since, kept.reads + 1) if kept else Sighting(at, 1)
        reading = Reading(
            agency=agency,
            read_at=at,
            issues=_again(issues, before.issues if before else {}, at),
            hooks=_again(hooks, before.hooks if before else {}, at),
            statuses=statuses,
        )
        self._readings[agency.id] = reading
        for agent in agency.agents:
            for vm in (agent.vm, agent.hook.vm if agent.hook else None):
                if vm is not None and agent.host is not None:
                    self.host_of[vm] = agent.host
        return reading

    def gone(self, agency: AgencyId) -> None:
        """The agency no longer exists."""
        self._readings.pop(agency, None)

    def keep_only(self, existing: Iterable[AgencyId]) -> None:
        """Forget every agency that is not among these."""
        kept = set(existing)
        for agency in [each for each in self._readings if each not in kept]:
            del self._readings[agency]


def _again(shown: Iterable[H], before: Mapping[H, Sighting], at: float) -> dict[H, Sighting]:
    return {
        each: Sighting(before[each].since, before[each].reads + 1) if each in before else Sighting(at, 1)
        for each in shown
    }
