"""Introspect pages of a VRouterAgent in Sandesh's XML, as far as somebody asks for them.

Sandesh writes every field with its type and the number it has in the .sandesh file; a list carries the size; the last
field of an answer is ``more``. Shapes are those of controller_types.sandesh and controller_sandesh.cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from contrail_vsphere.simulator.vrouter.delivery import PortFacts
from contrail_vsphere.simulator.vrouter.ports import Port
from contrail_vsphere.wire.contrail.drop_counters import COUNTERS

XmppState = Literal["established", "down", "connecting"]

_HEAD = '<?xml-stylesheet type="text/xsl" href="/universal_parse.xsl"?>'
_MACHINE: dict[XmppState, tuple[str, str, str]] = {
    "established": ("Established", "OpenConfirm", "xmsm::EvXmppKeepalive"),
    "down": ("Down", "Idle", "xmsm::EvHoldTimerExpired"),
    "connecting": ("Down", "Active", "xmsm::EvConnectTimerExpired"),
}
"""Our state -> what the page says: state, last_state, last_event. A channel that connects is ``Down`` too."""


@dataclass(frozen=True, slots=True)
class Xmpp:
    """The agent's channel to one control node."""

    controller: str
    state: XmppState = "connecting"
    flaps: int = 0
    since: str = ""


def xmpp_status(channels: Iterable[Xmpp]) -> str:
    """``/Snh_AgentXmppConnectionStatusReq``; the first established channel configures the agent."""
    entries = []
    configured = False
    for channel in channels:
        state, last_state, last_event = _MACHINE[channel.state]
        configures = state == "Established" and not configured
        configured = configured or configures
        flag = "Yes" if configures else "No"
        fields = [
            _field("controller_ip", 1, channel.controller),
            _field("state", 2, state),
            _field("peer_name", 3, "network-control@contrailsystems.com"),
            _field("peer_address", 4, channel.controller),
            _field("cfg_controller", 5, flag),
            _field("mcast_controller", 6, flag),
            _field("last_state", 7, last_state),
            _field("last_event", 8, last_event),
            _field("last_state_at", 9, channel.since),
            _field("flap_count", 10, str(channel.flaps), kind="u32"),
            _field("flap_time", 11, ""),
            _stats("rx_proto_stats", 12),
            _stats("tx_proto_stats", 13),
            _field("xmpp_auth_type", 14, "NIL"),
        ]
        entries.append("".join(fields))
    return _page("AgentXmppConnectionStatus", "peer", "AgentXmppData", entries)


def port_subscriptions(ports: Iterable[Port]) -> str:
    """``/Snh_FetchVmiPortSubscriptionReq``: the only list of ports there is; it does not tell the link state."""
    entries = [
        "".join(
            (
                _field("vmi_uuid", 1, port.id),
                _field("vm_uuid", 2, port.vm),
                _field("vn_uuid", 3, port.network),
                _field("ip", 4, port.ip),
                _field("mac", 5, port.mac),
                _field("tx_vlan_id", 6, str(port.tx_vlan & 0xFFFF), kind="u16"),
                _field("rx_vlan_id", 7, str(port.rx_vlan & 0xFFFF), kind="u16"),
                _field("version", 8, str(port.version), kind="u32"),
            )
        )
        for port in ports
    ]
    return _page("VmiPortSubscriptionRsp", "port_list", "VmiPortSubscription", entries)


def interfaces(ports: Iterable[tuple[Port, PortFacts | None]]) -> str:
    """``/Snh_ItfReq``: the interfaces of ports, active or with the reason why not.

    Of the many fields of an entry those that tell ports apart; their numbers are those of this list.
    """
    entries = []
    for port, facts in ports:
        why_not = "" if facts is not None else "no-vn/no-vm-config"
        if not port.link_up:
            why_not = "admin-down"
        fields = [
            _field("name", 1, port.system_name),
            _field("uuid", 2, port.id),
            _field(
                "vrf_name", 3, f"{facts.network_name}:{facts.network_name.rpartition(':')[2]}" if facts else "--ERROR--"
            ),
            _field("active", 4, f"Inactive <{why_not}>" if why_not else "Active"),
            _field("type", 5, "vport"),
            _field("vn_name", 6, facts.network_name if facts else ""),
            _field("vm_uuid", 7, port.vm),
            _field("vm_name", 8, port.name),
            _field("ip_addr", 9, port.ip),
            _field("ip6_addr", 10, port.ip6),
            _field("mac_addr", 11, port.mac),
            _field("tx_vlan", 12, str(port.tx_vlan & 0xFFFF), kind="u16"),
            _field("rx_vlan", 13, str(port.rx_vlan & 0xFFFF), kind="u16"),
            _field("admin_state", 14, "Enabled" if port.link_up else "Disabled"),
        ]
        entries.append("".join(fields))
    return _page("ItfResp", "itf_list", "ItfSandeshData", entries)


def drop_stats(counts: Mapping[str, int]) -> str:
    """``/Snh_KDropStatsReq``: one number per reason; reasons that are not given are 0."""
    fields = [_field("ds_rid", 1, "0", kind="i16")]
    fields += [_field(f"ds_{name}", n, str(counts.get(name, 0)), kind="i64") for n, name in enumerate(COUNTERS, 2)]
    more = '<more type="bool" identifier="0">false</more>'
    return f'{_HEAD}<KDropStatsResp type="sandesh">{"".join(fields)}{more}</KDropStatsResp>'


def _page(answer: str, name: str, struct: str, entries: list[str]) -> str:
    listed = "".join(f"<{struct}>{entry}</{struct}>" for entry in entries)
    return (
        f'{_HEAD}<{answer} type="sandesh"><{name} type="list" identifier="1">'
        f'<list type="struct" size="{len(entries)}">{listed}</list></{name}>'
        f'<more type="bool" identifier="0">false</more></{answer}>'
    )


def _field(name: str, number: int, value: str, *, kind: str = "string") -> str:
    return f'<{name} type="{kind}" identifier="{number}">{escape(value)}</{name}>'


def _stats(name: str, number: int) -> str:
    counts = "".join(_field(item, n, "1", kind="u32") for n, item in enumerate(("open", "keepalive"), 1))
    counts += "".join(_field(item, n, "0", kind="u32") for n, item in enumerate(("update", "close"), 3))
    return f'<{name} type="struct" identifier="{number}"><ControllerProtoStats>{counts}</ControllerProtoStats></{name}>'
