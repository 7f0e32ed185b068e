"""The rules of a rollout: who is given a turn, when a turn has passed or failed, and what a failure means.

A failure stops the rollout at once. Hosts that were not in turn still have their old ContrailVM, which never stopped
forwarding; giving EAM the old package again makes it drop the new ones beside them. That is the way back.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Alarm,
    EndTurn,
    FinishRollout,
    RestartContrailVm,
    StopRollout,
    TakeTurn,
    Wait,
)
from contrail_vsphere.contrailvm.plan.policy import policy_for
from contrail_vsphere.contrailvm.rollout.losses import asked_every, why_not_quiet
from contrail_vsphere.contrailvm.rollout.turns import Rollout, RolloutView
from contrail_vsphere.contrailvm.rollout.view import (
    gate_opens,
    is_current,
    is_serving,
    is_taken,
    needs_restart,
    waits_for_turn,
)

LOOK_AGAIN = 30.0
"""Seconds between two looks at a rollout that waits for something nobody tells of (a window, another cluster)."""
SETTLED = 60.0
"""Other vRouters must have forwarded that long, but no longer than a host is given, before a host's own failure is held
against the package."""
DROPPED_WITHIN = 60.0
"""Seconds in which an EAM that does not show its hooks has dropped the new ContrailVMs of a package taken back."""
PACKAGE_ISSUES = frozenset({"InvalidConfig"})
"""Besides those that block: vCenter cannot power on what was made from the package."""


def plan_rollout(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """What the rollout does next in this cluster, besides giving turns (``plan_turn``)."""
    view = observed.rollout
    if view is None or not view.rollout.active:
        return ()
    rollout = view.rollout
    failure = _failure(desired, observed, view) if rollout.state == "running" and rollout.kind == "upgrade" else ""
    if failure:
        return (_stop(view, failure),)
    ends = tuple(action for host in observed.hosts for action in _end_of_turn(desired, observed, view, host))
    gone = {host.host.id for host in observed.hosts}
    lost = tuple(
        EndTurn(host=turn.host, number=rollout.number, reason="the host has left the cluster")
        for turn in rollout.turns
        if turn.key == str(observed.key) and turn.host not in gone
    )
    if rollout.state == "running" and view.complete and is_taken(rollout, desired, observed):
        return (*ends, *lost, FinishRollout(number=rollout.number, reason=f"{view.progress}; it is over"))
    return (*ends, *lost, *_told(view))


def plan_turn(desired: Desired, observed: Observed, host: HostView) -> tuple[Action, ...] | None:
    """Before a host leaves the hook in which its old ContrailVM still forwards.

    Empty: it may go on. None: no rollout has a say.
    """
    view = observed.rollout
    if view is None or not view.rollout.active:
        return None
    rollout, who = view.rollout, host.host.id
    if _is_older(rollout, observed, host) or not is_taken(rollout, desired, observed):
        # This new ContrailVM was made from another package; EAM drops it once it has its configuration.
        reason = (
            f"the new ContrailVM is not {rollout.target}; {observed.keeper} replaces it, the old one goes on forwarding"
        )
        return (Wait(host=who, reason=reason, until=observed.now + LOOK_AGAIN),)
    if rollout.turn_of(observed.key, who) is not None:
        return ()
    if (observed.key, who) in view.granted():
        cost = "its tenants are cut off until the new ContrailVM forwards" if is_serving(host) else "it is down anyway"
        reason = f"{rollout.kind} to {rollout.goal}: it is its turn; {cost}"
        limited = host.vm is not None and host.vm.power == "poweredOn"
        limit = rollout.policy.concurrency if limited else None
        return (TakeTurn(host=who, number=rollout.number, limit=limit, reason=reason),)
    if rollout.state == "stopped" and host.vm is not None and host.vm.power != "poweredOn":
        return ()
    reason = f"{view.why_not(observed.key, who)}; the old ContrailVM goes on forwarding"
    return (Wait(host=who, reason=reason, until=observed.now + LOOK_AGAIN),)


def plan_settings(desired: Desired, observed: Observed, host: HostView) -> tuple[Action, ...]:
    """A ContrailVM reads its settings when it boots: it is restarted when its turn comes."""
    view, vm, agent = observed.rollout, host.vm, host.agent
    if view is None or vm is None or agent is None or not needs_restart(view.rollout, desired, observed, host):
        return ()
    turn = plan_turn(desired, observed, host)
    if turn or turn is None:
        return turn or ()
    fresh = host.record.enrolled != vm.id
    reason = f"{view.rollout.kind} to {view.rollout.goal}: it reads them when it boots"
    return (RestartContrailVm(host=host.host.id, agent=agent.id, vm=vm.id, token=fresh, reason=reason),)


def _is_older(rollout: Rollout, observed: Observed, host: HostView) -> bool:
    """The new ContrailVM was there before the rollout, so it was made from something else."""
    if host.hook is None:
        return False
    if host.agent is not None and host.agent.hook is None:
        # Where EAM does not show hooks nobody knows since when it waits; it drops what is old soon after the Update.
        sent = observed.record.sent
        return sent is not None and observed.now < sent.at + DROPPED_WITHIN
    return host.hook_since < rollout.began_at


def _told(view: RolloutView) -> tuple[Action, ...]:
    """The state of the rollout as a whole, for people."""
    if view.rollout.state == "stopped":
        reason = f"{view.progress}; {view.held_back}. Roll back, or resume to try again"
        return (Alarm(cause="rollout.stopped", reason=reason), Wait(reason=view.progress))
    why = f"; {view.held_back}" if view.held_back else ""
    return (Wait(reason=f"{view.progress}{why}", until=view.now + LOOK_AGAIN),)


def _stop(view: RolloutView, failure: str) -> StopRollout:
    back = view.rollout.policy.on_failure == "rollback"
    return StopRollout(number=view.rollout.number, roll_back=back, reason=failure)


def _end_of_turn(desired: Desired, observed: Observed, view: RolloutView, host: HostView) -> tuple[Action, ...]:
    rollout, who = view.rollout, host.host.id
    turn = rollout.turn_of(observed.key, who)
    if turn is None:
        return ()
    if not host.reachable or host.host.in_maintenance is not False:
        return (EndTurn(host=who, number=rollout.number, reason="the host is away; it follows when it is back"),)
    if host.vrouter is None or host.vm is None or not is_current(rollout, desired, observed, host):
        return ()
    gate = gate_opens(rollout, turn, host)
    if observed.now < gate:
        return (Wait(host=who, reason=f"{rollout.target} has to prove itself", until=gate),)
    noise = why_not_quiet(rollout, observed, host)
    if noise:
        return (Wait(host=who, reason=noise, until=observed.now + asked_every(rollout)),)
    reason = f"{rollout.target} forwards for {int(observed.now - host.vrouter.since)} s"
    return (EndTurn(host=who, number=rollout.number, vm=host.vm.id, reason=reason),)


def _failure(desired: Desired, observed: Observed, view: RolloutView) -> str:
    """Why the package is to blame, empty while it is not."""
    for host in observed.hosts:
        for seen in host.issues:
            kind, policy = seen.issue.type, policy_for(seen.issue.type)
            turn = view.rollout.turn_of(observed.key, host.host.id)
            blames = policy.handling == "block" or (turn is not None and kind in PACKAGE_ISSUES)
            if blames and seen.seen.reads >= policy.reads and seen.seen.since >= view.rollout.began_at:
                return f"{kind} on {host.host.name}: {seen.issue.description or policy.advice}"
        failure = _failed_turn(desired, observed, view, host)
        if failure:
            return failure
    return ""


def _failed_turn(desired: Desired, observed: Observed, view: RolloutView, host: HostView) -> str:
    rollout = view.rollout
    turn = rollout.turn_of(observed.key, host.host.id)
    if turn is None or not host.reachable or host.host.in_maintenance is not False:
        return ""
    if host.record.hold is not None and host.record.hold.since >= turn.since:
        return f"{host.host.name}: {host.record.hold.reason}"
    if waits_for_turn(host):
        return ""
    # A night without manager must not count: what happened then was not seen.
    began = max(turn.since, observed.watching_since)
    if is_current(rollout, desired, observed, host):
        late = max(began + rollout.policy.deadline, gate_opens(rollout, turn, host) + 2 * asked_every(rollout))
        missing = why_not_quiet(rollout, observed, host) if observed.now >= late else ""
        if not missing:
            return ""
    elif observed.now < began + rollout.policy.deadline or _others_are_down(observed, view, host):
        return ""
    else:
        missing = (host.vrouter.reason if host.vrouter is not None else "") or "no word from its vRouter"
    return f"{host.host.name} is not well {int(observed.now - began)} s after its turn began: {missing}"


def _others_are_down(observed: Observed, view: RolloutView, host: HostView) -> bool:
    """Most vRouters not in turn do not forward, or have just come back: the cause lies elsewhere."""
    settled = min(SETTLED, view.rollout.policy.deadline)
    others = [
        each
        for each in observed.hosts
        if each.host.id != host.host.id
        and each.reachable
        and each.vrouter
        and view.rollout.turn_of(observed.key, each.host.id) is None
    ]
    unwell = [
        each
        for each in others
        if each.vrouter and not (is_serving(each) and observed.now >= each.vrouter.since + settled)
    ]
    return len(others) > 1 and 2 * len(unwell) > len(others)
