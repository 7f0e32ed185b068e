"""What Neutron says of a frame: a second reading of security groups, from its API reference and not from our code."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st

from contrail_vsphere.ml2.worker.desired import Rule
from contrail_vsphere.simulator.oracle_frame import IPV4, IPV6, Frame

MAC, PEER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
OWN = ("10.0.0.5", "fd00::5")
PEERS = ("10.0.0.9", "10.0.1.9", "192.0.2.9", "fd00::9", "2001:db8::9")
EPHEMERAL = (32768, 65535)
TCP, UDP, ICMP, ICMPV6, GRE = 6, 17, 1, 58, 47

REMOTES = {
    4: [("0.0.0.0/0",), ("10.0.0.0/24",), ("10.0.0.9/32", "192.0.2.9/32"), ("10.0.0.0/25", "10.0.0.128/25"), ()],
    6: [("::/0",), ("fd00::/64",), ("fd00::9/128",), ()],
}


@st.composite
def rules(draw):
    version = draw(st.sampled_from((4, 6)))
    protocol = draw(st.sampled_from((-1, TCP, UDP, ICMP if version == 4 else ICMPV6, GRE)))
    low = draw(st.sampled_from((22, 80, 443, 8000)))
    ports = draw(st.sampled_from(((0, 65535), (low, low), (low, low + 100))))
    return Rule(
        ingress=draw(st.booleans()),
        version=version,
        remotes=draw(st.sampled_from(REMOTES[version])),
        protocol=protocol,
        ports=ports if protocol in (TCP, UDP) else (0, 65535),
        stateful=draw(st.booleans()),
    )


@st.composite
def frames(draw, incoming):
    peer = draw(st.sampled_from(PEERS))
    own = OWN[":" in peer]
    protocol = draw(st.sampled_from((TCP, UDP, ICMPV6 if ":" in peer else ICMP, GRE, 132)))
    has_ports = protocol in (TCP, UDP, 132)
    port = st.sampled_from((22, 80, 100, 443, 8050, 9999, 40000, 65535))
    return Frame(
        source_mac=PEER if incoming else MAC,
        destination_mac=MAC if incoming else PEER,
        ether_type=IPV6 if ":" in peer else IPV4,
        source_ip=peer if incoming else own,
        destination_ip=own if incoming else peer,
        protocol=protocol,
        source_port=draw(port) if has_ports else 0,
        destination_port=draw(port) if has_ports else 0,
    )


def names(rule, frame, *, incoming):
    """Whether a rule names this frame, as a new connection."""
    peer = frame.source_ip if incoming else frame.destination_ip
    if rule.ingress != incoming or (6 if ":" in peer else 4) != rule.version:
        return False
    if not any(ipaddress.ip_address(peer) in ipaddress.ip_network(cidr) for cidr in rule.remotes):
        return False
    if rule.protocol == -1:
        return True
    if rule.protocol != frame.protocol:
        return False
    return rule.protocol not in (TCP, UDP, 132) or rule.ports[0] <= frame.destination_port <= rule.ports[1]


def turned(frame):
    return Frame(
        source_mac=frame.destination_mac, destination_mac=frame.source_mac, ether_type=frame.ether_type,
        source_ip=frame.destination_ip, destination_ip=frame.source_ip, protocol=frame.protocol,
        source_port=frame.destination_port, destination_port=frame.source_port,
    )  # fmt: skip


def price(given_rules, frame, *, incoming):
    """What a stateless filter cannot refuse: what looks like an answer that a stateful rule allows."""
    asked = turned(frame)
    for rule in given_rules:
        if not rule.stateful or not names(rule, asked, incoming=not incoming):
            continue
        if frame.protocol in (TCP, UDP, 132) and not EPHEMERAL[0] <= frame.destination_port <= EPHEMERAL[1]:
            continue
        if rule.protocol == -1 and frame.protocol not in (TCP, UDP, ICMP, ICMPV6):
            continue
        return True
    return False
