"""Agency: what a solution wants to have on every host of some clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.eam import config as rules
from contrail_vsphere.simulator.eam.access import eam_operation, eam_property
from contrail_vsphere.simulator.eam.eam_object import EamObject
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.events import agency_event
from contrail_vsphere.simulator.eam.issues import AGENCY_ISSUES, RULES, IssueRecord
from contrail_vsphere.simulator.eam.situation import Goal, Phase
from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import eam, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(slots=True, eq=False, kw_only=True)
class Agency(EamObject):
    """State of an agency; ``config`` is a whole AgencyConfigInfo, replaced and never changed in place."""

    wsdl: ClassVar[str] = "Agency"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "config": ("config",),
        "goal": ("runtime",),
        "destroying": ("runtime",),
        "agents": ("agent", "runtime"),
        "issues": ("runtime",),
        "status": ("runtime",),
    }

    config: Any
    solution_id: str
    solution_name: str
    owner: str = ""
    """The user who made it; empty when an extension did."""
    goal: Goal = "enabled"
    destroying: bool = False
    agents: tuple[EsxAgent, ...] = ()
    issues: tuple[IssueRecord, ...] = ()
    """Of the agency itself; those of its EsxAgents are theirs."""
    status: str = "yellow"
    cluster_bound: bool = False
    """Internal, of vCLS: its virtual machines are none of ours."""
    numbered: int = 0
    """How many virtual machines were named so far."""

    @property
    def name(self) -> str:
        """``agencyName``."""
        return str(self.config.agencyName)

    @property
    def agent_name(self) -> str:
        """What its virtual machines are called, without their number."""
        return str(self.config.agentName or self.config.agencyName)

    @property
    def scope(self) -> tuple[ComputeResource, ...]:
        """Compute resources in scope that still exist."""
        found = (rules.entity_of(self.world, ref) for ref in rules.scope_of(self.config))
        return tuple(resource for resource in found if isinstance(resource, ComputeResource))

    @property
    def hosts(self) -> tuple[HostSystem, ...]:
        """Hosts in scope."""
        return tuple({host.moid: host for resource in self.scope for host in resource.hosts}.values())

    def has_in_scope(self, host: HostSystem) -> bool:
        """Whether that host should have an EsxAgent."""
        parent = host.parent
        return (
            self.world.get(host.moid) is host
            and parent is not None
            and any(ref._moId == parent.moid for ref in rules.scope_of(self.config))
        )

    @property
    def needs_apply(self) -> bool:
        """Whether nothing happens on a host before somebody applies the configuration there (System VMs)."""
        return False

    @property
    def is_over(self) -> bool:
        """Nothing is left of it, and nothing is to come."""
        return self.destroying and not self.agents

    @property
    def has_pre_power_on(self) -> bool:
        """Whether an upgrade may stop at ``prePowerOn``."""
        return True

    @property
    def is_set(self) -> bool:
        """Whether its virtual machines may run on any host of the cluster, and move (System VMs of 9.1)."""
        return False

    @property
    def blue_green(self) -> bool:
        """Whether an upgrade has the new virtual machine running before the old one goes (System VMs of 9.1)."""
        return False

    def place(self, agent: EsxAgent) -> HostSystem | None:
        """The host for an EsxAgent without virtual machine; None where there is none."""
        return agent.host

    def select(self, agent: EsxAgent) -> rules.Selection:
        """Datastore and network on the EsxAgent's host, or what is missing."""
        return rules.select(agent.config, agent.host, resolve=lambda ref: rules.entity_of(self.world, ref))

    def own_networks(self) -> Mapping[str, Any] | None:
        """Network by name in the OVF, where the solution says each; None where one is for all."""
        return None

    @property
    def wanted_hosts(self) -> tuple[HostSystem, ...]:
        """Hosts that are to have an EsxAgent."""
        return () if self.destroying or self.cluster_bound or self.goal == "uninstalled" else self.hosts

    def hook_is_over(self, agent: EsxAgent) -> bool:
        """Whether the solution had its time for the hook that the EsxAgent is in; EAM waits without limit."""
        return False

    def requires_agent_on(self, host: HostSystem) -> bool:
        """Whether DRS must wait for an EsxAgent on that host."""
        if self.goal != "enabled" or self.destroying or not self.has_in_scope(host):
            return False
        return any(entry.ovfPackageUrl for entry in self.config.agentConfig or [])

    def found_issues(self) -> Iterable[tuple[EsxAgent | None, IssueRecord]]:
        yield from ((None, record) for record in self.issues)
        yield from ((agent, record) for agent in self.agents for record in agent.issues)

    def combined_status(self) -> str:
        """Red beats yellow beats green."""
        found = {agent.status for agent in self.agents}
        if self.issues or "red" in found:
            return "red"
        going = self.destroying or self.goal == "uninstalled"
        busy = "yellow" in found or (bool(self.agents) if going else self._unlike_scope())
        return "yellow" if busy else "green"

    def _unlike_scope(self) -> bool:
        """A host lacks its EsxAgent, or an EsxAgent has no business where it is."""
        return {agent.host.moid for agent in self.agents} != {host.moid for host in self.wanted_hosts}

    def _agency(self) -> Agency:
        return self

    # -- reading ------------------------------------------------------------------------------------------------

    @eam_operation("QuerySolutionId")
    def QuerySolutionId(self, call: Any) -> str:
        return self.solution_id

    @eam_operation("QueryConfig")
    def QueryConfig(self, call: Any) -> Any:
        return self.config

    @eam_operation("AgencyQueryRuntime")
    def AgencyQueryRuntime(self, call: Any) -> Any:
        return self._runtime()

    @eam_operation("QueryAgent")
    def QueryAgent(self, call: Any) -> list[EsxAgent]:
        return list(self.agents)

    @eam_property("solutionId")
    def _solution_id(self) -> str:
        return self.solution_id

    @eam_property("owner")
    def _owner(self) -> str | None:
        return self.owner or None

    @eam_property("config")
    def _config(self) -> Any:
        return self.config

    @eam_property("runtime")
    def _runtime(self) -> Any:
        return data_object(
            eam.EamObject.RuntimeInfo,
            status=self.status,
            issue=self.project_issues(),
            goalState="uninstalled" if self.destroying else self.goal,
            entity=self,
        )

    @eam_property("agent")
    def _agent(self) -> list[EsxAgent]:
        return list(self.agents)

    # -- changing -----------------------------------------------------------------------------------------------

    @eam_operation("Update", modifies=True)
    async def Update(self, call: Any, config: Any) -> None:
        """Replace what the new configuration sets, after the same checks as at creation."""
        self._check_alive()
        wanted = rules.merged(self.config, config)
        await self.service.validate(wanted)
        self._check_alive()
        with self.world.commit(call.user) as tx:
            tx.set(self, config=wanted, issues=tuple(item for item in self.issues if item.type not in AGENCY_ISSUES))
            for agent in self.agents:
                kept = tuple(item for item in agent.issues if not RULES[item.type].cleared_by_update)
                tx.set(agent, issues=kept)
                if agent.phase is Phase.STEADY and agent.subject is None:
                    tx.set(agent, phase=Phase.PRECHECK)
            agency_event(tx, self, "updated", "its configuration was changed")
            self.service.worker.settle_agency(tx, self)
        self.service.refresh(self)

    @eam_operation("Agency_Enable", modifies=True)
    def Agency_Enable(self, call: Any) -> None:
        if self.goal == "uninstalled":
            raise fault(eam.fault.InvalidState, "Enabling an uninstalled agency is not supported.")
        self._set_goal(call, "enabled")

    @eam_operation("Agency_Disable", modifies=True)
    def Agency_Disable(self, call: Any) -> None:
        if self.goal == "uninstalled":
            raise fault(eam.fault.InvalidState, "Disabling an uninstalled agency is not supported.")
        self._set_goal(call, "disabled")

    @eam_operation("Uninstall", modifies=True)
    def Uninstall(self, call: Any) -> None:
        self._set_goal(call, "uninstalled")

    @eam_operation("DestroyAgency", modifies=True)
    def DestroyAgency(self, call: Any) -> None:
        """Returns at once; the agency can be read until its EsxAgents are gone."""
        self.service.destroy(self, user=call.user)

    @eam_operation("RegisterAgentVm", modifies=True)
    def RegisterAgentVm(self, call: Any, agentVm: Any) -> EsxAgent:
        """Take a virtual machine that the solution provisioned; again, nothing happens."""
        self._check_alive()
        vm = found(self, agentVm, VirtualMachine)
        known = self.service.agent_of(vm)
        if known is not None and known.agency is self:
            return known
        agent = next((item for item in self.agents if item.host is vm.host), None)
        if not self.config.manuallyProvisioned or agent is None or agent.vm is not None or known is not None:
            raise fault(eam.fault.InvalidState, "The agency does not take that virtual machine.")
        with self.world.commit(call.user) as tx:
            tx.set(vm, esx_agent=True)
            tx.set(agent, vm=vm, phase=Phase.PRECHECK)
        self.service.mark(agent)
        return agent

    @eam_operation("UnregisterAgentVm", modifies=True)
    def UnregisterAgentVm(self, call: Any, agentVm: Any) -> None:
        """Let go of a registered virtual machine; it stays as it is."""
        self._check_alive()
        vm = found(self, agentVm, VirtualMachine)
        agent = self.service.agent_of(vm)
        if not self.config.manuallyProvisioned or agent is None or agent.agency is not self:
            return
        with self.world.commit(call.user) as tx:
            tx.set(vm, esx_agent=False)
            tx.set(agent, vm=None, phase=Phase.PRECHECK, issues=())
        self.service.forget_vm(vm)
        self.service.mark(agent)

    @eam_operation("AddIssue", modifies=True, note="ExtensibleIssue only, as it is deprecated since 6.5")
    def AddIssue(self, call: Any, issue: Any) -> Any:
        if not isinstance(issue, eam.issue.ExtensibleIssue):
            raise fault(vmodl.fault.InvalidArgument, "only an ExtensibleIssue can be added", invalidProperty="issue")
        fields = {"typeId": str(issue.typeId), "argument": issue.argument, "target": issue.target}
        record = IssueRecord(
            key=self.service.new_issue_key(),
            type="ExtensibleIssue",
            time=self.world.clock.now(),
            fields={name: value for name, value in fields.items() if value},
        )
        with self.world.commit(call.user) as tx:
            tx.set(self, issues=(*self.issues, record))
        self.service.mark_agency(self)
        return record.project(agency=self, agent=None, profile=self.service.profile)

    def _set_goal(self, call: Any, goal: Goal) -> None:
        self._check_alive()
        with self.world.commit(call.user) as tx:
            if tx.set(self, goal=goal):
                agency_event(tx, self, "goalstate", f"its goal is now {goal}")
        self.service.refresh(self)

    def _check_alive(self) -> None:
        if self.world.get(self.moid) is not self:
            raise fault(vmodl.fault.ManagedObjectNotFound, "The agency is gone.", obj=self.ref)
        if self.destroying:
            raise fault(eam.fault.InvalidState, "The agency is being destroyed.")
