"""What agencies and EsxAgents have in common: issues that can be queried and resolved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.eam.access import eam_operation, service_of

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.issues import IssueRecord
    from contrail_vsphere.simulator.eam.service import EamService


@dataclass(slots=True, eq=False, kw_only=True)
class EamObject(Entity):
    """Base; subclasses say which issues are theirs."""

    wsdl: ClassVar[str] = "EamObject"
    namespace: ClassVar[str] = "urn:eam"

    @property
    def service(self) -> EamService:
        """The EAM it belongs to."""
        return service_of(self)

    def found_issues(self) -> Iterable[tuple[EsxAgent | None, IssueRecord]]:
        """Issues with the EsxAgent that has them (None: the agency itself)."""
        return ()

    def project_issues(self, keys: Iterable[int] | None = None) -> list[Any]:
        """Issues as values of the API, those with these keys or all; unknown keys are silently missing."""
        wanted = None if keys is None else set(keys)
        found = []
        for agent, record in self.found_issues():
            if wanted is not None and record.key not in wanted:
                continue
            value = record.project(agency=self._agency(), agent=agent, profile=self.service.profile)
            if value is not None:
                found.append(value)
        return found

    def _agency(self) -> Any:
        raise NotImplementedError

    @eam_operation("QueryIssue")
    def QueryIssue(self, call: Any, issueKey: list[int] | None = None) -> list[Any]:
        return self.project_issues(issueKey or None)

    @eam_operation("Resolve", modifies=True)
    def Resolve(self, call: Any, issueKey: list[int] | None = None) -> list[int]:
        """The keys that are unknown or cannot be resolved now."""
        return self.service.remedies.resolve(dict(self._by_key()), issueKey or [])

    @eam_operation("ResolveAll", modifies=True)
    def ResolveAll(self, call: Any) -> None:
        found = dict(self._by_key())
        self.service.remedies.resolve(found, list(found))

    def _by_key(self) -> Iterable[tuple[int, tuple[EamObject, IssueRecord]]]:
        for agent, record in self.found_issues():
            yield record.key, (agent if agent is not None else self, record)
