"""The rules that differ by who keeps the ContrailVMs: ESX Agent Manager, or vLCM as System VMs (vSphere 9). Pure.

A cluster starts with vLCM where it can and the deployment does not say otherwise. What EAM has stays with EAM until the
deployment says ``backend = "system-vm"``; then the agency is handed over as it stands, and there is no way back.

EAM brings all hosts to a new configuration at once and lets us hold them in a hook. vLCM brings none by itself, and its
hooks run out: so it is told of each host when that host's turn has come.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, ApplyToHosts, HandOver, Refetch, Wait
from contrail_vsphere.contrailvm.plan.hooks import hold_back
from contrail_vsphere.contrailvm.rollout.view import is_outdated
from contrail_vsphere.model.eam import Agency, AgencyConfig, Backend

LOOK_AGAIN = 10.0
"""Seconds until it is looked again whether a cluster has System VMs, or has come to rest."""


def choose_backend(desired: Desired, observed: Observed) -> Backend | Alarm | Wait:
    """Who is to keep the ContrailVMs of a cluster that has none yet."""
    why_not = observed.no_system_vms
    if desired.backend == "eam" or desired.vib is not None:
        # System VMs carry no VIBs.
        return "eam"
    if why_not is None:
        reason = "it is not known yet whether the cluster has System VMs"
        return Wait(reason=reason, until=observed.now + LOOK_AGAIN)
    if not why_not:
        return "system-vm"
    if desired.backend == "system-vm":
        return Alarm(cause="backend", reason=f"the deployment asks for System VMs, but {why_not}")
    return "eam"


def plan_hand_over(desired: Desired, observed: Observed, agency: Agency, wanted: AgencyConfig) -> tuple[Action, ...]:
    """From EAM to vLCM, when the deployment says so and nothing moves."""
    if agency.backend == "system-vm":
        if desired.backend != "eam":
            return ()
        reason = "vLCM has the ContrailVMs, and nothing leads back to EAM; remove the deployment here and apply it anew"
        return (Alarm(cause="backend", reason=reason),)
    if desired.backend != "system-vm":
        return ()
    if observed.no_system_vms:
        return (Alarm(cause="backend", reason=f"cannot be handed over to vLCM: {observed.no_system_vms}"),)
    held_up = _moving(observed)
    if observed.no_system_vms is None or held_up:
        reason = f"the hand-over to vLCM waits: {held_up or 'the cluster is being looked at'}"
        return (Wait(reason=reason, until=observed.now + LOOK_AGAIN),)
    reason = "the deployment is to be kept by vLCM; the ContrailVMs stay as they are"
    return (HandOver(agency=agency.id, config=wanted, reason=reason),)


def _moving(observed: Observed) -> str:
    """What must come to rest before a hand-over, empty if nothing."""
    if observed.rollout is not None and observed.rollout.rollout.active:
        return observed.rollout.progress
    for view in observed.hosts:
        if not view.reachable or view.host.in_maintenance is not False:
            continue
        issues = [each for each in view.issues if each.issue.type != "TransitionFailed"]
        if view.agent is None or view.hook is not None or issues or view.agent.status == "yellow":
            return f"{view.host.name} is not healthy yet"
    return ""


def same_but_handed_over(observed: Observed, other: Agency) -> bool:
    """An agency that EAM still shows although vLCM has its ContrailVMs already, or the other way round."""
    agency = observed.agency
    if agency is None or agency.backend == other.backend:
        return False
    return not {each.vm for each in agency.agents if each.vm}.isdisjoint({each.vm for each in other.agents if each.vm})


def wait_out(observed: Observed, other: Agency) -> Refetch:
    """One of two readings of the same ContrailVMs is old."""
    return Refetch(agency=other.id, reason=f"{observed.keeper} has these ContrailVMs now; reading again")


# -- applying -------------------------------------------------------------------------------------------------------


def plan_apply(desired: Desired, observed: Observed) -> tuple[Action, ...]:
    """Tell vLCM of every host whose turn has come, all in one apply: the next is refused until that is over."""
    if observed.failure is not None and observed.now < observed.failure.until:
        return ()
    return _apply(observed, [view for view in observed.hosts if _is_due(desired, observed, view)])


def plan_apply_removal(observed: Observed) -> tuple[Action, ...]:
    """A deleted solution leaves a host only by an apply, too."""
    if observed.agency is None or observed.agency.goal != "uninstalled":
        return ()
    return _apply(observed, [view for view in observed.hosts if _unapplied(view) and _open(observed, view)])


def plan_unapplied(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """What is said of a host that vLCM is yet to be told of."""
    held = hold_back(desired, observed, view)
    if held:
        return held
    what = "brings the ContrailVM to the newest configuration" if is_outdated(view) else "deploys the ContrailVM"
    return (Wait(host=view.host.id, reason=f"vLCM {what} when it is told to"),)


def _apply(observed: Observed, views: list[HostView]) -> tuple[Action, ...]:
    if observed.agency is None or not views:
        return ()
    names = ", ".join(view.host.name for view in views[:4]) + (" and others" if len(views) > 4 else "")
    hosts = tuple(view.host.id for view in views)
    return (ApplyToHosts(agency=observed.agency.id, hosts=hosts, reason=f"{names}: not at the newest configuration"),)


def _is_due(desired: Desired, observed: Observed, view: HostView) -> bool:
    return _unapplied(view) and _open(observed, view) and not hold_back(desired, observed, view)


def _unapplied(view: HostView) -> bool:
    return view.agent is not None and view.agent.unapplied and view.hook is None


def _open(observed: Observed, view: HostView) -> bool:
    """Something may be done to the host at all."""
    paused = view.failure is not None and observed.now < view.failure.until
    return view.record.hold is None and view.reachable and view.host.in_maintenance is False and not paused
