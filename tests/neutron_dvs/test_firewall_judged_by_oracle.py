"""Security groups as filter rules, judged frame by frame with the simulator's own rule machine.

What Neutron says is computed here a second time, from its API reference and not from our code: a stateful firewall that
knows connections. The filter must let through what that lets through (answers to clients that ask from ephemeral ports
included), and nothing else beyond the price of a stateless filter, which is named in ``price``.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neutron_says import GRE, ICMP, ICMPV6, MAC, OWN, PEER, TCP, UDP, frames, names, price, rules, turned
from pyVmomi import vim

from contrail_vsphere.ml2.worker.desired import PortSecurity, Rule
from contrail_vsphere.ml2.worker.firewall import Policy, filter_of
from contrail_vsphere.simulator.oracle_frame import ARP, INCOMING, IPV4, IPV6, OUTGOING, Frame, passes
from contrail_vsphere.vsphere.traffic_rules import filter_policy, rules_of


def security(*given_rules, addresses=OWN, **fields):
    return PortSecurity(enabled=True, addresses=tuple(addresses), rules=tuple(given_rules), **fields)


def on_the_wire(made):
    """The rules as the simulated switch would have them."""
    policy = filter_policy(made)
    assert rules_of(policy) == made
    (config,) = policy.filterConfig
    assert config.onFailure == "failClosed"
    sequences = [rule.sequence for rule in config.trafficRuleset.rules]
    assert sequences == sorted(set(sequences))
    return list(config.trafficRuleset.rules) if config.trafficRuleset.enabled else []


@settings(max_examples=400, deadline=None)
@given(given_rules=st.lists(rules(), max_size=6), frame=frames(True), outgoing=frames(False))
def test_what_neutron_allows_arrives_and_nothing_else(given_rules, frame, outgoing):
    made = on_the_wire(filter_of(security(*given_rules), Policy()).rules)
    for each, incoming in ((frame, True), (outgoing, False)):
        allowed = any(names(rule, each, incoming=incoming) for rule in given_rules)
        expected = allowed or price(given_rules, each, incoming=incoming)
        assert passes(made, each, INCOMING if incoming else OUTGOING) == expected, each


@settings(max_examples=200, deadline=None)
@given(given_rules=st.lists(rules(), max_size=6), frame=frames(True))
def test_clients_on_ephemeral_ports_get_answers(given_rules, frame):
    stateful = [rule for rule in given_rules if rule.stateful]
    question = Frame(**{**{name: getattr(frame, name) for name in Frame.__slots__}, "source_port": 40000})
    if not any(names(rule, question, incoming=True) for rule in stateful) or question.protocol in (GRE, 132):
        return
    made = on_the_wire(filter_of(security(*stateful), Policy()).rules)
    assert passes(made, question, INCOMING)
    assert passes(made, turned(question), OUTGOING)


@settings(max_examples=200, deadline=None)
@given(given_rules=st.lists(rules(), max_size=6), frame=frames(False), other=st.sampled_from(("10.0.0.6", "fd00::6")))
def test_nobody_sends_from_an_address_that_is_not_theirs(given_rules, frame, other):
    if (":" in other) != (":" in frame.source_ip):
        return
    made = on_the_wire(filter_of(security(*given_rules), Policy()).rules)
    spoofed = Frame(**{**{name: getattr(frame, name) for name in Frame.__slots__}, "source_ip": other})
    assert not passes(made, spoofed, OUTGOING)


def udp(source, destination, source_port, destination_port, *, mac=MAC):
    version = IPV6 if ":" in source else IPV4
    return Frame(
        source_mac=mac, destination_mac=PEER, ether_type=version, source_ip=source, destination_ip=destination,
        protocol=UDP, source_port=source_port, destination_port=destination_port,
    )  # fmt: skip


ALONE = on_the_wire(filter_of(security(), Policy()).rules)


@pytest.mark.parametrize(
    ("frame", "direction", "arrives"),
    [
        (udp("0.0.0.0", "255.255.255.255", 68, 67), OUTGOING, True),
        (udp("10.0.0.5", "10.0.0.2", 68, 67), OUTGOING, True),
        (udp("10.0.0.2", "10.0.0.5", 67, 68), INCOMING, True),
        (udp("10.0.0.2", "255.255.255.255", 67, 68), INCOMING, True),
        # A guest is no DHCP server, and nobody else's lease is for it.
        (udp("10.0.0.5", "255.255.255.255", 67, 68), OUTGOING, False),
        (udp("10.0.0.2", "10.0.0.7", 67, 68), INCOMING, False),
        (udp("fe80::1", "ff02::1:2", 546, 547), OUTGOING, True),
        (udp("fe80::2", "fe80::1", 547, 546), INCOMING, True),
        (udp("fe80::1", "fe80::2", 547, 546), OUTGOING, False),
    ],
)
def test_a_port_without_groups_can_ask_for_its_address_and_no_more(frame, direction, arrives):
    assert passes(ALONE, frame, direction) is arrives


def icmp6(source, destination):
    return Frame(source_mac=MAC, destination_mac="33:33:00:00:00:01", ether_type=IPV6, source_ip=source,
                 destination_ip=destination, protocol=ICMPV6)  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "direction", "arrives"),
    [
        (icmp6("::", "ff02::1:ff00:5"), OUTGOING, True),
        (icmp6("fe80::1", "ff02::2"), OUTGOING, True),
        (icmp6("fd00::5", "ff02::1:ff00:9"), OUTGOING, True),
        (icmp6("fe80::9", "ff02::1"), INCOMING, True),
        (icmp6("fe80::9", "fd00::5"), INCOMING, True),
        (icmp6("fd00::9", "fd00::5"), INCOMING, False),
        (icmp6("fd00::6", "fd00::9"), OUTGOING, False),
    ],
)
def test_neighbours_find_each_other_on_the_link(frame, direction, arrives):
    assert passes(ALONE, frame, direction) is arrives


def test_arp_passes_and_other_ethertypes_do_not():
    arp = Frame(source_mac=MAC, destination_mac="ff:ff:ff:ff:ff:ff", ether_type=ARP)
    assert passes(ALONE, arp, OUTGOING)
    assert passes(ALONE, arp, INCOMING)
    other = Frame(source_mac=MAC, destination_mac=PEER, ether_type=0x8847)
    assert not passes(ALONE, other, OUTGOING)
    assert not passes(ALONE, other, INCOMING)


def test_without_port_security_everything_passes_from_anybody():
    made = filter_of(PortSecurity(enabled=False), Policy()).rules
    assert made == ()
    assert passes(on_the_wire(made), udp("203.0.113.1", "198.51.100.1", 1, 2), OUTGOING)


def test_an_address_pair_may_be_sent_from():
    pair = security(Rule(ingress=False, version=4, remotes=("0.0.0.0/0",)), addresses=(*OWN, "10.0.0.100/30"))
    made = on_the_wire(filter_of(pair, Policy()).rules)
    assert passes(made, udp("10.0.0.102", "10.0.0.9", 40000, 53), OUTGOING)
    assert not passes(made, udp("10.0.0.104", "10.0.0.9", 40000, 53), OUTGOING)


def test_a_thousand_members_collapse():
    members = tuple(f"10.1.{number // 256}.{number % 256}/32" for number in range(1024))
    made = filter_of(security(Rule(ingress=True, version=4, remotes=members, protocol=TCP, ports=(80, 80))), Policy())
    assert not made.problem
    assert [rule.source for rule in made.rules if rule.destination_ports == (80, 80)] == ["10.1.0.0/22"]


def test_too_many_rules_close_the_port_and_say_so():
    members = tuple(f"10.1.{number // 128}.{number % 128 * 2}/32" for number in range(300))
    wide = security(Rule(ingress=True, version=4, remotes=members, protocol=TCP, ports=(80, 80)))
    made = filter_of(wide, Policy(most_rules=512))
    assert "rules_per_port is 512" in made.problem
    closed = on_the_wire(made.rules)
    request = Frame(
        source_mac=PEER, destination_mac=MAC, source_ip="10.1.0.2", destination_ip="10.0.0.5", protocol=TCP,
        destination_port=80,
    )  # fmt: skip
    assert not passes(closed, request, INCOMING)
    assert passes(closed, udp("0.0.0.0", "255.255.255.255", 68, 67), OUTGOING)


@pytest.mark.parametrize(("policy", "arrives"), [("widen", True), ("refuse", False)])
def test_a_rule_for_one_icmp_type_widens_or_is_refused(policy, arrives):
    echo = Rule(ingress=True, version=4, remotes=("0.0.0.0/0",), protocol=ICMP, icmp_type=8)
    made = on_the_wire(filter_of(security(echo), Policy(icmp_types=policy)).rules)
    ping = Frame(source_mac=PEER, destination_mac=MAC, source_ip="10.0.0.9", destination_ip="10.0.0.5", protocol=ICMP)
    assert passes(made, ping, INCOMING) is arrives


def test_the_order_of_groups_does_not_matter():
    first = Rule(ingress=True, version=4, remotes=("10.0.0.0/24",), protocol=TCP, ports=(80, 80))
    second = Rule(ingress=False, version=6, remotes=("::/0",))
    assert filter_of(security(first, second), Policy()) == filter_of(security(second, first), Policy())


def test_a_foreign_rule_is_not_taken_for_ours():
    policy = filter_policy(filter_of(security(), Policy()).rules)
    rule = policy.filterConfig[0].trafficRuleset.rules[0]
    rule.action = vim.dvs.TrafficRule.LogAction()
    assert rules_of(policy) is None
