"""What happens next to one EsxAgent: pure, from a situation to one decision.

    PRECHECK > (VIB) > DEPLOYING > (hook provisioned) > POWERING_ON > (hook poweredOn) > WAIT_HEARTBEAT > STEADY
    STEADY, other package > UPGRADE_PRECHECK > UPGRADE_DEPLOY > (hook provisioned) > OLD_OFF > OLD_DELETE
                          > (hook prePowerOn) > POWERING_ON > ...      (or, with no gap: ``blue_green``)
    goal disabled > POWERING_OFF > OFF           out of scope, uninstalled > REMOVE_OFF > DELETING > GONE
    host enters maintenance mode > MAINTENANCE > POWERING_ON > ...

A decision moves the phase, raises and clears issues, and names at most one operation to run. The caller commits the
first three, runs the operation, commits the phase that follows, and asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from contrail_vsphere.simulator.eam import blue_green
from contrail_vsphere.simulator.eam.issues import NOT_BLOCKING, RULES
from contrail_vsphere.simulator.eam.outcomes import WAIT, Decision, Do, Go, Outcome, Raise, Wait
from contrail_vsphere.simulator.eam.situation import NEW, RUNNING, Phase, Situation
from contrail_vsphere.simulator.eam.vib_steps import vib_step

REMOVAL_ISSUES: Final = frozenset(
    {"VmDeployed", "VmProtected", "HostInMaintenanceMode", "HostInPartialMaintenanceMode", "HostInStandbyMode"}
) | {name for name in RULES if name.startswith(("Vib", "Immediate", "personality.agent."))}
"""Issues that can keep an EsxAgent from being removed."""


def decide(s: Situation) -> Decision:
    """The next step; deciding again in the situation that it leads to without an operation changes nothing."""
    before = s.issues
    cleared = _cleared(s)
    s = replace(s, issues=s.issues - cleared, phase=_phase_after(cleared, s))
    for _ in range(2 * len(Phase)):
        match _next(s):
            case Go(phase):
                s = replace(s, phase=phase)
            case Raise(types, phase):
                new = tuple(name for name in types if name not in before)
                return Decision(phase=phase, raised=new, cleared=cleared - frozenset(types))
            case Do() as do:
                return Decision(phase=s.phase, cleared=cleared, do=do)
            case Wait():
                return Decision(phase=s.phase, cleared=cleared)
    raise AssertionError(f"no decision in {s} (issues before: {sorted(before)})")


def status(phase: Phase, issues: frozenset[str], *, in_maintenance: str) -> str:
    """``green``, ``yellow`` or ``red`` of one EsxAgent."""
    if issues:
        return "red"
    if phase is Phase.MAINTENANCE:
        return in_maintenance
    return "green" if phase in {Phase.STEADY, Phase.OFF} else "yellow"


def _cleared(s: Situation) -> frozenset[str]:
    if s.leaving:
        kept = {"VmOrphaned", *({"HostNotReachable"} if s.host == "unreachable" else ())}
        if s.phase in {Phase.REMOVE_OFF, Phase.DELETING}:
            kept |= {name for name in REMOVAL_ISSUES if not RULES[name].clears(s)}
        return s.issues - kept
    seen = replace(s, vm=s.new_vm, vm_current=s.new_vm_current) if s.phase in NEW else s
    return frozenset(name for name in s.issues if RULES[name].clears(seen))


def _phase_after(cleared: frozenset[str], s: Situation) -> Phase:
    """A virtual machine that went down with its host, or with maintenance mode, is nobody's mistake.

    But one wrong power state that gave way to another is: it must be raised anew, not healed on the way.
    """
    if s.leaving:
        return s.phase
    if s.goal == "enabled" and s.subject == "off":
        if "VmPoweredOff" in cleared and s.host == "maintenance":
            return Phase.MAINTENANCE
        if "HostNotReachable" in cleared and s.phase in RUNNING and s.host == "ready":
            return Phase.POWERING_ON
    if s.goal == "enabled" and cleared & {"VmPoweredOff", "VmSuspended"} and s.subject in {"off", "suspended"}:
        return Phase.HOOK_POWERED_ON
    if s.goal == "disabled" and cleared & {"VmPoweredOn", "VmSuspended"} and s.subject in {"on", "suspended"}:
        return Phase.OFF
    return s.phase


def _next(s: Situation) -> Outcome:
    if s.leaving:
        return _leave(s)
    if s.host in {"unreachable", "gone"}:
        return Raise(("HostNotReachable",), s.phase) if "HostNotReachable" not in s.issues else WAIT
    if s.issues - NOT_BLOCKING:
        return WAIT
    moved = tuple(name for name in s.misplaced if name not in s.issues)
    return Raise(moved, s.phase) if moved else _held_up(s, _HANDLERS[s.phase](s))


def _held_up(s: Situation, outcome: Outcome) -> Outcome:
    """Partial maintenance mode (a live patch of the host) forbids every operation."""
    if s.host == "partial" and isinstance(outcome, Do) and outcome.operation != "forget":
        return Raise(("HostInPartialMaintenanceMode",), s.phase)
    return outcome


# -- deployment ---------------------------------------------------------------------------------------------------


def _precheck(s: Situation) -> Outcome:
    if s.held:
        return WAIT
    step = vib_step(s)
    if step is not None:
        return step
    if s.subject != "none" and (s.has_package or s.manual):
        return Go(Phase.POWERING_ON)
    if s.manual:
        return WAIT
    if not s.has_package:
        return Go(Phase.STEADY)
    return _obstacle(s) or Go(Phase.DEPLOYING)


def _obstacle(s: Situation) -> Outcome | None:
    """What keeps a virtual machine from being deployed."""
    if s.disabled:
        return WAIT
    if s.host == "standby":
        # The issue must name a virtual machine; where there is none yet EAM just waits.
        return WAIT if s.subject == "none" else Raise(("HostInStandbyMode",), s.phase)
    if s.host == "maintenance":
        return Raise(("VmRequiresHostOutOfMaintenanceMode",), s.phase)
    return Raise(s.problems, s.phase) if s.problems else None


def _deploying(s: Situation) -> Outcome:
    if s.held or s.manual or not s.has_package or s.subject != "none" or _obstacle(s) is not None:
        return Go(Phase.PRECHECK)
    then = Phase.HOOK_PROVISIONED if s.hook_after_provisioning else _towards_goal(s)
    return Do("deploy", then, Phase.PRECHECK)


def _towards_goal(s: Situation) -> Phase:
    return Phase.POWERING_ON if s.goal == "enabled" else Phase.OFF


def _hook_provisioned(s: Situation) -> Outcome:
    if s.vm == "none":
        return Raise(("VmNotDeployed",), Phase.PRECHECK)
    if not s.vm_current:
        return Go(Phase.DISCARD)
    return _hook(s) if s.hook_after_provisioning else Go(_towards_goal(s))


def _hook(s: Situation) -> Outcome:
    """Wait for the solution; System VMs not for ever."""
    return Raise(("VmHookTimedout",), s.phase) if s.hook_state == "timed-out" else WAIT


def _discard(s: Situation) -> Outcome:
    return Do("discard", Phase.PRECHECK, Phase.DISCARD)


# -- running ------------------------------------------------------------------------------------------------------


def _powering_on(s: Situation) -> Outcome:
    if s.unmonitored:
        return Go(Phase.STEADY if s.subject != "none" else Phase.PRECHECK)
    if s.goal != "enabled":
        return Go(Phase.POWERING_OFF)
    if s.subject == "none":
        return _missing(s)
    if s.subject == "inaccessible":
        return Raise(("VmInaccessible",), s.phase)
    if s.as_template:
        return Raise(("VmMarkedAsTemplate",), s.phase)
    if not s.subject_current:
        return Go(Phase.UPGRADE_PRECHECK)
    if s.subject != "on":
        if s.disabled:
            return WAIT
        if s.host == "standby":
            return Raise(("HostInStandbyMode",), s.phase)
        if s.host == "maintenance":
            return Raise(("HostInMaintenanceMode",), s.phase)
    then = Phase.HOOK_POWERED_ON if s.hook_after_power_on else Phase.WAIT_HEARTBEAT
    return Do("power-on", then, Phase.POWERING_ON)


def _missing(s: Situation) -> Outcome:
    """Deleted by somebody; one that the solution provisions itself is waited for."""
    return Go(Phase.PRECHECK) if s.manual else Raise(("VmNotDeployed",), Phase.PRECHECK)


def _amiss(s: Situation) -> Outcome | None:
    """What a person, or the world, may have done to a virtual machine that should be running."""
    if s.goal != "enabled":
        return Go(Phase.POWERING_OFF)
    if not s.has_package and not s.manual:
        return Go(Phase.DISCARD)
    if s.subject == "none":
        return _missing(s)
    if s.subject == "inaccessible":
        return Raise(("VmInaccessible",), s.phase)
    if s.subject == "off":
        if s.host == "maintenance":
            return Go(Phase.MAINTENANCE)
        if s.restarting:
            return Go(Phase.POWERING_ON)
        return Raise(("VmMarkedAsTemplate" if s.as_template else "VmPoweredOff",), Phase.POWERING_ON)
    if s.subject == "suspended":
        return Raise(("VmSuspended",), Phase.POWERING_ON)
    step = vib_step(s)
    if step is not None:
        return step
    if not s.subject_current:
        return Go(Phase.UPGRADE_PRECHECK)
    if not s.properties_current:
        return Do("reconfigure", s.phase, s.phase)
    return None


def _hook_powered_on(s: Situation) -> Outcome:
    return _amiss(s) or (_hook(s) if s.hook_after_power_on else Go(Phase.WAIT_HEARTBEAT))


def _wait_heartbeat(s: Situation) -> Outcome:
    return _amiss(s) or (Go(Phase.STEADY) if s.heartbeat else WAIT)


def _steady(s: Situation) -> Outcome:
    if s.unmonitored:
        return WAIT if s.subject != "none" else Go(Phase.PRECHECK)
    if not s.has_package and s.subject == "none" and not s.manual:
        return vib_step(s) or WAIT
    return _amiss(s) or (Go(Phase.WAIT_HEARTBEAT) if s.minds_heartbeat and not s.heartbeat else WAIT)


def _maintenance(s: Situation) -> Outcome:
    if s.goal != "enabled":
        return Go(Phase.POWERING_OFF)
    if s.subject == "none":
        return _missing(s)
    step = vib_step(s)
    if step is not None:
        return step
    if s.host == "ready" or s.subject == "on":
        return Go(Phase.POWERING_ON)
    if not s.subject_current:
        return Raise(("VmRequiresHostOutOfMaintenanceMode",), s.phase)
    return Raise(("HostInMaintenanceMode",), s.phase) if s.maintenance_is_issue else WAIT


def _powering_off(s: Situation) -> Outcome:
    if s.goal == "enabled":
        return Go(Phase.POWERING_ON)
    if s.subject == "none":
        return _missing(s)
    if s.subject == "off":
        return Go(Phase.OFF)
    return Do("power-off", Phase.OFF, Phase.POWERING_OFF)


def _off(s: Situation) -> Outcome:
    if s.goal == "enabled":
        return Go(Phase.POWERING_ON)
    if s.subject == "none":
        return _missing(s)
    if s.subject in {"on", "suspended"}:
        return Raise(("VmPoweredOn",) if s.subject == "on" else ("VmSuspended",), Phase.POWERING_OFF)
    step = vib_step(s)
    if step is not None:
        return step
    if not s.subject_current:
        return Go(Phase.UPGRADE_PRECHECK)
    return WAIT if s.properties_current else Do("reconfigure", Phase.OFF, Phase.OFF)


# -- upgrade ------------------------------------------------------------------------------------------------------


def _upgrade_precheck(s: Situation) -> Outcome:
    if s.subject == "none":
        return Go(Phase.PRECHECK)
    if s.subject_current:
        if s.goal != "enabled":
            return Go(Phase.POWERING_OFF)
        return Go(Phase.WAIT_HEARTBEAT if s.marked or not s.hook_after_power_on else Phase.HOOK_POWERED_ON)
    return _obstacle(s) or Go(Phase.UPGRADE_DEPLOY)


def _upgrade_deploy(s: Situation) -> Outcome:
    if s.subject_current or _obstacle(s) is not None:
        return Go(Phase.UPGRADE_PRECHECK)
    then = Phase.UPGRADE_PROVISIONED if s.hook_after_provisioning else after_provisioning(blue_green=s.blue_green)
    return Do("deploy-new", then, Phase.UPGRADE_PRECHECK)


def _upgrade_provisioned(s: Situation) -> Outcome:
    if s.new_vm == "none":
        return Raise(("VmNotDeployed",), Phase.UPGRADE_PRECHECK)
    if not s.new_vm_current:
        return Go(Phase.DROP_NEW)
    return _hook(s) if s.hook_after_provisioning else Go(after_provisioning(blue_green=s.blue_green))


def after_provisioning(*, blue_green: bool) -> Phase:
    """Where an upgrade goes on once the new virtual machine is there."""
    return Phase.NEW_POWERING_ON if blue_green else Phase.OLD_OFF


def _drop_new(s: Situation) -> Outcome:
    return Do("delete-new", Phase.UPGRADE_PRECHECK, Phase.DROP_NEW)


def _old_off(s: Situation) -> Outcome:
    if s.new_vm == "none":
        return Raise(("VmNotDeployed",), Phase.UPGRADE_PRECHECK)
    if not s.new_vm_current:
        return Go(Phase.DROP_NEW)
    if s.vm != "none" and (outcome := blue_green.before_old_goes(s)):
        return outcome
    if s.vm in {"none", "off"}:
        return Go(Phase.OLD_DELETE)
    return Do("power-off-old", Phase.OLD_DELETE, Phase.OLD_OFF)


def _old_delete(s: Situation) -> Outcome:
    if s.vm == "none":
        hook = s.hook_after_provisioning and s.pre_power_on_hook
        if running := blue_green.after_old_went(s):
            return Go(running)
        return Go(Phase.HOOK_PRE_POWER_ON if hook else _towards_goal(s))
    return Do("delete-old", Phase.OLD_DELETE, Phase.OLD_DELETE)


def _hook_pre_power_on(s: Situation) -> Outcome:
    if s.subject == "none":
        return Raise(("VmNotDeployed",), Phase.PRECHECK)
    if not s.subject_current:
        return Go(Phase.DISCARD)
    return _hook(s) if s.hook_after_provisioning and s.pre_power_on_hook else Go(_towards_goal(s))


# -- removal ------------------------------------------------------------------------------------------------------


def _leave(s: Situation) -> Outcome:
    if s.phase not in {Phase.REMOVE_OFF, Phase.DELETING, Phase.GONE}:
        return Go(Phase.REMOVE_OFF)
    emptied = s.vm == "none" and s.new_vm == "none"
    if s.manual or s.host == "gone" or (emptied and s.vib == "none" and not s.entered_by_eam):
        return Do("forget", Phase.GONE, Phase.REMOVE_OFF)
    if s.host == "unreachable":
        return Raise(("HostNotReachable",), s.phase) if "HostNotReachable" not in s.issues else WAIT
    if s.issues - NOT_BLOCKING:
        return WAIT
    if emptied:
        return _held_up(s, vib_step(s) or Do("forget", Phase.GONE, Phase.REMOVE_OFF))
    if s.host == "maintenance" and s.removal_waits_for_maintenance:
        return Raise(("HostInMaintenanceMode",), s.phase)
    if s.phase is Phase.REMOVE_OFF:
        return _held_up(s, Do("power-off-all", Phase.DELETING, Phase.REMOVE_OFF))
    return _held_up(s, Do("delete-all", Phase.DELETING, Phase.DELETING))


def _returned(s: Situation) -> Outcome:
    """Back in scope before it was gone."""
    return Go(Phase.PRECHECK if s.subject == "none" else _towards_goal(s))


_HANDLERS: Final[dict[Phase, Callable[[Situation], Outcome]]] = {
    Phase.PRECHECK: _precheck,
    Phase.DEPLOYING: _deploying,
    Phase.HOOK_PROVISIONED: _hook_provisioned,
    Phase.POWERING_ON: _powering_on,
    Phase.HOOK_POWERED_ON: _hook_powered_on,
    Phase.WAIT_HEARTBEAT: _wait_heartbeat,
    Phase.STEADY: _steady,
    Phase.MAINTENANCE: _maintenance,
    Phase.POWERING_OFF: _powering_off,
    Phase.OFF: _off,
    Phase.UPGRADE_PRECHECK: _upgrade_precheck,
    Phase.UPGRADE_DEPLOY: _upgrade_deploy,
    Phase.UPGRADE_PROVISIONED: _upgrade_provisioned,
    Phase.NEW_POWERING_ON: blue_green.powering_on,
    Phase.NEW_HOOK_POWERED_ON: blue_green.hook_powered_on,
    Phase.NEW_WAIT_HEARTBEAT: blue_green.wait_heartbeat,
    Phase.DROP_NEW: _drop_new,
    Phase.OLD_OFF: _old_off,
    Phase.OLD_DELETE: _old_delete,
    Phase.HOOK_PRE_POWER_ON: _hook_pre_power_on,
    Phase.DISCARD: _discard,
    Phase.REMOVE_OFF: _returned,
    Phase.DELETING: _returned,
    Phase.GONE: _returned,
}
