"""EsxAgentManager: the root of EAM's API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import current_call
from contrail_vsphere.simulator.eam.access import eam_operation, eam_property
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.eam_object import EamObject
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.issues import IssueRecord

POLICIES = ("singleHost", "multipleHosts")


@dataclass(slots=True, eq=False, kw_only=True)
class EsxAgentManager(EamObject):
    """The one object every client knows by its id."""

    wsdl: ClassVar[str] = "EsxAgentManager"

    maintenance_policy: str = "singleHost"
    issues: tuple[IssueRecord, ...] = ()
    """Of EAM as a whole: virtual machines that no agency knows."""

    def found_issues(self) -> Iterable[tuple[EsxAgent | None, IssueRecord]]:
        return ((None, record) for record in self.issues)

    @eam_operation("QueryAgency")
    def QueryAgency(self, call: Any) -> list[Agency]:
        """An extension sees its own, a user all."""
        return [agency for agency in self.service.agencies() if self.service.may_see(call, agency)]

    @eam_operation("CreateAgency", modifies=True)
    async def CreateAgency(self, call: Any, agencyConfigInfo: Any, initialGoalState: str) -> Agency:
        """Check, also by downloading the OVF, and answer; deployment goes on afterwards."""
        if str(initialGoalState) not in {"enabled", "disabled", "uninstalled"}:
            raise fault(vmodl.fault.InvalidArgument, "no such goal state", invalidProperty="initialGoalState")
        await self.service.validate(agencyConfigInfo)
        return self.service.create(call, agencyConfigInfo, goal=str(initialGoalState))

    @eam_operation("ScanForUnknownAgentVm", modifies=True)
    def ScanForUnknownAgentVm(self, call: Any) -> None:
        """Deprecated: releases that remove such virtual machines do so now, others raise UnknownAgentVm."""
        self.service.mark_orphans()
        if not self.service.profile.removes_orphans:
            self.service.unknown.scan()

    @eam_operation("SetMaintenanceModePolicy", modifies=True, note="kept and given back; only VIBs would use it")
    def SetMaintenanceModePolicy(self, call: Any, policy: str) -> None:
        if str(policy) not in POLICIES:
            raise fault(vmodl.fault.InvalidArgument, f"one of {', '.join(POLICIES)}", invalidProperty="policy")
        with self.world.commit(call.user) as tx:
            tx.set(self, maintenance_policy=str(policy))

    @eam_operation("GetMaintenanceModePolicy")
    def GetMaintenanceModePolicy(self, call: Any) -> str:
        return self.maintenance_policy

    @eam_property("agency")
    def _all_agencies(self) -> list[Agency]:
        call = current_call.get()
        return [agency for agency in self.service.agencies() if call is None or self.service.may_see(call, agency)]

    @eam_property("issue")
    def _issue(self) -> list[Any]:
        return self.project_issues()

    def _agency(self) -> Any:
        return None
