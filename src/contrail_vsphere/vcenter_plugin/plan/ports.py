"""What to do about the ports of one VM: the state machine of a port, as a pure function of what is seen.

A port is open only together with a VLAN that nobody else has on its host, and only after that VLAN was remembered. The
order comes from what is seen, never from what was done before: claim a VLAN; write it and open the port while Contrail
gets its objects; plug the port once both are there. The other way round: unplug, then delete, then forget. Whatever
cannot go on yet says what it waits for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from contrail_vsphere.contrail.vrouter_agent import VRouterPort
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.vcenter_plugin.books.records import Plug
from contrail_vsphere.vcenter_plugin.desired import WantedPort
from contrail_vsphere.vcenter_plugin.identity import PREDECESSORS, PortId
from contrail_vsphere.vcenter_plugin.plan import contrail as plan_contrail
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    Claim,
    ConfirmCards,
    ForgetPort,
    PlugPort,
    RefetchPort,
    SetLink,
    Wait,
    WritePort,
)
from contrail_vsphere.vcenter_plugin.plan.leaving import (
    close,
    drain,
    is_gone,
    is_held,
    is_plugged,
    unplug,
    unplug_all,
    without_network,
)
from contrail_vsphere.vcenter_plugin.plan.plug_values import digest_of, values_for
from contrail_vsphere.vcenter_plugin.plan.sights import HostSight, MachineSight, PortPolicy, PortSight, vmi_id
from contrail_vsphere.vcenter_plugin.vlans import HIGHEST, LOWEST

LOOK_AGAIN = 1.0
"""Seconds until a port is asked about again whose host differs from its VM's: during a move it lags behind."""


def plan_machine(sight: MachineSight, policy: PortPolicy) -> tuple[Action, ...]:
    """The actions that are possible now; done, they lead to the next ones."""
    actions: list[Action] = []
    present = [port for port in sight.ports if port.wanted is not None]
    if present and policy.writes_contrail:
        actions += plan_contrail.ensure_vm(sight, present[0], policy)
    for port in sight.ports:
        if port.wanted is not None:
            actions += _keep(port, port.wanted, sight, policy)
        elif port.elsewhere is not None and port.record is not None:
            actions += _hand_over(port, port.elsewhere, sight)
        elif port.missing:
            actions += without_network(port, sight, policy)
        else:
            actions += drain(port, sight, policy)
    if sight.twins:
        reason = f"{', '.join(sight.twins)} has the same instance UUID: only one of them is served"
        actions.append(Wait(state="ERROR", reason=reason))
    if all(is_gone(port, sight) for port in sight.ports) and not sight.other_vmis and policy.writes_contrail:
        actions += plan_contrail.farewell(sight, policy)
    return tuple(_surely(actions, sight))


def _surely(actions: Sequence[Action], sight: MachineSight) -> Iterator[Action]:
    """Before the first deletion, vCenter is asked whether the VM is as we believe."""
    asked = False
    for action in actions:
        if action.deletes and action.lane == ConfirmCards.lane and not asked:
            yield ConfirmCards(vm=sight.id, believed=sight.cards, reason=f"before {action.verb}")
            asked = True
        yield action


# -- a card that is there -------------------------------------------------------------------------------------------


def _keep(port: PortSight, wanted: WantedPort, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Everything a card in a network of Contrail needs."""
    host = sight.hosts.get(wanted.host) if wanted.host is not None else None
    if not policy.writes_contrail and port.vmi is None:
        if not port.fresh:
            yield RefetchPort(dvs=wanted.dvs, key=wanted.key, reason="the port may have changed")
            return
        closing = tuple(close(port, sight))
        yield from closing
        yield from unplug_all(port, sight, "OpenStack has no interface for the card", closing=closing)
        yield Wait(state="WAIT_VMI", port=port.id, reason="OpenStack has made no interface for the card yet")
        return
    obsolete = _obsolete(port, wanted)
    if obsolete:
        parting = tuple(unplug_all(port, sight, obsolete, stays=True))
        held = _is_held_back(port, wanted, sight)
        yield from (replace(each, state="WAIT_HOST") if held and isinstance(each, Wait) else each for each in parting)
        if held:
            yield from _shut_in_another_s_vlan(port, wanted)
            return
    yield from plan_contrail.keep(port, wanted, sight, policy)
    leaving = tuple(_leave_behind(port))
    yield from leaving
    if not port.fresh or port.dv is None:
        yield RefetchPort(dvs=wanted.dvs, key=wanted.key, reason="the port may have changed")
        return
    if leaving:
        return
    if host is None or not host.address:
        yield from close(port, sight)
        yield from _leave_others(port, wanted, sight)
        yield Wait(state="WAIT_HOST", port=port.id, reason=_no_host(wanted, host))
        return
    if port.dv.vm != wanted.vm or port.dv.nic != port.id.nic:
        yield Wait(state="WAIT_HOST", port=port.id, seconds=LOOK_AGAIN, reason="the card is not connected to its port")
        return
    plug = port.record.plug(host.id) if port.record is not None else None
    if plug is not None and not plug.vlan:
        yield from unplug(port, plug, sight, "the agent has it with a VLAN that it cannot have there")
        return
    if plug is None or _is_elsewhere_now(port, wanted):
        if plug is not None or wanted.on or port.dv.blocked is False:
            yield _claim(port, wanted, host, policy)
            return
        yield from _forget_vlan(port.dv, taken=port.taken)
        yield Wait(state="ACTIVE_OFF", port=port.id, reason="the VM is off")
        yield from _leave_others(port, wanted, sight)
        return
    there = _other_vlan_ahead(port, wanted, sight, plug=plug)
    if there:
        yield from _shut_for_the_journey(port.dv, port, there)
    else:
        yield from _serve(port, wanted, host, sight=sight, plug=plug)
    yield from _leave_others(port, wanted, sight)
    yield from _prepare(port, wanted, sight, policy)


def _obsolete(port: PortSight, wanted: WantedPort) -> str:
    """Why what VRouterAgents know of the card is not to be corrected but taken away first; empty if it is."""
    record, vmi = port.record, port.vmi
    if record is not None and vmi is not None and record.vmi != vmi.uuid and record.plugs:
        return f"another interface, {vmi.uuid}, stands for the card now"
    if vmi is not None and vmi.network != wanted.network:
        return "the card is in another network now"
    return ""


def _is_held_back(port: PortSight, wanted: WantedPort, sight: MachineSight) -> bool:
    """Whether a VRouterAgent must give the card up first; one that is told later is told by the interface's id."""
    if port.record is not None and port.vmi is not None and port.record.vmi != port.vmi.uuid:
        return is_plugged(port)
    return is_held(port, sight, here=wanted.host)


def _shut_in_another_s_vlan(port: PortSight, wanted: WantedPort) -> Iterator[Action]:
    """Its new DVPort may be open as somebody left it, and a VRouterAgent that does not answer keeps it from its own."""
    dv, plug = port.dv, port.record.plug(port.at) if port.record is not None else None
    if not port.fresh:
        yield RefetchPort(dvs=wanted.dvs, key=wanted.key, reason="the port may have changed")
    elif dv is None or dv.blocked is not False or (dv.vm, dv.nic) != (wanted.vm, port.id.nic):
        return
    elif plug is None or plug.vlan != dv.vlan:
        reason = "nothing may pass there before it is unplugged"
        yield WritePort.to(dv, vlan=None, blocked=None, asleep=not wanted.on, at_once=port.taken, reason=reason)


def _leave_behind(port: PortSight) -> Iterator[RefetchPort | WritePort]:
    """The DVPort that the card had before: what was written while it left must not wait there for the next card."""
    record, left = port.record, port.left
    if port.left_doubtful and record is not None:
        yield RefetchPort(dvs=record.dvs, key=record.key, reason="the card has left it")
    elif left is not None and left.vm is None and (left.vlan, left.blocked) != (None, None):
        yield WritePort.to(left, vlan=None, blocked=None, reason="the card has left it")


def _is_elsewhere_now(port: PortSight, wanted: WantedPort) -> bool:
    """The card has another DVPort, or interface, than when its VLAN was claimed."""
    record = port.record
    if record is None:
        return False
    vmi = port.vmi.uuid if port.vmi is not None else record.vmi
    return (record.vmi, record.dvs, record.key) != (vmi, wanted.dvs, wanted.key)


def _serve(
    port: PortSight, wanted: WantedPort, host: HostSight, *, sight: MachineSight, plug: Plug
) -> Iterator[Action]:
    """A card whose VLAN is claimed on its host: write it, then plug it."""
    dv = port.dv
    assert dv is not None  # noqa: S101 - the caller has seen it
    right = dv.vlan == plug.vlan and dv.blocked is False
    open_now = dv.blocked is False
    if not right and not wanted.on and not open_now:
        if dv.vlan != plug.vlan:
            yield from _forget_vlan(dv, taken=port.taken)
    elif not right and wanted.on and dv.host != wanted.host:
        yield Wait(
            state="MOVING", port=port.id, seconds=LOOK_AGAIN, reason=f"the port is still at {dv.host or 'no host'}"
        )
        return
    elif not right and (host.forwards or open_now):
        yield WritePort.to(
            dv,
            vlan=plug.vlan,
            blocked=False,
            asleep=not wanted.on,
            at_once=port.taken and open_now,
            reason=f"VLAN {plug.vlan} on {host.name}",
        )
    if not host.forwards:
        yield Wait(
            state="WAIT_HOST", port=port.id, reason=f"the vRouter of {host.name} does not forward: {host.reason}"
        )
        return
    if not right and wanted.on:
        return
    yield from _plug(port, wanted, host, name=sight.name, plug=plug)


def _forget_vlan(dv: DvPort, *, taken: bool) -> Iterator[WritePort]:
    """The closed port of a card that does not run: it holds no VLAN, and shows none that may be another's by now.

    One that is closed as its port group is holds what it shows, unless that is ``taken``.
    """
    if dv.vlan is not None and (dv.blocked is True or taken):
        yield WritePort.to(
            dv,
            vlan=None,
            blocked=None,
            asleep=True,
            reason="it is closed, and has no VLAN here",
        )


def _other_vlan_ahead(port: PortSight, wanted: WantedPort, sight: MachineSight, *, plug: Plug) -> str:
    """The host that a running VM is on its way to, if its port must have another VLAN there than here; else empty."""
    if sight.abroad is not None and wanted.on and plug.vlan in sight.abroad[1]:
        return sight.abroad[0]
    there = sight.hosts.get(sight.destination) if sight.destination is not None and wanted.on else None
    ahead = port.record.plug(there.id) if port.record is not None and there is not None else None
    return there.name if there is not None and ahead is not None and ahead.vlan not in (0, plug.vlan) else ""


def _shut_for_the_journey(dv: DvPort, port: PortSight, there: str) -> Iterator[Action]:
    """No VLAN is free on both hosts, and a port takes its settings along: closed, it shows nobody's frames on arrival.

    There it is opened in the write that gives it its new VLAN; if the VM does not leave, it is opened here again.
    """
    reason = f"on {there}, where the VM goes, its VLAN is another port's"
    if dv.blocked is not True:
        yield WritePort.to(dv, vlan=dv.vlan, blocked=True, reason=reason)
    yield Wait(state="MOVING", port=port.id, reason=f"closed for the move: {reason}")


def _plug(port: PortSight, wanted: WantedPort, host: HostSight, *, name: str, plug: Plug) -> Iterator[Action]:
    vmi = port.vmi
    if not wanted.on:
        perhaps = plug.attempted and not plug.digest  # plugged by whoever did not live to note it
        if (plug.up or perhaps) and vmi is not None:
            yield SetLink(
                port=port.id, host=host.id, address=host.address, vmi=vmi.uuid, up=False, reason="the VM is off"
            )
        yield Wait(state="ACTIVE_OFF", port=port.id, reason="the VM is off")
        return
    values = values_for(port, wanted, vlan=plug.vlan, name=name)
    if vmi is None or isinstance(values, Wait):
        yield from (values,) if isinstance(values, Wait) else ()
        return
    if digest_of(values) != plug.digest:
        reason = f"to be plugged at {host.name}" if not plug.digest else f"{host.name} has other values of it"
        yield _plug_at(host, port, values, plug=plug, reason=reason)
    elif not plug.up:
        yield SetLink(port=port.id, host=host.id, address=host.address, vmi=vmi.uuid, up=True, reason="the VM is on")
    elif port.rivals:
        reason = f"its MAC address is also that of interface {port.rivals[0]} in this network"
        yield Wait(state="ACTIVE", port=port.id, reason=reason)


def _plug_at(host: HostSight, port: PortSight, values: VRouterPort, *, plug: Plug, reason: str) -> PlugPort:
    return PlugPort(
        port=port.id,
        host=host.id,
        address=host.address,
        values=values,
        digest=digest_of(values),
        replace=plug.attempted or bool(plug.digest) or (port.vmi is not None and port.vmi.creator in PREDECESSORS),
        reason=reason,
    )


def _prepare(port: PortSight, wanted: WantedPort, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Plug a port of a running VM, link down, where the VM is on its way to."""
    there = sight.hosts.get(sight.destination) if sight.destination is not None else None
    if there is None or not wanted.on or not there.address or there.id == wanted.host:
        return
    plug = port.record.plug(there.id) if port.record is not None else None
    if plug is None:
        yield replace(_claim(port, wanted, there, policy), ahead=wanted.host)
        return
    ready = plug.vlan and there.forwards
    values = values_for(port, wanted, vlan=plug.vlan, name=sight.name, enabled=False) if ready else None
    if isinstance(values, VRouterPort) and not plug.digest and not plug.attempted:
        yield _plug_at(there, port, values, plug=plug, reason=f"the VM is on its way to {there.name}")
    yield Wait(state="ACTIVE", port=port.id, seconds=sight.destination_for, reason=f"on its way to {there.name}")


def _claim(port: PortSight, wanted: WantedPort, host: HostSight, policy: PortPolicy) -> Claim:
    elsewhere = next((plug.vlan for plug in reversed(port.record.plugs)), None) if port.record is not None else None
    own = port.dv.vlan if port.dv is not None else None
    return Claim(
        port=port.id,
        vmi=vmi_id(port, wanted, policy),
        vm=wanted.vm,
        dvs=wanted.dvs,
        key=wanted.key,
        host=host.id,
        keep=elsewhere is not None or wanted.on,
        prefer=own or elsewhere or (_place_of(port.id) if policy.spread else None),
        otherwise=_shut_for_want_of_a_vlan(port, wanted, host),
        reason=f"a VLAN on {host.name}",
    )


def _shut_for_want_of_a_vlan(port: PortSight, wanted: WantedPort, host: HostSight) -> WritePort | None:
    """Its VLAN from elsewhere may be another port's on that host: there it must see nobody's frames."""
    dv = port.dv
    if dv is None or dv.blocked is not False:
        return None
    return WritePort.to(
        dv,
        vlan=None,
        blocked=True,
        asleep=not wanted.on,
        at_once=port.taken,
        reason=f"no VLAN is left for it on {host.name}",
    )


def _place_of(port: PortId) -> int:
    """A VLAN for the port that is the same everywhere, and hardly ever that of another port."""
    spread = int.from_bytes(hashlib.sha256(str(port).encode()).digest()[:8])
    return LOWEST + spread % (HIGHEST - LOWEST + 1)


def _leave_others(port: PortSight, wanted: WantedPort, sight: MachineSight) -> Iterator[Action]:
    """The VM is not where the port was plugged before."""
    for plug in port.record.plugs if port.record is not None else ():
        if plug.host == wanted.host or (plug.host == sight.destination and wanted.on):
            continue
        if wanted.on and port.dv is not None and port.dv.host == plug.host:
            reason = f"the port is still at {plug.host}"
            yield Wait(state="MOVING", port=port.id, seconds=LOOK_AGAIN, reason=reason)
        else:
            yield from unplug(port, plug, sight, "the VM has left the host")


def _hand_over(port: PortSight, there: WantedPort, sight: MachineSight) -> Iterator[Action]:
    """Another plugin serves the card now: unplug it here and forget it, and leave all that it shares with us."""
    record = port.record
    assert record is not None  # noqa: S101 - the caller has seen it
    if not port.fresh:
        yield RefetchPort(dvs=record.dvs, key=record.key, reason="the card is another plugin's now")
        return
    for plug in record.plugs:
        if there.on and port.dv is not None and port.dv.vm == there.vm and port.dv.host == plug.host:
            reason = f"the port is still at {plug.host}"
            yield Wait(state="MOVING", port=port.id, seconds=LOOK_AGAIN, reason=reason)
        else:
            yield from unplug(port, plug, sight, "the card is another plugin's now")
    if not record.plugs:
        yield ForgetPort(port=port.id, reason="the card is another plugin's now")


def _no_host(wanted: WantedPort, host: HostSight | None) -> str:
    if wanted.host is None:
        return "the VM has no host"
    return f"no VRouterAgent is known for {host.name if host is not None else wanted.host}"
