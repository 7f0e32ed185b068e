"""Whom an action would disturb, in words that count tenants: what a person wants to know before letting it happen.

``Effect`` says what becomes of the host; this says what its tenants notice. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    ApplyToHosts,
    CreateAgency,
    DestroyAgency,
    Effect,
    EnsureTrunkPortGroup,
    Resolve,
    RestartContrailVm,
    StopRollout,
    TakeTurn,
    UninstallAgency,
    UpdateAgency,
    changes_world,
)
from contrail_vsphere.contrailvm.rollout.view import is_serving
from contrail_vsphere.model.eam import EAM_KEY
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.inventory import VirtualMachine

NOBODY = "nobody"


def tenants_by_host(vms: Iterable[VirtualMachine]) -> Counter[HostId]:
    """How many tenant VMs run on each host; EAM's own VMs are none, and neither is what is off or a template."""
    return Counter(
        vm.host for vm in vms if vm.host and vm.power == "poweredOn" and not vm.template and vm.managed_by != EAM_KEY
    )


def effect_of(action: Action) -> Effect:
    """What doing it costs the host; a Resolve costs what its issue's row in the policy says."""
    return action.disturbs if isinstance(action, Resolve) else action.effect


def disturbance(action: Action, observed: Observed, tenants: Counter[HostId]) -> str:
    """Who would notice; empty where nothing is done."""
    if not changes_world(action):
        return ""
    effect = effect_of(action)
    view = observed.view_of(action.host) if action.host is not None else None
    if isinstance(action, UninstallAgency | DestroyAgency):
        return _removal(action.hosts, tenants)
    if isinstance(action, ApplyToHosts):
        return _apply(action.hosts, observed, tenants)
    if isinstance(action, UpdateAgency) and not {"package", "size"}.isdisjoint(action.changed):
        if observed.keeper == "vLCM":
            return f"{NOBODY}: vLCM replaces the ContrailVM of a host when it is told to, at the host's turn"
        return f"{NOBODY}: EAM makes the new ContrailVMs beside the old ones, which forward until their hosts' turns"
    if isinstance(action, StopRollout) and action.roll_back:
        return "only hosts that were replaced already: they get their old version back, one after the other"
    if isinstance(action, CreateAgency):
        return f"{NOBODY}: hosts without a ContrailVM get one, and take new tenants once it forwards"
    if isinstance(action, EnsureTrunkPortGroup) and action.existing is None:
        return f"{NOBODY}: the port group is new"
    if view is None or effect == "none":
        return NOBODY
    return _host(action, effect, view, tenants[view.host.id])


def _host(action: Action, effect: Effect, view: HostView, number: int) -> str:
    name = view.host.name
    who = f"the {number} tenant VMs on {name}" if number != 1 else f"the one tenant VM on {name}"
    if not number:
        who = f"nobody now, there are no tenant VMs on {name}"
    if effect == "maintenance":
        return f"{who}: the host goes into maintenance, tenants must move away first"
    if effect == "reboot":
        return f"{who}: the host goes into maintenance and reboots, tenants must move away first"
    if not is_serving(view):
        return f"{who}: cut off already; they are back when the ContrailVM forwards" if number else who
    if not number:
        return who
    what = {TakeTurn: "until the new ContrailVM forwards", RestartContrailVm: "while the ContrailVM restarts"}
    return f"{who}: cut off {what.get(type(action), 'until the ContrailVM forwards again')}"


def _apply(hosts: tuple[HostId, ...], observed: Observed, tenants: Counter[HostId]) -> str:
    """Hosts that have a ContrailVM may get another one; whether vLCM finds that needed it does not say before."""
    served = [view.host.id for view in observed.hosts if view.host.id in hosts and is_serving(view)]
    number = sum(tenants[host] for host in served)
    if not number:
        return f"{NOBODY} now: hosts without a ContrailVM get one"
    return f"{number} tenant VMs on {len(served)} hosts: cut off until the new ContrailVM forwards, if it is a new one"


def _removal(hosts: tuple[HostId, ...], tenants: Counter[HostId]) -> str:
    number = sum(tenants[host] for host in hosts)
    if not number:
        return f"{NOBODY} now: no tenant VMs run on the {len(hosts)} hosts that lose their ContrailVM"
    return f"{number} tenant VMs on {len(hosts)} hosts: they lose their overlay network for good"
