"""An upgrade without a gap: the new virtual machine is on and ready before the old one goes (BLUE_GREEN of vLCM 9.1).

    UPGRADE_DEPLOY > (hook provisioned) > NEW_POWERING_ON > (hook poweredOn) > NEW_WAIT_HEARTBEAT > OLD_OFF > OLD_DELETE

Part of the decision in ``machine``, and as pure. A new machine that somebody switches off meanwhile is switched on
again.
"""

from __future__ import annotations

from contrail_vsphere.simulator.eam.outcomes import WAIT, Do, Go, Outcome, Raise
from contrail_vsphere.simulator.eam.situation import Phase, Situation


def powering_on(s: Situation) -> Outcome:
    """The new one, while the old one runs."""
    then = Phase.NEW_HOOK_POWERED_ON if s.hook_after_power_on else Phase.NEW_WAIT_HEARTBEAT
    return _gone(s) or Do("power-on-new", then, Phase.NEW_POWERING_ON)


def hook_powered_on(s: Situation) -> Outcome:
    """The solution prepares the new one."""
    if outcome := _gone(s) or _down(s):
        return outcome
    if not s.hook_after_power_on:
        return Go(Phase.NEW_WAIT_HEARTBEAT)
    return Raise(("VmHookTimedout",), s.phase) if s.hook_state == "timed-out" else WAIT


def wait_heartbeat(s: Situation) -> Outcome:
    """Then the old one is not needed any more."""
    return _gone(s) or _down(s) or (Go(Phase.OLD_OFF) if s.new_heartbeat else WAIT)


def before_old_goes(s: Situation) -> Outcome | None:
    """The old one stays as long as the new one does not run."""
    if not s.blue_green:
        return None
    return WAIT if s.new_vm == "inaccessible" else _down(s)


def after_old_went(s: Situation) -> Phase | None:
    """The new one is *the* one; None where it has still to be powered on."""
    return Phase.WAIT_HEARTBEAT if s.blue_green and s.new_vm == "on" else None


def _gone(s: Situation) -> Outcome | None:
    if s.new_vm == "none":
        return Raise(("VmNotDeployed",), Phase.UPGRADE_PRECHECK)
    if not s.new_vm_current:
        return Go(Phase.DROP_NEW)
    return WAIT if s.new_vm == "inaccessible" else None


def _down(s: Situation) -> Outcome | None:
    return Go(Phase.NEW_POWERING_ON) if s.new_vm in {"off", "suspended"} else None
