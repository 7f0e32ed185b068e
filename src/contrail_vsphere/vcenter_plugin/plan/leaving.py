"""What to do about a port that nothing may pass any more: its card is gone, or its network is. Pure.

Closed, unplugged, deleted, forgotten, in that order; only a VRouterAgent that does not answer is left for later. A VLAN
is given up only when the switch shows the port in it no more: what is written to the port of a VM that is off may be
lost, and such a VM may be started at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.books.records import Plug
from contrail_vsphere.vcenter_plugin.identity import may_touch
from contrail_vsphere.vcenter_plugin.plan import contrail as plan_contrail
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    ForgetPort,
    HoldVlan,
    RefetchPort,
    Release,
    Unplug,
    Wait,
    WritePort,
)
from contrail_vsphere.vcenter_plugin.plan.contrail import SIGHT_AGAIN
from contrail_vsphere.vcenter_plugin.plan.sights import MachineSight, PortPolicy, PortSight
from contrail_vsphere.vcenter_plugin.vlans import HIGHEST, LOWEST


def without_network(port: PortSight, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
    """Nothing may pass; and if the network itself is gone, nothing of the card may stay in the one it had before."""
    if port.place is not None and not port.fresh:
        dvs, key = port.place
        yield RefetchPort(dvs=dvs, key=key, reason="the port may have changed")
        return
    closing = tuple(close(port, sight))
    yield from closing
    if port.lost and not sight.blind:
        yield from unplug_all(port, sight, port.missing, closing=closing)
        may = policy.writes_contrail and not is_plugged(port) and port.gone_for >= policy.linger
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


def drain(port: PortSight, sight: MachineSight, policy: PortPolicy) -> Iterator[Action]:
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
        closing = tuple(close(port, sight)) if port.dv is None or port.dv.vm in (None, *dict(sight.cards)) else ()
        yield from closing
        yield from unplug_all(port, sight, "the card is gone", closing=closing)
        if is_held(port, sight) or not all(write.asleep for write in closing):
            return
    if port.vmi is not None and policy.writes_contrail and may_touch(port.vmi.creator, adopted=record is not None):
        if port.gone_for < policy.linger:
            pause = policy.linger - port.gone_for
            yield Wait(state="DRAINING", port=port.id, seconds=pause, reason="the card may come back")
            return
        yield from plan_contrail.drain(port, port.vmi)
        return
    if is_plugged(port):
        return
    if record is not None and record.plugs:
        reason = f"its port keeps VLAN {record.plugs[0].vlan} until the VM runs or the card is gone"
        yield Wait(state="DRAINING", port=port.id, reason=reason)
    elif record is not None:
        yield ForgetPort(port=port.id, reason="nothing is left of it")


def is_gone(port: PortSight, sight: MachineSight) -> bool:
    """Nothing of it is left but a DVPort in its VLAN, and what a dead VRouterAgent may know."""
    needed = port.wanted is not None or port.elsewhere is not None or bool(port.missing)
    return not needed and port.vmi is None and port.record is not None and not is_held(port, sight)


def close(port: PortSight, sight: MachineSight) -> Iterator[WritePort]:
    """Give the port group's settings back to a port that has ours and nobody else's card."""
    dv, record = port.dv, port.record
    if dv is None or not port.fresh or (dv.vlan is None and dv.blocked is None):
        return
    ours = _has_our_card(port, dv)
    vlans = {plug.vlan for plug in record.plugs} if record is not None else set()
    served = record is not None and bool(record.plugs)
    left = dv.vlan is not None and not served and (record is not None or dv.blocked is True or port.taken)
    if ours and (dv.blocked is False or dv.vlan in vlans or left):
        yield WritePort.to(
            dv,
            vlan=None,
            blocked=None,
            asleep=dv.vm is not None and dv.nic is not None and (dv.vm, dv.nic) in sight.asleep,
            at_once=port.taken and dv.blocked is False,
            reason="nothing may pass there now",
        )


def _has_our_card(port: PortSight, dv: DvPort) -> bool:
    """Or none."""
    return dv.nic is None or (dv.nic == port.id.nic and (port.wanted is None or port.wanted.vm == dv.vm))


def unplug_all(
    port: PortSight, sight: MachineSight, reason: str, *, closing: Sequence[WritePort] = (), stays: bool = False
) -> Iterator[Action]:
    """``closing``: the switch has it in its VLAN until these are done, and a VM that is off may be started before.

    ``stays``: the card goes on to need a VLAN where it is, and keeps the one it has.
    """
    dv = port.dv if closing else None
    here = {each for each in (port.wanted and port.wanted.host, port.dv and port.dv.host) if each} if stays else set()
    for plug in port.record.plugs if port.record is not None else ():
        keep = dv is not None and dv.vlan == plug.vlan and port.at in (plug.host, None)
        yield from unplug(port, plug, sight, reason, keep=keep or plug.host in here)
    if dv is not None and any(write.asleep for write in closing):
        yield from _hold(port, dv)


def _hold(port: PortSight, dv: DvPort) -> Iterator[HoldVlan]:
    """The VLAN that the port may go on to show, where that is none of those it was given."""
    record = port.record
    if record is None or port.at is None or port.taken or record.plug(port.at) is not None:
        return
    if dv.vlan is not None and LOWEST <= dv.vlan <= HIGHEST:
        reason = f"its port shows VLAN {dv.vlan}, and may go on to do so"
        yield HoldVlan(port=port.id, dvs=dv.dvs, key=dv.key, host=port.at, vlan=dv.vlan, reason=reason)


def unplug(port: PortSight, plug: Plug, sight: MachineSight, reason: str, *, keep: bool = False) -> Iterator[Action]:
    """``keep``: its VLAN there stays claimed."""
    record, host = port.record, sight.hosts.get(plug.host)
    assert record is not None  # noqa: S101 - the plug is one of its
    if not plug.attempted and not plug.digest:
        if not keep:
            yield Release(port=port.id, host=plug.host, reason=reason)
    elif host is None:
        # The host left the inventory and took its ContrailVM with it.
        yield Release(port=port.id, host=plug.host, reason=f"{reason}; {plug.host} is no host any more")
    elif not host.address or not host.reachable:
        reason = f"to be unplugged at {host.name}, whose agent does not answer"
        yield Wait(state=_while_owed(port, plug), port=port.id, host=host.id, reason=reason)
    else:
        yield Unplug(port=port.id, host=plug.host, address=host.address, vmi=record.vmi, keep_vlan=keep, reason=reason)


def _while_owed(port: PortSight, plug: Plug) -> str:
    """What is owed to a host that a card has left is no reason to call it anything but active where it is."""
    if port.wanted is None:
        return "OWED"
    return "WAIT_HOST" if plug.host == port.wanted.host else "ACTIVE"


def is_held(port: PortSight, sight: MachineSight, *, here: HostId | None = None) -> bool:
    """Whether a VRouterAgent must forget it first, before its interface may go.

    One that does not answer is told later, or a host in repair would keep the addresses of cards that are long gone,
    and those that have left it from other networks. ``here``: where the card is, which waits for that one all the same.
    """
    dead = {host.id for host in sight.hosts.values() if not host.reachable} - {here}
    plugs = port.record.plugs if port.record is not None else ()
    return any(plug.host not in dead for plug in plugs if plug.attempted or plug.digest)


def is_plugged(port: PortSight) -> bool:
    """Somewhere a VRouterAgent knows it, or may know it."""
    return port.record is not None and any(plug.attempted or plug.digest for plug in port.record.plugs)
