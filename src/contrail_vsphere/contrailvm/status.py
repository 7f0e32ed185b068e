"""What a reader of ``contrailvm status`` sees: per host its state, its ContrailVM, the issue and what is done about it.

Plain values for the table, for ``--json`` and for the control API; made from the same desired, observed and planned
values that the manager acts on, so that it cannot say anything else than it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, Wait, changes_world
from contrail_vsphere.contrailvm.plan.policy import PAUSING_ISSUES, policy_for
from contrail_vsphere.contrailvm.rollout.status import RolloutStatus
from contrail_vsphere.model.eam import Status
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.model.protocols import UnitState


@dataclass(frozen=True, slots=True)
class IssueStatus:
    """An issue of EAM; ``since`` in epoch seconds is when this manager first saw it."""

    type: str
    description: str
    since: float


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One line of the status table."""

    host: str
    name: str
    state: UnitState
    agent: str = ""
    colour: str = ""
    """The EsxAgent's status as EAM shows it: green, yellow or red; empty without one."""
    vm: str = ""
    vm_name: str = ""
    address: str = ""
    instance_uuid: str = ""
    version: str = ""
    forwards: bool = False
    issues: tuple[IssueStatus, ...] = ()
    reason: str = ""
    """Why it is in this state; empty when all is well."""
    next: str = ""
    """What will be done, or what is waited for, in words; empty when all is well."""
    alarms: tuple[str, ...] = ()
    attempts: int = 0
    """Repairs tried within the flap guard's window."""


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """One deployment on one cluster."""

    deployment: str
    cluster: str
    cluster_name: str
    agency: str = ""
    agency_name: str = ""
    colour: Status | None = None
    goal: str = ""
    paused: bool = False
    wanted_version: str = ""
    hosts: tuple[HostStatus, ...] = ()
    next: tuple[str, ...] = ()
    """What is done or waited for that concerns the whole agency."""
    alarms: tuple[str, ...] = ()
    healthy: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class ManagerStatus:
    """All of it."""

    extension: str
    deployments: tuple[DeploymentStatus, ...] = ()
    rollouts: tuple[RolloutStatus, ...] = ()
    """The newest of every deployment that ever had one."""
    problems: tuple[str, ...] = ()
    """Of the manager itself: vCenter not reached, brake engaged, extension gone."""
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Every host is healthy or in maintenance, no deployment is unfinished; of one out of reach nobody knows."""
        return all(
            not each.next and all(host.state in ("healthy", "maintenance") for host in each.hosts)
            for each in self.deployments
        )


def unit_state(desired: Desired | None, observed: Observed, view: HostView) -> UnitState:
    """The state of a host's ContrailVM, the most telling first."""
    if desired is not None and desired.removed:
        return "removing"
    if view.record.hold is not None:
        return "held"
    if not view.reachable:
        return "unreachable"
    if view.hook is not None:
        states: dict[str, UnitState] = {
            "provisioned": "hook-provisioned",
            "prePowerOn": "hook-pre-power-on",
            "poweredOn": "hook-powered-on",
        }
        return states[view.hook.state]
    if view.host.in_maintenance is not False:
        return "maintenance"
    if any(seen.issue.type in PAUSING_ISSUES for seen in observed.agency_issues):
        return "blocked"
    if view.agent is None:
        return "absent"
    if view.issues:
        return "blocked" if any(policy_for(each.issue.type).handling == "block" for each in view.issues) else "degraded"
    if view.agent.status != "green":
        return "deploying"
    running = view.vm is not None and view.vm.power in ("poweredOn", None)
    return "healthy" if running and view.vrouter is not None and view.vrouter.forwards else "degraded"


def host_status(desired: Desired | None, observed: Observed, view: HostView, actions: Iterable[Action]) -> HostStatus:
    """One host, with what the plan says about it."""
    own = [action for action in actions if action.host == view.host.id]
    vm = view.vm or view.hook_vm
    state = unit_state(desired, observed, view)
    return HostStatus(
        host=view.host.id,
        name=view.host.name,
        state=state,
        agent=view.agent.id if view.agent else "",
        colour=view.agent.status if view.agent else "",
        vm=vm.id if vm else "",
        vm_name=vm.name if vm else "",
        address=vm.ip_address if vm else "",
        instance_uuid=vm.instance_uuid if vm else "",
        version=_version(observed, view, vm),
        forwards=bool(view.vrouter and view.vrouter.forwards),
        issues=tuple(
            IssueStatus(seen.issue.type, seen.issue.description or policy_for(seen.issue.type).advice, seen.seen.since)
            for seen in view.issues
        ),
        reason=_reason(own, view),
        next=_next(own, state),
        attempts=len(view.record.tried("resolve", "restart", since=observed.now - desired.repair.window))
        if desired
        else 0,
        alarms=tuple(action.reason for action in own if isinstance(action, Alarm)),
    )


def deployment_status(desired: Desired, observed: Observed, actions: Sequence[Action]) -> DeploymentStatus:
    """One (deployment, cluster)."""
    hosts = tuple(host_status(desired, observed, view, actions) for view in observed.hosts)
    agency = observed.agency
    whole = [action for action in actions if action.host is None]
    return DeploymentStatus(
        deployment=desired.key.deployment,
        cluster=desired.key.cluster,
        cluster_name=observed.cluster.name if observed.cluster else desired.cluster_name,
        agency=agency.id if agency else "",
        agency_name=agency.config.name if agency else "",
        colour=agency.status if agency else None,
        goal="uninstalled" if desired.removed else "enabled",
        paused=bool(observed.record.paused),
        wanted_version=desired.package.version,
        hosts=hosts,
        next=tuple(_words(action) for action in whole if not isinstance(action, Alarm)),
        alarms=tuple(action.reason for action in whole if isinstance(action, Alarm)),
        healthy=sum(each.state == "healthy" for each in hosts),
        total=len(hosts),
    )


def colour_of(states: Iterable[UnitState]) -> Status:
    """Of several hosts together, for the health document."""
    seen = set(states)
    if seen & {"degraded", "held", "blocked"}:
        return "red"
    return "green" if seen <= {"healthy", "maintenance"} else "yellow"


def _version(observed: Observed, view: HostView, vm: VirtualMachine | None) -> str:
    """Of the package the VM was deployed from: as noted then, else (an adopted one) the agency's."""
    if vm is None:
        return ""
    noted = view.record.version_of(vm.id)
    if noted is not None:
        return noted
    return observed.offer.version if observed.offer and _is_current(observed) else ""


def _is_current(observed: Observed) -> bool:
    """EAM's configuration names the package that is published for the deployment."""
    offer, agency = observed.offer, observed.agency
    return offer is not None and agency is not None and any(a.ovf_url == offer.url for a in agency.config.agents)


def _next(actions: Sequence[Action], state: UnitState) -> str:
    doing = [_words(action) for action in actions if changes_world(action)]
    waiting = [action.reason for action in actions if isinstance(action, Wait)]
    if doing or waiting:
        return "; ".join([*doing, *waiting])
    return "a person must act" if state in ("degraded", "blocked") else ""


def _reason(actions: Sequence[Action], view: HostView) -> str:
    if view.record.hold is not None:
        return view.record.hold.reason
    if view.failure is not None:
        return f"{view.failure.what} failed: {view.failure.error}"
    return next((action.reason for action in actions), "")


def _words(action: Action) -> str:
    return action.reason if isinstance(action, Wait) else f"{action.verb}: {action.reason}"
