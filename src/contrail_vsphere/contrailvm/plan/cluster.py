"""The difference between what should be and what is, as actions with reasons. Pure: no I/O, no clock, no chance.

Read ``plan`` top to bottom and you have the manager's judgement:

1. Without a whole view of inventory and agencies nothing is judged.
2. An agency that no deployment names is shown and left alone, a paused one too; a removed deployment is taken down.
3. What the agency stands on (overlay trunk, resource pool) comes before it; then the rollout, the agency, and host by
   host.
4. On a host the first rule that has something to say decides: on hold, not connected, hook, maintenance, issue,
   progress, drift, forwarding. Nothing is ever done to a host that vCenter does not reach.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.networks import plan_pool, plan_trunk
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Alarm,
    CreateAgency,
    HandOver,
    Refetch,
    StopRollout,
    UpdateAgency,
    Wait,
)
from contrail_vsphere.contrailvm.plan.agency import (
    REFETCH_INTERVAL,
    plan_agency,
    plan_duplicates,
    plan_goal,
    plan_removal,
    plan_unclaimed,
)
from contrail_vsphere.contrailvm.plan.backend import plan_apply, plan_unapplied
from contrail_vsphere.contrailvm.plan.hooks import plan_drift, plan_hook
from contrail_vsphere.contrailvm.plan.policy import PAUSING_ISSUES, policy_for
from contrail_vsphere.contrailvm.plan.repair import plan_forwarding, plan_issues
from contrail_vsphere.contrailvm.plan.rollout import plan_rollout, plan_settings
from contrail_vsphere.contrailvm.quarantine import plan_strangers

STALE = 15.0
"""Seconds a contradiction between inventory and EAM may be due to lag before EAM is asked again less often."""


def plan(desired: Desired | None, observed: Observed) -> tuple[Action, ...]:
    """What to do now for one (deployment, cluster); empty when everything is as it should be."""
    if observed.blind:
        return (Wait(reason=observed.blind),)
    if desired is None:
        return plan_unclaimed(observed)
    if observed.record.paused:
        return (Wait(reason=f"paused by {observed.record.paused}"),)
    if desired.removed:
        return (*plan_removal(desired, observed), *_unblock_removal(desired, observed))
    if observed.cluster is None:
        reason = (
            f"cluster {desired.cluster_name} ({desired.key.cluster}) no longer exists; remove it from the deployment"
        )
        return (Alarm(cause="cluster.gone", reason=reason),)
    pausing = [seen.issue.type for seen in observed.agency_issues if seen.issue.type in PAUSING_ISSUES]
    if pausing:
        return (Wait(reason=policy_for(pausing[0]).advice),)
    ground = (
        *_agency_issues(observed),
        *plan_duplicates(observed),
        *plan_trunk(desired, observed),
        *plan_pool(desired, observed),
        *plan_strangers(desired, observed),
    )
    goal = plan_goal(observed)
    if goal:
        return (*ground, *goal)
    rollout = plan_rollout(desired, observed)
    if any(isinstance(action, StopRollout) for action in rollout):
        # What is desired is about to be something else.
        return (*ground, *rollout)
    agency = plan_agency(desired, observed)
    hosts = tuple(
        action
        for view in observed.hosts
        for action in (*plan_host(desired, observed, view), *_told_besides(observed, view))
    )
    # What is told to no host yet must be the newest configuration.
    settled = not any(isinstance(action, CreateAgency | UpdateAgency | HandOver) for action in agency)
    return (*ground, *rollout, *agency, *(plan_apply(desired, observed) if settled else ()), *hosts)


def _unblock_removal(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """EAM stops removing a ContrailVM at an issue and waits for Resolve, as it does while it deploys one."""
    if observed.agency is None or observed.agency.goal != "uninstalled":
        return ()
    stuck = (
        view
        for view in observed.hosts
        if view.issues and view.reachable and view.host.in_maintenance is False and view.record.hold is None
        if view.failure is None or observed.now >= view.failure.until
    )
    # What a person must know of them, plan_removal says.
    return tuple(
        action for view in stuck for action in plan_issues(desired, observed, view) if not isinstance(action, Alarm)
    )


def plan_host(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """What to do now for one host; the first rule that speaks decides."""
    if observed.agency is None:
        return ()
    host = view.host.id
    if view.record.hold is not None:
        return (Wait(host=host, reason=f"on hold: {view.record.hold.reason}"),)
    if not view.reachable:
        return (Wait(host=host, reason="vCenter does not reach the host; nothing is done until it is back"),)
    if view.failure is not None and observed.now < view.failure.until:
        failure = view.failure
        return (Wait(host=host, reason=f"{failure.what} failed: {failure.error}", until=failure.until),)
    if view.hook is not None:
        # In maintenance too: a host can only leave maintenance once EAM is past the hook.
        return plan_hook(desired, observed, view)
    if view.host.in_maintenance is not False:
        return (Wait(host=host, reason="the host is in maintenance; its ContrailVM comes back when it leaves"),)
    if view.agent is None:
        return _no_agent(observed, view)
    if view.agent.unapplied:
        return plan_unapplied(desired, observed, view)
    if view.issues:
        return plan_issues(desired, observed, view)
    if view.agent.status != "green":
        # A guest that hangs loses its heartbeat too: EAM is yellow, but it is not EAM who is at work.
        lost = plan_forwarding(desired, observed, view) if _was_opened(view) else ()
        return lost or _progress(desired, observed, view)
    return (
        _elsewhere(observed, view)
        or _lag(observed, view)
        or plan_drift(desired, observed, view)
        or plan_forwarding(desired, observed, view)
        or plan_settings(desired, observed, view)
    )


def _was_opened(view: HostView) -> bool:
    """The ContrailVM, this very one, was up and released to DRS before."""
    released = view.record.released
    return released is not None and released.hook == "poweredOn" and view.vm is not None and released.vm == view.vm.id


def _agency_issues(observed: Observed) -> tuple[Action, ...]:
    """Issues of the agency as a whole are for a person; those of its EsxAgents are answered host by host."""
    return tuple(
        Alarm(cause=f"issue.{seen.issue.type}", reason=f"{seen.issue.type}: {policy_for(seen.issue.type).advice}")
        for seen in observed.agency_issues
    )


def _no_agent(observed: Observed, view: HostView) -> tuple[Action, ...]:
    """EAM makes an EsxAgent for a host that joins; until its next read shows it, ask a little sooner than the poll."""
    agency = observed.agency
    if agency is not None and observed.now >= observed.read_at + STALE:
        return (Refetch(host=view.host.id, agency=agency.id, reason="the host has no EsxAgent yet"),)
    until = observed.read_at + STALE
    return (Wait(host=view.host.id, reason="EAM has not made an EsxAgent for the host yet", until=until),)


def _progress(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """EAM is at work. If that takes too long without a hook or an issue it is EAM that is stuck, not the ContrailVM."""
    deadline = view.agent_since + desired.repair.progress_deadline
    doing = "deploying" if view.vm is None else "starting" if view.vm.power == "poweredOn" else "preparing"
    if observed.now < deadline:
        return (Wait(host=view.host.id, reason=f"{observed.keeper} is {doing} the ContrailVM", until=deadline),)
    minutes = int((observed.now - view.agent_since) / 60)
    keeper = observed.keeper
    reason = f"{keeper} has been {doing} the ContrailVM for {minutes} minutes without saying why; look at {keeper}"
    return (Alarm(host=view.host.id, cause="eam.stuck", reason=reason),)


def _told_besides(observed: Observed, view: HostView) -> tuple[Action, ...]:
    """Whatever is done for the host, a person is to know."""
    return (*tell_of_snapshots(observed, view), *_tell_of_intruders(view))


def tell_of_snapshots(observed: Observed, view: HostView) -> tuple[Action, ...]:
    """Somebody made a snapshot of the ContrailVM. It is left alone; but going back to it brings an old identity back.

    Those that EAM made before the ContrailVM was first powered on, to clone others from, are its own.
    """
    vm = view.vm
    if vm is None or observed.agency is None:
        return ()
    built = view.record.build_of(vm.id)
    foreign = [each for each in vm.snapshots if built is None or each not in built.snapshots]
    if not foreign:
        return ()
    many = "a snapshot" if len(foreign) == 1 else f"{len(foreign)} snapshots"
    reason = (
        f"somebody made {many} of its ContrailVM {vm.name}; remove them: they grow, and going back to one brings back"
        " an old identity. To go back to an older version there is `contrailvm rollback`"
    )
    return (Alarm(host=view.host.id, cause="vm.snapshot", reason=reason),)


def _tell_of_intruders(view: HostView) -> tuple[Action, ...]:
    """Somebody had the token of this host's ContrailVM; whoever may read VMs' properties in vCenter can have it."""
    if not view.record.intruder:
        return ()
    reason = f"{view.record.intruder}; look who reads VMs' properties in vCenter, then `contrailvm resolve`"
    return (Alarm(host=view.host.id, cause="enrolment.intruder", reason=reason),)


def _elsewhere(observed: Observed, view: HostView) -> tuple[Action, ...]:
    """Somebody moved the ContrailVM, and EAM lets him. It serves neither host there; whoever moved it knows why."""
    vm = view.vm
    if vm is None or vm.host in (None, view.host.id):
        return ()
    other = next((each.host.name for each in observed.hosts if each.host.id == vm.host), vm.host)
    reason = f"its ContrailVM {vm.name} was moved to {other}; move it back, or delete it to have a new one deployed"
    return (Alarm(host=view.host.id, cause="vm.elsewhere", reason=reason),)


def _lag(observed: Observed, view: HostView) -> tuple[Action, ...]:
    """EAM says green but the inventory shows no running ContrailVM: EAM lags, or the inventory does. Read EAM again."""
    agent, agency = view.agent, observed.agency
    if agent is None or agency is None:
        return ()
    if view.vm is not None and view.vm.power in ("poweredOn", None):
        return ()
    what = "is not in the inventory" if view.vm is None else f"is {view.vm.power}"
    again = observed.read_at + REFETCH_INTERVAL
    if observed.now >= again:
        reason = f"{observed.keeper} says green, but the ContrailVM {what}; reading again"
        return (Refetch(host=view.host.id, agency=agency.id, reason=reason),)
    reason = f"{observed.keeper} says green, but the ContrailVM {what}; it is read again"
    return (Wait(host=view.host.id, reason=reason, until=again),)
