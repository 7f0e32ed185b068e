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
from contrail_vsphere.vcenter_plugin.identity import PREDECESSORS, PortId, may_touch
from contrail_vsphere.vcenter_plugin.plan import contrail as plan_contrail
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    Claim,
    ConfirmCards,
    ForgetPort,
    PlugPort,
    RefetchPort,
    Release,
    SetLink,
    Unplug,
    Wait,
    WritePort,
)
from contrail_vsphere.vcenter_plugin.plan.contrail import SIGHT_AGAIN
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
            actions += _without_network(port, sight, policy)
        else:
            actions += _drain(port, sight, policy)
    if sight.twins:
        reason = f"{', '.join(sight.twins)} has the same instance UUID: only one of them is served"
        actions.append(Wait(state="ERROR", reason=reason))
    if not sight.ports and not sight.other_vmis and policy.writes_contrail:
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
        yield from _close(port)
        yield from _unplug_all(port, sight, "OpenStack has no interface for the card")
        yield Wait(state="WAIT_VMI", port=port.id, reason="OpenStack has made no interface for the card yet")
        return
    if port.record is not None and port.vmi is not None and port.record.vmi != port.vmi.uuid and port.record.plugs:
        yield from _unplug_all(port, sight, f"another interface, {port.vmi.uuid}, stands for the card now")
        return
    moving_network = port.vmi is not None and port.vmi.network != wanted.network
    if moving_network:
        yield from _unplug_all(port, sight, "the card is in another network now")
        if port.record is not None and any(plug.attempted or plug.digest for plug in port.record.plugs):
            return
    yield from plan_contrail.keep(port, wanted, sight, policy)
    if not port.fresh or port.dv is None:
        yield RefetchPort(dvs=wanted.dvs, key=wanted.key, reason="the port may have changed")
        return
    if host is None or not host.address:
        yield from _close(port)
        yield from _leave_others(port, wanted, sight)
        yield Wait(state="WAIT_HOST", port=port.id, reason=_no_host(wanted, host))
        return
    if port.dv.vm != wanted.vm or port.dv.nic != port.id.nic:
        yield Wait(state="WAIT_HOST", port=port.id, seconds=LOOK_AGAIN, reason="the card is not connected to its port")
        return
    plug = port.record.plug(host.id) if port.record is not None else None
    if plug is not None and not plug.vlan:
        yield from _unplug(port, plug, sight, "the agent has it with a VLAN that it cannot have there")
        return
    if plug is None:
        if wanted.on or port.dv.blocked is False:
            yield _claim(port, wanted, host, policy)
            return
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


def _serve(
    port: PortSight, wanted: WantedPort, host: HostSight, *, sight: MachineSight, plug: Plug
) -> Iterator[Action]:
    """A card whose VLAN is claimed on its host: write it, then plug it."""
    dv = port.dv
    assert dv is not None  # noqa: S101 - the caller has seen it
    right = dv.vlan == plug.vlan and dv.blocked is False
    open_now = dv.blocked is False
    if not right and not wanted.on and not open_now:
        pass
    elif not right and wanted.on and dv.host != wanted.host:
        yield Wait(
            state="MOVING", port=port.id, seconds=LOOK_AGAIN, reason=f"the port is still at {dv.host or 'no host'}"
        )
        return
    elif not right and (host.forwards or open_now):
        yield WritePort(
            dvs=dv.dvs,
            key=dv.key,
            version=dv.version,
            host=dv.host,
            vlan=plug.vlan,
            blocked=False,
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
        yield WritePort(
            dvs=dv.dvs, key=dv.key, version=dv.version, host=dv.host, vlan=dv.vlan, blocked=True, reason=reason
        )
    yield Wait(state="MOVING", port=port.id, reason=f"closed for the move: {reason}")


def _plug(port: PortSight, wanted: WantedPort, host: HostSight, *, name: str, plug: Plug) -> Iterator[Action]:
    vmi = port.vmi
    if not wanted.on:
        if plug.up and vmi is not None:
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
    if there is None or not wanted.on or not there.address or not there.forwards or there.id == wanted.host:
        return
    plug = port.record.plug(there.id) if port.record is not None else None
    if plug is None:
        yield replace(_claim(port, wanted, there, policy), ahead=wanted.host)
        return
    values = values_for(port, wanted, vlan=plug.vlan, name=sight.name, enabled=False) if plug.vlan else None
    if isinstance(values, VRouterPort) and not plug.digest and not plug.attempted:
        yield _plug_at(there, port, values, plug=plug, reason=f"the VM is on its way to {there.name}")
    yield Wait(state="ACTIVE", port=port.id, seconds=sight.destination_for, reason=f"on its way to {there.name}")


def _claim(port: PortSight, wanted: WantedPort, host: HostSight, policy: PortPolicy) -> Claim:
    elsewhere = next((plug.vlan for plug in reversed(port.record.plugs)), None) if port.record is not None else None
    own = port.dv.vlan if port.dv is not None else None
    return Claim(
        port=port.id,
        vmi=vmi_id(port, wanted, policy),
        dvs=wanted.dvs,
        key=wanted.key,
        host=host.id,
        keep=elsewhere is not None or wanted.on,
        prefer=own or elsewhere or (_place_of(port.id) if policy.spread else None),
        reason=f"a VLAN on {host.name}",
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
            yield from _unplug(port, plug, sight, "the VM has left the host")


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
            yield from _unplug(port, plug, sight, "the card is another plugin's now")
    if not record.plugs:
        yield ForgetPort(port=port.id, reason="the card is another plugin's now")


def _without_network(port: PortSight, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Nothing may pass; and if the network itself is gone, nothing of the card may stay in the one it had before."""
    yield from _close(port)
    if port.lost and not sight.blind:
        yield from _unplug_all(port, sight, port.missing)
        plugged = port.record is not None and bool(port.record.plugs)
        may = policy.writes_contrail and not plugged and port.gone_for >= policy.linger
        if may and port.vmi is not None and may_touch(port.vmi.creator, adopted=port.record is not None):
            yield from plan_contrail.drain(port, port.vmi, reason=port.missing)
    yield Wait(
        state="WAIT_VN",
        port=port.id,
        reason=port.missing,
        seconds=_rest_of(policy.linger, port, blind=bool(sight.blind)),
    )


def _rest_of(linger: float, port: PortSight, *, blind: bool) -> float | None:
    """Seconds until the objects of a card without network may go; None: they are gone, or may stay."""
    if port.lost and blind:
        return SIGHT_AGAIN
    left = linger - port.gone_for
    return left if port.lost and port.vmi is not None and left > 0 else None


# -- a card that is gone --------------------------------------------------------------------------------------------


def _drain(port: PortSight, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Close, unplug, delete, forget; nothing as long as absence proves nothing."""
    if sight.blind:
        yield Wait(state="DRAINING", port=port.id, seconds=SIGHT_AGAIN, reason=f"not seen, but {sight.blind}")
        return
    record = port.record
    if record is not None:
        if not port.fresh and record.key:
            yield RefetchPort(dvs=record.dvs, key=record.key, reason="the card is gone")
            return
        # A port that has a VM which nobody shows us is another plugin's by now.
        closing = tuple(_close(port)) if port.dv is None or port.dv.vm in (None, *dict(sight.cards)) else ()
        yield from closing
        yield from _unplug_all(port, sight, "the card is gone")
        if record.plugs or closing:
            return
    if port.vmi is not None and policy.writes_contrail and may_touch(port.vmi.creator, adopted=record is not None):
        if port.gone_for < policy.linger:
            pause = policy.linger - port.gone_for
            yield Wait(state="DRAINING", port=port.id, seconds=pause, reason="the card may come back")
            return
        yield from plan_contrail.drain(port, port.vmi)
        return
    if record is not None:
        yield ForgetPort(port=port.id, reason="nothing is left of it")


def _close(port: PortSight) -> Iterator[Action]:
    """Give the port group's settings back to a port that has ours and nobody else's card."""
    dv, record = port.dv, port.record
    if dv is None or not port.fresh or (dv.vlan is None and dv.blocked is None):
        return
    ours = dv.nic is None or (dv.nic == port.id.nic and _is_mine(port, dv))
    vlans = {plug.vlan for plug in record.plugs} if record is not None else set()
    left = record is not None and not record.plugs and dv.vlan is not None
    if ours and (dv.blocked is False or dv.vlan in vlans or left):
        yield WritePort(
            dvs=dv.dvs,
            key=dv.key,
            version=dv.version,
            host=dv.host,
            vlan=None,
            blocked=None,
            reason="nothing may pass there now",
        )


def _is_mine(port: PortSight, dv: DvPort) -> bool:
    return port.wanted is None or port.wanted.vm == dv.vm


def _unplug_all(port: PortSight, sight: MachineSight, reason: str) -> Iterator[Action]:
    for plug in port.record.plugs if port.record is not None else ():
        yield from _unplug(port, plug, sight, reason)


def _unplug(port: PortSight, plug: Plug, sight: MachineSight, reason: str) -> Iterator[Action]:
    record, host = port.record, sight.hosts.get(plug.host)
    assert record is not None  # noqa: S101 - the plug is one of its
    if not plug.attempted and not plug.digest:
        yield Release(port=port.id, host=plug.host, reason=reason)
    elif host is None:
        # The host left the inventory and took its ContrailVM with it.
        yield Release(port=port.id, host=plug.host, reason=f"{reason}; {plug.host} is no host any more")
    elif not host.address or not host.reachable:
        yield Wait(state="OWED", port=port.id, reason=f"to be unplugged at {host.name}, whose agent does not answer")
    else:
        yield Unplug(port=port.id, host=plug.host, address=host.address, vmi=record.vmi, reason=reason)


def _no_host(wanted: WantedPort, host: HostSight | None) -> str:
    if wanted.host is None:
        return "the VM has no host"
    return f"no VRouterAgent is known for {host.name if host is not None else wanted.host}"
