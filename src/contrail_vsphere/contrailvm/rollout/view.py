"""How each host of a deployment stands in its rollout, read from what is observed of its cluster. Pure."""

from __future__ import annotations

from contrail_vsphere.contrailvm.desired import Build, Desired
from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.records import BuiltFrom
from contrail_vsphere.contrailvm.rollout.losses import why_not_quiet
from contrail_vsphere.contrailvm.rollout.turns import Rollout, Standing, Turn
from contrail_vsphere.model.inventory import VirtualMachine


def standings(rollout: Rollout, desired: Desired, observed: Observed) -> tuple[Standing, ...]:
    """Every host of one cluster."""
    return tuple(
        Standing(
            key=observed.key,
            host=view.host.id,
            name=view.host.name,
            current=is_current(rollout, desired, observed, view),
            serving=is_serving(view),
            waiting=waits_for_turn(view) or needs_restart(rollout, desired, observed, view),
            running=view.vm is not None and view.vm.power == "poweredOn",
            out=not view.reachable or view.host.in_maintenance is not False,
            proof=why_in_turn(rollout, desired, observed, view),
        )
        for view in observed.hosts
    )


def replaces(view: HostView) -> bool:
    """A new VM stands beside one that is still the host's ContrailVM."""
    return (
        view.agent is not None
        and view.hook is not None
        and view.agent.vm is not None
        and view.hook.vm != view.agent.vm
        and view.vm is not None
    )


def is_outdated(view: HostView) -> bool:
    """VLCM is yet to be told to bring the host, which has a ContrailVM, to the newest desired state."""
    return view.agent is not None and view.agent.unapplied and view.agent.vm is not None and view.hook is None


def waits_for_turn(view: HostView) -> bool:
    """In the hook where the old ContrailVM still forwards; with vLCM also before that."""
    in_hook = view.hook is not None and view.hook.state == "provisioned" and replaces(view)
    return in_hook or is_outdated(view)


def runs_now(view: HostView) -> VirtualMachine | None:
    """The ContrailVM that is to forward at present: in a hook the new one, unless it still waits for its turn."""
    return view.hook_vm if view.hook is not None and not waits_for_turn(view) else view.vm


def is_serving(view: HostView) -> bool:
    """The host's ContrailVM runs and forwards, whatever EAM is about to do with it."""
    vm, vrouter = runs_now(view), view.vrouter
    if vm is None or vrouter is None or vm.power != "poweredOn" or vrouter.vm not in (None, vm.id):
        return False
    return vrouter.forwards and view.record.hold is None


def is_taken(rollout: Rollout, desired: Desired, observed: Observed) -> bool:
    """EAM's configuration names the target for this cluster."""
    agency, offer = observed.agency, observed.offer
    if agency is None or offer is None or offer.digest != rollout.target.package.digest or not agency.config.agents:
        return False
    if desired.package.digest != offer.digest or agency.config.agents[0].ovf_url != offer.url:
        return False
    # A vCenter before 8.0 U3 has no word for sizes: one that is not to change is not asked after.
    before = rollout.build_before(observed.key)
    resized = before is not None and before.size != rollout.target.size
    return not resized or agency.config.agents[0].deployment_option == rollout.target.size


def is_current(rollout: Rollout, desired: Desired, observed: Observed, view: HostView) -> bool:
    """EAM has the target, the host's ContrailVM was made from it, and all is well with it."""
    agent, vm, vrouter = view.agent, view.vm, view.vrouter
    if agent is None or vm is None or vrouter is None or view.hook is not None or view.record.hold is not None:
        return False
    if agent.unapplied:
        return False
    well = agent.status == "green" and is_serving(view) and vrouter.ready
    if not well or not is_taken(rollout, desired, observed):
        return False
    before = rollout.build_before(observed.key)
    if before is None:
        return True
    built = view.record.build_of(vm.id)
    if built is None:
        return False
    told = not rollout.resettles(observed.key) or built.settings == rollout.target.settings
    return told and _is_made_from(built, rollout, before)


def _is_made_from(built: BuiltFrom, rollout: Rollout, before: Build) -> bool:
    resized = before.size != rollout.target.size
    return built.digest == rollout.target.package.digest and (not resized or built.size == rollout.target.size)


def needs_restart(rollout: Rollout, desired: Desired, observed: Observed, view: HostView) -> bool:
    """The host's ContrailVM is the right one, but was told something else when it last booted."""
    agent, vm, before = view.agent, view.vm, rollout.build_before(observed.key)
    if agent is None or vm is None or before is None or not rollout.active or not rollout.resettles(observed.key):
        return False
    if agent.unapplied or view.hook is not None or agent.status != "green" or vm.power != "poweredOn":
        return False
    built = view.record.build_of(vm.id)
    if built is None or built.settings == rollout.target.settings or not is_taken(rollout, desired, observed):
        return False
    return _is_made_from(built, rollout, before)


def is_unproved(rollout: Rollout, desired: Desired, observed: Observed, view: HostView) -> bool:
    """The ContrailVM that is to forward there is the target's, as far as is known, and is not well."""
    before, vm = rollout.build_before(observed.key), runs_now(view)
    if before is None or vm is None or waits_for_turn(view) or is_current(rollout, desired, observed, view):
        return False
    built = view.record.build_of(vm.id)
    told = built is not None and (not rollout.resettles(observed.key) or built.settings == rollout.target.settings)
    return built is not None and told and _is_made_from(built, rollout, before)


def why_in_turn(rollout: Rollout, desired: Desired, observed: Observed, view: HostView) -> str:
    """What the host has yet to prove before its turn is over, in words; empty where it has no turn, or proved all."""
    turn = rollout.turn_of(observed.key, view.host.id)
    if turn is None:
        return ""
    if view.vrouter is None or not is_current(rollout, desired, observed, view):
        reason = view.vrouter.reason if view.vrouter is not None else ""
        return reason or f"{rollout.target} does not forward there yet"
    opens = gate_opens(rollout, turn, view)
    if observed.now < opens:
        return f"it has forwarded {int(rollout.policy.gate - (opens - observed.now))} of {rollout.policy.gate:g} s"
    return why_not_quiet(rollout, observed, view)


def gate_opens(rollout: Rollout, turn: Turn, view: HostView) -> float:
    """When the host has forwarded long enough, in epoch seconds."""
    since = view.vrouter.since if view.vrouter is not None else turn.since
    return max(since, turn.since) + rollout.policy.gate
