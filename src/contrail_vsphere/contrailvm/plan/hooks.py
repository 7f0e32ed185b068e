"""The rules at EAM's hooks, where a ContrailVM waits for us.

``provisioned`` and ``prePowerOn``: the VM exists and is off, and if somebody powered it on it is powered off again: the
one it is to replace may run yet, and a host has one vRouter. Its NICs go to the networks of their roles, its
reservations are set, a fresh bootstrap token is put in, and only when vCenter shows all that may EAM go on.
``poweredOn``: the VM runs. EAM may go on, which opens the host for tenants, only when the vRouter forwards and is
synced.
There is no time-out that opens a host: a deadline that passes is an alarm.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Desired
from contrail_vsphere.contrailvm.networks import nic_changes, wanted_networks
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    Alarm,
    GiveUpHook,
    Hold,
    MarkAsAvailable,
    NicChange,
    PowerOffContrailVm,
    ReconfigureVm,
    RestartContrailVm,
    Wait,
)
from contrail_vsphere.contrailvm.plan.policy import policy_for
from contrail_vsphere.contrailvm.plan.rollout import plan_turn
from contrail_vsphere.contrailvm.rollout.view import is_outdated, waits_for_turn
from contrail_vsphere.model.eam import EsxAgent, VmHook
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.model.inventory import VirtualMachine

MARK_SETTLE = 20.0
"""Seconds EAM is given to leave a hook before it is told again (MarkAsAvailable may be repeated)."""

HOOK_ISSUES = frozenset({"VmHookFailed", "VmHookTimedout"})
"""Of a host that was given up itself: two such hosts would give each other up in turn."""

SHOWN_WITHIN = 20.0
"""Seconds vCenter is given to show a reconfiguration before it is done again."""

OFF_WITHIN = 3.0
"""Seconds vCenter is given to show that a ContrailVM was powered off before it is done again."""


def plan_hook(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """What a ContrailVM that waits in a hook needs next."""
    agent, hook = view.agent, view.hook
    if agent is None or hook is None:
        return ()
    released = view.record.released
    told = released is not None and (released.vm, released.hook) == (hook.vm, hook.state)
    early = _too_early(desired, observed, view, agent, told=told)
    if early:
        return early
    # A ContrailVM that is powered on again soon after it was released is in a new hook, of which EAM was told nothing.
    if told and released is not None and released.at >= view.hook_since:
        until = released.at + MARK_SETTLE
        if observed.now < until:
            return (Wait(host=view.host.id, reason=f"EAM was told to go on after hook {hook.state}", until=until),)
    if hook.state == "poweredOn":
        return _powered_on(desired, observed, view, agent, hook)
    return _prepare(desired, observed, view, agent, hook)


def _too_early(
    desired: Desired, observed: Observed, view: HostView, agent: EsxAgent, *, told: bool
) -> tuple[Action, ...]:
    """It runs, or was suspended, before it is its time, which only a user can have done: EAM waits for us.

    Once EAM was ``told`` to go on it powers the VM on itself, but not beside the one before.
    """
    hook, vm, old = view.hook, view.hook_vm, view.vm
    if hook is None or hook.state == "poweredOn" or vm is None or vm.power not in ("poweredOn", "suspended"):
        return ()
    beside = old is not None and old.id != vm.id and old.host == vm.host and old.power == "poweredOn"
    if told and not beside:
        return ()
    host, repair = view.host.id, desired.repair
    reason = f"{vm.name} was powered on before {observed.keeper} and its host were ready for it"
    if beside and old is not None:
        reason = f"{vm.name} was powered on while {old.name} still forwards; a host has one vRouter"
    tries = view.record.tried("power-off", since=observed.now - repair.window, what=str(vm.id))
    if tries and observed.now < tries[-1].at + OFF_WITHIN:
        return (Wait(host=host, reason=reason, until=tries[-1].at + OFF_WITHIN),)
    again: tuple[Action, ...] = ()
    if sum(not each.open for each in tries) >= repair.attempts:
        often = f"{vm.name} is powered on again and again before its time; find out who, or what, does that"
        again = (Alarm(host=host, cause="vm.early", reason=often),)
    return (PowerOffContrailVm(host=host, agent=agent.id, vm=vm.id, reason=reason), *again)


def _prepare(desired: Desired, observed: Observed, view: HostView, agent: EsxAgent, hook: VmHook) -> tuple[Action, ...]:
    host, vm = view.host.id, view.hook_vm
    turn = hold_back(desired, observed, view)
    if turn:
        return _make_way(desired, observed, view, turn) or turn
    if vm is None or not vm.nics:
        return (Wait(host=host, reason=f"the new ContrailVM ({hook.vm}) is not in the inventory yet"),)
    unattached = [role for role, network in wanted_networks(desired, observed) if network is None]
    if unattached:
        return (Wait(host=host, reason=f"the {' and '.join(unattached)} network comes first"),)
    nics, cpu, memory = vm_changes(desired, observed, vm, host=host)
    prepared = view.record.prepared
    done = prepared is not None and (prepared.vm, prepared.hook) == (hook.vm, hook.state)
    changes = bool(nics) or cpu is not None or memory is not None
    if done and not changes:
        return (
            MarkAsAvailable(
                host=host,
                agent=agent.id,
                vm=hook.vm,
                hook=hook.state,
                reason="NICs, reservations and token are in place",
            ),
        )
    if done and prepared is not None and observed.now < prepared.at + SHOWN_WITHIN:
        wait = "vCenter does not show the new NICs and reservations yet"
        return (Wait(host=host, reason=wait, until=prepared.at + SHOWN_WITHIN),)
    repair = desired.repair
    tries = view.record.counted("reconfigure", since=observed.now - repair.window, what=f"{hook.state} {hook.vm}")
    if len(tries) >= repair.attempts:
        reason = f"{vm.name} was reconfigured {len(tries)} times and still shows {_in_words(nics, cpu, memory)}"
        return (Hold(host=host, reason=reason),)
    return (
        ReconfigureVm(
            host=host,
            agent=agent.id,
            vm=hook.vm,
            hook=hook.state,
            nics=nics,
            cpu_mhz=cpu,
            memory_mb=memory,
            pci=desired.pci,
            lock_memory=desired.special,
            token=True,
            reason=f"hook {hook.state}: {_in_words(nics, cpu, memory)}bootstrap token",
        ),
    )


def _make_way(desired: Desired, observed: Observed, view: HostView, turn: tuple[Action, ...]) -> tuple[Action, ...]:
    """Who waits in a hook of vLCM keeps it from those it waits for; it is told of this host again in its turn."""
    agent, hook = view.agent, view.hook
    first = others_wait(desired, observed, view) if all(isinstance(each, Wait) for each in turn) else ""
    if not first or agent is None or hook is None:
        return ()
    reason = f"it is not its turn, and until vLCM gives it up vLCM does nothing for {first}"
    return (GiveUpHook(host=view.host.id, agent=agent.id, vm=hook.vm, hook=hook.state, reason=reason),)


def hold_back(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """While a package is replaced the others wait in the hook, their old VM forwards on; empty when it may go on."""
    if not waits_for_turn(view):
        return ()
    by_rollout = plan_turn(desired, observed, view)
    if by_rollout is not None:
        return by_rollout
    reason = _not_its_turn(observed, view)
    return (Wait(host=view.host.id, reason=reason),) if reason else ()


def _not_its_turn(observed: Observed, view: HostView) -> str:
    """Without a rollout (a host that was away, a redeployment that EAM began by itself): one at a time, by name."""
    earlier, begun = True, view.hook is not None
    for other in observed.hosts:
        if other.host.id == view.host.id:
            earlier = False
        elif other.agent is None or not other.reachable or other.host.in_maintenance or other.record.hold:
            continue
        elif waits_for_turn(other):
            # Who stands in the hook was begun before those that vLCM has yet to be told of.
            if earlier and not (begun and is_outdated(other)):
                return f"{other.host.name} is replaced first; the old ContrailVM goes on forwarding"
        elif other.agent.status != "green" and not _is_kept_down(observed, view, other):
            return f"{other.host.name} comes up first; the old ContrailVM goes on forwarding"
    return ""


def _is_kept_down(observed: Observed, view: HostView, other: HostView) -> bool:
    """The other needs an apply, and vLCM begins none before this hook is over: each would wait for the other."""
    return observed.keeper == "vLCM" and view.hook is not None and other.hook is None and bool(other.issues)


def _powered_on(
    desired: Desired, observed: Observed, view: HostView, agent: EsxAgent, hook: VmHook
) -> tuple[Action, ...]:
    host, vrouter = view.host.id, view.vrouter
    if _has_expired(observed, view) and _may_restart(desired, observed, view):
        # It forwards on what it was told last, and would be told nothing more. No tenant is on the host yet.
        return plan_restart(desired, observed, view, hook.vm, why="its certificate expired while it was off")
    if vrouter is not None and vrouter.ready and vrouter.asked_at >= view.hook_since:
        reason = "the vRouter forwards and all its ports are plugged"
        return (MarkAsAvailable(host=host, agent=agent.id, vm=hook.vm, hook=hook.state, reason=reason),)
    missing = vrouter.reason if vrouter is not None and vrouter.reason else "the vRouter was not heard of yet"
    waiting = others_wait(desired, observed, view)
    if waiting and observed.now >= view.hook_since + desired.repair.forwarding_grace:
        reason = f"{missing}; until vLCM gives this host up it does nothing for {waiting}"
        return (GiveUpHook(host=host, agent=agent.id, vm=hook.vm, hook=hook.state, reason=reason),)
    deadline = view.hook_since + desired.repair.hook_deadline
    if observed.now < deadline:
        return (Wait(host=host, reason=f"tenants wait until the vRouter forwards: {missing}", until=deadline),)
    waited = int(observed.now - view.hook_since)
    forwards = vrouter is not None and vrouter.forwards and vrouter.asked_at >= view.hook_since
    what = "the plugin has not plugged the host's ports" if forwards else "the vRouter does not forward"
    alarm = Alarm(
        host=host,
        cause="vrouter.deadline",
        reason=f"{what} {waited} s after power-on: {missing}; the host stays closed for tenants",
    )
    restart = plan_restart(desired, observed, view, hook.vm, why="it never came up")
    return (alarm, *(each for each in restart if not isinstance(each, Hold)))


def _has_expired(observed: Observed, view: HostView) -> bool:
    """Its certificate, that is."""
    return 0 < view.record.certified_until <= observed.now


def _may_restart(desired: Desired, observed: Observed, view: HostView) -> bool:
    """Once: a package of before, whose guest does not take the token then, must not keep its host closed."""
    repair = desired.repair
    return repair.automatic and not view.record.tried("restart", since=observed.now - repair.restart_window)


def others_wait(desired: Desired, observed: Observed, view: HostView) -> str:
    """A host for which vLCM is to do something, empty if none: it begins nothing while a hook is open anywhere."""
    if observed.agency is None or observed.agency.backend != "system-vm":
        return ""
    for other in observed.hosts:
        if other.host.id == view.host.id or other.agent is None or other.record.hold is not None:
            continue
        if not other.reachable or other.host.in_maintenance is not False or other.hook is not None:
            continue
        kinds = {each.issue.type for each in other.issues}
        broken = any(policy_for(each).handling == "resolve" for each in kinds) and not kinds & HOOK_ISSUES
        due = other.agent.unapplied and not hold_back(desired, observed, other)
        if due or (broken and desired.repair.automatic):
            return other.host.name
    return ""


def plan_restart(desired: Desired, observed: Observed, view: HostView, vm: VmId, *, why: str) -> tuple[Action, ...]:
    """Restart the ContrailVM, so many times an hour, then hold. Without a certificate that is good it gets a token."""
    repair, host, agent = desired.repair, view.host.id, view.agent
    if agent is None or not repair.automatic:
        return (Wait(host=host, reason="automatic repair is off"),)
    tries = view.record.tried("restart", since=observed.now - repair.restart_window)
    counted = view.record.counted("restart", since=observed.now - repair.restart_window)
    if len(counted) >= repair.restarts:
        reason = (
            f"the ContrailVM was restarted {len(counted)} times in {int(repair.restart_window / 60)} minutes and {why}"
        )
        return (Hold(host=host, reason=reason),)
    pause = max(repair.forwarding_grace, repair.hook_deadline)
    if tries and observed.now < tries[-1].at + pause:
        return (Wait(host=host, reason="the ContrailVM was restarted", until=tries[-1].at + pause),)
    target = view.hook_vm if view.hook else view.vm
    if target is None or target.id != vm:
        return (Wait(host=host, reason=f"the ContrailVM ({vm}) is not in the inventory"),)
    expired = 0 < view.record.certified_until <= observed.now
    fresh = view.record.enrolled != target.id or expired
    return (
        RestartContrailVm(host=host, agent=agent.id, vm=target.id, token=fresh, reason=f"the vRouter is down: {why}"),
    )


def vm_changes(
    desired: Desired, observed: Observed, vm: VirtualMachine, *, host: HostId | None = None
) -> tuple[tuple[NicChange, ...], int | None, int | None]:
    """NICs to attach, CPU reservation (MHz) and memory reservation (MB) to set; None where they are right.

    The deployment's word goes over the package's, be it more or less. ``host``: the VM is off and gets its addresses.
    """
    wanted = desired.reservation
    cpu = wanted.cpu_mhz if wanted.cpu_mhz and vm.cpu_mhz_reserved != wanted.cpu_mhz else None
    memory = min(wanted.memory_mb, vm.memory_mb or wanted.memory_mb)
    if desired.special:
        memory = vm.memory_mb
    return (
        nic_changes(desired, observed, vm, host=host),
        cpu,
        memory if memory and vm.memory_mb_reserved != memory else None,
    )


def plan_drift(desired: Desired, observed: Observed, view: HostView) -> tuple[Action, ...]:
    """A running ContrailVM whose NICs or reservations somebody changed is put right while it runs."""
    vm, agent = view.vm, view.agent
    if vm is None or agent is None or not vm.nics:
        return ()
    nics, cpu, memory = vm_changes(desired, observed, vm)
    # More than is due does no harm to a ContrailVM, and vCenter raises it itself for some kinds of devices.
    cpu = cpu if cpu is not None and vm.cpu_mhz_reserved < cpu else None
    memory = memory if memory is not None and vm.memory_mb_reserved < memory else None
    if not nics and cpu is None and memory is None:
        return ()
    repair = desired.repair
    what = f"{_in_words(nics, cpu, memory)}put right"
    tries = view.record.tried("reconfigure", since=observed.now - repair.window, what=f"drift {vm.id}")
    if tries and observed.now < tries[-1].at + SHOWN_WITHIN:
        return (Wait(host=view.host.id, reason=what, until=tries[-1].at + SHOWN_WITHIN),)
    counted = view.record.counted("reconfigure", since=observed.now - repair.window, what=f"drift {vm.id}")
    if len(counted) >= repair.attempts:
        return (Hold(host=view.host.id, reason=f"{what} {len(counted)} times, and changed again each time"),)
    return (
        ReconfigureVm(
            host=view.host.id,
            agent=agent.id,
            vm=vm.id,
            hook=None,
            nics=nics,
            cpu_mhz=cpu,
            memory_mb=memory,
            reason=what,
        ),
    )


def _in_words(nics: tuple[NicChange, ...], cpu: int | None, memory: int | None) -> str:
    parts = [f"{change.role} NIC" for change in nics]
    parts += [f"{cpu} MHz reserved"] if cpu is not None else []
    parts += [f"{memory} MB reserved"] if memory is not None else []
    return "".join(f"{part}, " for part in parts)
