"""The events that EAM posts: ids and arguments of vCenter's event catalogue, as far as they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.event_manager import eam_event

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.issues import IssueRecord
    from contrail_vsphere.simulator.eam.switches import Switches

HOOK_EVENTS = {
    "provisioned": "agent.markAgentVmAsAvailableAfterProvisioning",
    "poweredOn": "agent.markAgentVmAsAvailableAfterPowerOn",
}
"""No event tells of ``prePowerOn`` on hosts up to 8.0 U3."""


def agency_event(tx: Transaction, agency: Agency, name: str, message: str, *, whole_name: bool = False) -> None:
    """``com.vmware.vim.eam.agency.<name>``; with ``whole_name`` without the ``agency``."""
    tx.event(
        eam_event(
            agency.service.switches.event_prefix + (name if whole_name else f"agency.{name}"),
            message=f"Agency {agency.name}: {message}",
            object_id=agency.moid,
            object_type="Agency",
            object_name=agency.name,
            **{agency.service.switches.event_argument_names[0]: agency.name},
        )
    )


def agent_event(
    tx: Transaction, agent: EsxAgent, name: str, message: str, *, vm: Any = None, severity: str = "info"
) -> None:
    """``com.vmware.vim.eam.<name>`` about an EsxAgent; on its virtual machine where there is one, else on its host."""
    world = agent.world
    subject = vm if vm is not None else agent.subject
    entity = subject if subject is not None and world.get(subject.moid) is subject else None
    if entity is None and agent.host is not None and world.get(agent.host.moid) is agent.host:
        entity = agent.host
    tx.event(
        eam_event(
            f"{agent.service.switches.event_prefix}{name}",
            message=f"Agent {agent.name}: {message}",
            severity=severity,
            entity=entity,
            object_id=agent.moid,
            object_type="Agent",
            object_name=agent.name,
            **_arguments(agent, agent.service.switches),
        )
    )


def _arguments(agent: EsxAgent, switches: Switches) -> dict[str, str]:
    values = (
        agent.agency.name,
        agent.name,
        agent.host.name if agent.host is not None else "",
        agent.subject.name if agent.subject is not None else "",
    )
    return {key: value for key, value in zip(switches.event_argument_names, values, strict=True) if value}


def issue_event(tx: Transaction, agent: EsxAgent, issue: IssueRecord) -> None:
    """An issue came; the profile decides under which name."""
    name = agent.service.profile.issue_name(issue.type)
    if name is not None:
        kind = "cluster.agent." if agent.agency.is_set else ""
        agent_event(
            tx, agent, f"issue.{kind}{event_name(name)}", issue.describe(agent.agency), vm=issue.vm, severity="error"
        )


def agency_issue_event(tx: Transaction, agency: Agency, issue: IssueRecord) -> None:
    """An issue of the agency itself came."""
    name = agency.service.profile.issue_name(issue.type)
    if name is not None:
        agency_event(tx, agency, f"issue.{event_name(name)}", issue.describe(agency), whole_name=True)


def manager_event(tx: Transaction, name: str, message: str, *, user: str = "", entity: Any = None) -> None:
    """``com.vmware.vim.eam.<name>`` about EAM as a whole: sessions, virtual machines that nobody knows."""
    from contrail_vsphere.simulator.eam.service import EamService

    prefix = tx.world.service(EamService).switches.event_prefix
    event = eam_event(f"{prefix}{name}", message=message, entity=entity, object_type="EsxAgentManager")
    event.userName = user
    tx.event(event)


def event_name(issue_name: str) -> str:
    """``VmPoweredOff`` -> ``vmPoweredOff``; packages stay, HostNotReachable goes by its name on the wire."""
    package, dot, name = issue_name.rpartition(".")
    name = {"HostNotReachable": "ManagedHostNotReachable"}.get(name, name)
    return f"{package}{dot}{name[0].lower()}{name[1:]}"
