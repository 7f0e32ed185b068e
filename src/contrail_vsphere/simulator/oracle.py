"""The packet oracle: does a frame that one card sends reach another, and which way?

Isolation is judged by asking it, not by reading one's own configuration back: it knows nothing of what the product
wants, only what hosts and vRouters have. Its rules:

1.  A card sends and receives while its guest runs and it is connected. On a standard network everything reaches
    everything on the same network. Different standard networks, different switches and a standard network with a
    switch never meet, except through a vRouter.
2.  A DVPort acts with the setting that its *host* has: one that was away keeps the old one. ``blocked`` stops both
    directions (``Switches.blocked_in_vmotion`` says whether also while the port has another proxy host than a VM that
    came running; where HA starts one, its port is made with all that is set).
3.  Out of a port: a source address other than the card's needs ``forgedTransmits``; then the rules for outgoing
    packets. An access port takes untagged frames only and gives them its VLAN; a trunk takes the tags in its ranges,
    and untagged frames where they include 0; a private VLAN port sends in its secondary VLAN.
4.  Into a port: the VLAN must be the port's, or in the trunk's ranges; private VLANs by their map. The destination
    must be the card, or many, or the port is promiscuous; then the rules for incoming packets.
5.  On one host, ports of one switch meet directly. Between hosts they do where both hosts have a connected uplink on
    the switch (the wires behind carry every VLAN that the uplinks' group lets through).
6.  A vRouter is a VM with a VRouterAgent and a trunk card on the sender's switch and host. It takes a frame that its
    trunk port receives, if the agent forwards and has a subscription whose receiving VLAN is the frame's and whose
    address is the frame's source (any source in the mode ``esxi_neutron``). It hands it to the subscriptions of the
    same virtual network with the destination's MAC, or its IP address when the frame goes to the gateway's MAC, or to
    all for many; here or on other hosts whose agents forward. Out it goes through that host's trunk card with the
    subscription's sending VLAN. It never sends a frame back to where it came from; between virtual networks it forwards
    nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from contrail_vsphere.simulator.oracle_frame import INCOMING, OUTGOING, Frame, passes
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_ports import in_force
from contrail_vsphere.simulator.vcenter.dvs_pvlan import may_talk
from contrail_vsphere.simulator.vcenter.dvs_settings import blocked, promiscuous, rules, vlan_ranges
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.dvs_table import DvPort
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vrouter.agent import VRouterAgent
    from contrail_vsphere.simulator.vrouter.ports import Port

__all__ = ["Frame", "Hop", "StillAgent", "Verdict", "VmNic", "still", "verdict"]

GATEWAY_MAC = "00:00:5e:00:01:00"
"""Of every virtual network's gateway, on every vRouter."""
_PVLAN: Any = vim.dvs.VmwareDistributedVirtualSwitch.PvlanSpec


@dataclass(frozen=True, slots=True)
class VmNic:
    """A card: its VM and its device key."""

    vm: VirtualMachine
    key: int = 4000

    @property
    def state(self) -> NicState | None:
        """The card as it is now; None when the VM has no such card any more."""
        return next((nic for nic in self.vm.nics if nic.key == self.key), None)


@dataclass(frozen=True, slots=True)
class Hop:
    """A place on the way."""

    kind: Literal["port", "network", "uplink", "vrouter"]
    host: str
    name: str
    """Port key, network name, or the vRouter VM's name."""
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``path`` ends where the frame ended; ``reason`` says why it arrived or did not."""

    delivered: bool
    path: tuple[Hop, ...]
    reason: str

    @property
    def vrouters(self) -> tuple[str, ...]:
        """Names of the vRouter VMs that it passed."""
        return tuple(hop.name for hop in self.path if hop.kind == "vrouter")


@dataclass(frozen=True, slots=True)
class StillAgent:
    """What counts of a VRouterAgent for a frame, as it is at one moment."""

    mode: Literal["vcenter", "esxi_neutron"]
    forwards: bool
    ports: Sequence[Port]

    def active_ports(self) -> Sequence[Port]:
        """The ports it moves frames for."""
        return self.ports


def still(vrouters: Mapping[str, VRouterAgent]) -> dict[str, StillAgent]:
    """The agents as they are now, for whoever asks about many frames at one moment: what they have is found once."""
    return {moid: StillAgent(one.mode, one.forwards, one.active_ports()) for moid, one in vrouters.items()}


Agents: TypeAlias = "Mapping[str, VRouterAgent] | Mapping[str, StillAgent]"


class _StoppedError(Exception):
    """The frame ends here."""


@dataclass(frozen=True, slots=True)
class _Wire:
    """A frame on a switch: where, in which VLAN, and how it came."""

    dvs: DistributedVirtualSwitch
    host: HostSystem
    vlan: int
    frame: Frame
    path: tuple[Hop, ...]
    pvlan: bool
    origin: DvPort


def verdict(world: World, vrouters: Agents, source_nic: VmNic, destination_nic: VmNic, frame: Frame) -> Verdict:
    """Follow ``frame`` from one card towards another.

    ``vrouters``: ``VRouterFleet.agents`` by the managed object id of the VM that each runs in, or ``still`` of them.
    """
    path: list[Hop] = []
    try:
        source, target = _ready(source_nic), _ready(destination_nic)
        if source.network is None or target.network is None:
            raise _StoppedError("a card is on no network")
        if not isinstance(source.network, DistributedVirtualPortgroup):
            return _standard(source_nic, destination_nic, source, target, frame)
        wire = _sent(source_nic, source, frame, path)
        return _routed(world, vrouters, wire, destination_nic)
    except _StoppedError as stop:
        return Verdict(False, tuple(path), str(stop))


def _ready(nic: VmNic) -> NicState:
    state = nic.state
    if state is None:
        raise _StoppedError(f"{nic.vm.name} has no card {nic.key}")
    if not nic.vm.guest_runs or not state.connected:
        raise _StoppedError(f"{nic.vm.name} is off or its card is not connected")
    return state


def _standard(source: VmNic, target: VmNic, one: NicState, other: NicState, frame: Frame) -> Verdict:
    assert source.vm.host is not None  # noqa: S101 - the guest runs
    assert one.network is not None  # noqa: S101 - asked before
    path = (Hop("network", source.vm.host.name, one.network.name),)
    if one.network is not other.network:
        return Verdict(False, path, "the cards are on different networks")
    if not frame.to_many and frame.destination_mac != other.mac:
        return Verdict(False, path, f"the frame is not for {target.vm.name}")
    return Verdict(True, path, "both cards are on the same standard network")


# -- out of a port ----------------------------------------------------------------------------------------------


def _port_of(nic: VmNic, state: NicState) -> DvPort:
    assert isinstance(state.network, DistributedVirtualPortgroup)  # noqa: S101 - asked before
    port = state.network.dvs.ports.get(state.port_key)
    if port is None or port.vm is not nic.vm:
        raise _StoppedError(f"{nic.vm.name} has no port")
    return port


def _check_open(port: DvPort, setting: Any) -> None:
    if not blocked(setting):
        return
    vm = port.vm
    moving = vm is not None and port.proxy_host is not vm.host and vm.started_on is not vm.host
    if not moving or Switches.of(port.group.world).blocked_in_vmotion:
        raise _StoppedError(f"port {port.key} is blocked")


def _sent(nic: VmNic, state: NicState, frame: Frame, path: list[Hop]) -> _Wire:
    """Rule 3: onto the switch. ``path`` grows even where the frame is stopped."""
    port, host = _port_of(nic, state), nic.vm.host
    assert host is not None  # noqa: S101 - the guest runs
    path.append(Hop("port", host.name, port.key, frame.vlan))
    setting = in_force(port)
    _check_open(port, setting)
    policy = setting.macManagementPolicy
    if frame.source_mac != state.mac and not (policy is not None and policy.forgedTransmits):
        raise _StoppedError(f"port {port.key} refuses forged transmits")
    if not passes(rules(setting), frame, OUTGOING):
        raise _StoppedError(f"a rule of port {port.key} drops it")
    ranges, trunk = vlan_ranges(setting.vlan)
    if trunk:
        vlan = frame.vlan or 0
        if not _within(ranges, vlan):
            raise _StoppedError(f"trunk port {port.key} does not carry VLAN {vlan}")
    else:
        vlan = ranges[0][0]
        if frame.vlan is not None:
            raise _StoppedError(f"access port {port.key} takes no tagged frames")
    untagged = dataclasses.replace(frame, vlan=None)
    return _Wire(port.group.dvs, host, vlan, untagged, tuple(path), isinstance(setting.vlan, _PVLAN), port)


def _within(ranges: tuple[tuple[int, int], ...], vlan: int) -> bool:
    return any(first <= vlan <= last for first, last in ranges)


# -- into a port ------------------------------------------------------------------------------------------------


def _received(wire: _Wire, nic: VmNic) -> Verdict:
    """Rules 4 and 5: whether the frame on this switch and host gets into the card."""
    path = list(wire.path)
    try:
        state = _ready(nic)
        group, host = state.network, nic.vm.host
        if not isinstance(group, DistributedVirtualPortgroup) or group.dvs is not wire.dvs or host is None:
            raise _StoppedError(f"{nic.vm.name} is not on {wire.dvs.name}")
        if host is not wire.host:
            path += _across(wire, host)
        port = _port_of(nic, state)
        if port is wire.origin:
            raise _StoppedError("a frame does not come back to its port")
        setting = in_force(port)
        path.append(Hop("port", host.name, port.key, wire.vlan))
        _check_open(port, setting)
        ranges, trunk = vlan_ranges(setting.vlan)
        private = isinstance(setting.vlan, _PVLAN)
        reached = may_talk(wire.dvs, wire.vlan, ranges[0][0]) if private and wire.pvlan else _within(ranges, wire.vlan)
        if not reached:
            raise _StoppedError(f"port {port.key} is not in VLAN {wire.vlan}")
        if not wire.frame.to_many and wire.frame.destination_mac != state.mac and not promiscuous(setting):
            raise _StoppedError(f"the frame is not for {nic.vm.name}")
        seen = dataclasses.replace(wire.frame, vlan=wire.vlan if trunk and wire.vlan else None)
        if not passes(rules(setting), seen, INCOMING):
            raise _StoppedError(f"a rule of port {port.key} drops it")
    except _StoppedError as stop:
        return Verdict(False, tuple(path), str(stop))
    return Verdict(True, tuple(path), f"delivered in VLAN {wire.vlan}")


def _across(wire: _Wire, host: HostSystem) -> list[Hop]:
    """Rule 5: the uplinks of both hosts."""
    hops = []
    for end in (wire.host, host):
        member = wire.dvs.members.get(end.moid)
        ports = [wire.dvs.ports.ports[key] for key in (member.uplink_keys if member is not None else ())]
        port = next((port for port in ports if port.pnic), None)
        if port is None:
            raise _StoppedError(f"{wire.dvs.name} has no uplink on {end.name}")
        setting = in_force(port)
        _check_open(port, setting)
        if not _within(vlan_ranges(setting.vlan)[0], wire.vlan):
            raise _StoppedError(f"the uplinks of {wire.dvs.name} do not carry VLAN {wire.vlan}")
        hops.append(Hop("uplink", end.name, port.pnic, wire.vlan))
    return hops


# -- through vRouters -------------------------------------------------------------------------------------------


def _routed(world: World, vrouters: Agents, wire: _Wire, target: VmNic) -> Verdict:
    """Rule 6: what the switch delivers by itself, else what vRouters on it make of the frame."""
    direct = _received(wire, target)
    if direct.delivered:
        return direct
    reasons, path = [direct.reason], direct.path
    for nic, agent in _trunks(world, vrouters, wire.dvs, wire.host):
        taken = _received(wire, nic)
        if not taken.delivered:
            reasons.append(f"the vRouter does not get it: {taken.reason}")
            continue
        path = (*taken.path, Hop("vrouter", wire.host.name, nic.vm.name, wire.vlan))
        try:
            came_from = _subscription(agent, wire)
        except _StoppedError as stop:
            reasons.append(str(stop))
            continue
        reasons.append(f"the vRouter sends it to network {came_from.network} only")
        for out, port in _outputs(world, vrouters, came_from, wire.frame):
            found = _emitted(out, port, wire, path, target)
            if found.delivered:
                return found
            reasons.append(found.reason)
    return Verdict(False, path, "; ".join(dict.fromkeys(reasons)))


def _trunks(
    world: World, vrouters: Agents, dvs: DistributedVirtualSwitch | None, host: HostSystem | None
) -> Iterator[tuple[VmNic, VRouterAgent | StillAgent]]:
    """Trunk cards of vRouter VMs, on this switch and host where one is given."""
    for moid, agent in vrouters.items():
        vm = world.get(moid)
        if not isinstance(vm, VirtualMachine) or (host is not None and vm.host is not host):
            continue
        for nic in vm.nics:
            group = nic.network
            if not isinstance(group, DistributedVirtualPortgroup) or (dvs is not None and group.dvs is not dvs):
                continue
            port = group.dvs.ports.get(nic.port_key)
            if port is not None and vlan_ranges(in_force(port).vlan)[1]:
                yield VmNic(vm, nic.key), agent


def _subscription(agent: VRouterAgent | StillAgent, wire: _Wire) -> Port:
    """The subscription that the VLAN belongs to."""
    if not agent.forwards:
        raise _StoppedError("the vRouter does not forward")
    for port in reversed(agent.active_ports()):  # the last one that was made has the VLAN
        if port.rx_vlan == wire.vlan:
            if agent.mode == "vcenter" and port.mac.lower() != wire.frame.source_mac:
                raise _StoppedError(f"VLAN {wire.vlan} is subscribed for another address")
            return port
    raise _StoppedError(f"the vRouter has no subscription in VLAN {wire.vlan}")


def _outputs(world: World, vrouters: Agents, came_from: Port, frame: Frame) -> Iterator[tuple[VmNic, Port]]:
    """Where the vRouters send it: trunk card and subscription."""
    for nic, agent in _trunks(world, vrouters, None, None):
        for port in agent.active_ports():
            if port.id == came_from.id or port.network != came_from.network:
                continue
            by_address = frame.destination_mac == GATEWAY_MAC and frame.destination_ip in (port.ip, port.ip6)
            if frame.to_many or by_address or port.mac.lower() == frame.destination_mac:
                yield nic, port


def _emitted(nic: VmNic, port: Port, wire: _Wire, path: tuple[Hop, ...], target: VmNic) -> Verdict:
    """A vRouter puts the frame on its switch again, in the VLAN of the subscription."""
    host = nic.vm.host
    hops = list(path)
    if host is not wire.host and host is not None:
        hops.append(Hop("vrouter", host.name, nic.vm.name, port.tx_vlan))
    many = wire.frame.to_many
    sent = dataclasses.replace(
        wire.frame, vlan=port.tx_vlan, destination_mac=wire.frame.destination_mac if many else port.mac.lower()
    )
    try:
        state = _ready(nic)
        out = _sent(nic, state, sent, hops)
    except _StoppedError as stop:
        return Verdict(False, tuple(hops), str(stop))
    return _received(out, target)
