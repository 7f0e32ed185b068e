"""Security groups as stateless filter rules; pure.

The switch knows no connections, so a rule of a stateful group brings rules for the answers with it: same protocol, the
other way, from the ports that were asked to the ports that clients ask from. This lets in what Neutron's own firewall
would not: packets from an allowed peer to those client ports. Nothing else that Neutron forbids passes, and in doubt
(an ICMP type under ``refuse``, too many rules) less passes, never more.

Order: what every port needs, accepted traffic, answers, then ARP, then the drops. Accepted rules are sorted, so that
the same security groups always give the same list.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contrail_vsphere.ml2.worker.desired import PortSecurity, Rule
from contrail_vsphere.model.traffic_filter import DROP_IP, DROP_OTHER, PASS_ARP, Direction, FilterRule, PortRange

ICMP, TCP, UDP, ICMPV6, SCTP, DCCP, UDPLITE = 1, 6, 17, 58, 132, 33, 136
WITH_PORTS = frozenset({TCP, UDP, SCTP, DCCP, UDPLITE})
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
ALL_PORTS: PortRange = (0, 65535)
LINK_LOCAL, UNSPECIFIED6 = "fe80::/64", "::/128"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about filters."""

    ephemeral: PortRange = (32768, 65535)
    icmp_types: str = "widen"
    """``widen``: a rule for one type allows all; ``refuse``: it allows nothing."""
    most_rules: int = 512


@dataclass(frozen=True, slots=True)
class Filter:
    """A port's rules, and why they are not what was asked for; empty ``problem`` if they are."""

    rules: tuple[FilterRule, ...]
    problem: str = ""


def filter_of(
    security: PortSecurity, policy: Policy, *, dscp: int = -1, subports: tuple[PortSecurity, ...] = ()
) -> Filter:
    """The whole list for one port. Too long a list closes the port instead.

    ``dscp``: what packets of the VM are marked with; a rule that marks also accepts.
    """
    everybody = (security, *subports)
    if not all(each.enabled for each in everybody):
        return Filter(marked_only(dscp))
    accepted: set[FilterRule] = set()
    for each in everybody:
        own = _own(each)
        for rule in each.rules:
            if rule.icmp_type is None or policy.icmp_types != "refuse":
                accepted.update(_accept(rule, own[rule.version], policy))
    needed = tuple(dict.fromkeys(rule for each in everybody for rule in _always(_own(each))))
    passing = (_marked(rule, dscp) for rule in sorted(_without_covered(accepted)))
    rules = (*needed, *passing, PASS_ARP, DROP_IP, DROP_OTHER)
    if len(rules) > policy.most_rules:
        return Filter(
            (*needed, PASS_ARP, DROP_IP, DROP_OTHER),
            f"its security groups need {len(rules)} filter rules and rules_per_port is {policy.most_rules}",
        )
    return Filter(rules)


def _own(security: PortSecurity) -> dict[int, tuple[str, ...]]:
    return {version: _collapse(security.addresses, version) for version in (4, 6)}


def marked_only(dscp: int) -> tuple[FilterRule, ...]:
    """For a port without a firewall: everything passes, what the VM sends is marked."""
    return (FilterRule("outgoing", accept=True, dscp=dscp),) if dscp >= 0 else ()


def _marked(rule: FilterRule, dscp: int) -> FilterRule:
    return dataclasses.replace(rule, dscp=dscp) if dscp >= 0 and rule.direction == "outgoing" else rule


def _always(own: dict[int, tuple[str, ...]]) -> Iterator[FilterRule]:
    """DHCP as a client, and what IPv6 cannot be without: neighbour discovery and router advertisements."""
    for source in ("0.0.0.0/32", *own[4]):
        yield _dhcp("outgoing", source, EVERYWHERE[4], 68, 67)
    for destination in ("255.255.255.255/32", *own[4]):
        yield _dhcp("incoming", EVERYWHERE[4], destination, 67, 68)
    if not own[6]:
        return
    yield _dhcp("outgoing", LINK_LOCAL, EVERYWHERE[6], 546, 547)
    yield _dhcp("incoming", EVERYWHERE[6], LINK_LOCAL, 547, 546)
    # The switch cannot tell ICMPv6 types apart: neighbour discovery is what stays on the link.
    for source in (LINK_LOCAL, UNSPECIFIED6, *own[6]):
        yield _rule("outgoing", source, "ff02::/16", protocol=ICMPV6)
        yield _rule("outgoing", source, LINK_LOCAL, protocol=ICMPV6)
    yield _rule("incoming", LINK_LOCAL, EVERYWHERE[6], protocol=ICMPV6)
    yield _rule("incoming", EVERYWHERE[6], "ff02::/16", protocol=ICMPV6)


def _accept(rule: Rule, own: tuple[str, ...], policy: Policy) -> Iterator[FilterRule]:
    """A rule and its answers, for each pair of own and other addresses."""
    remotes = _collapse(rule.remotes, rule.version)
    for mine in own:
        for other in remotes:
            ports = rule.ports if rule.protocol in WITH_PORTS else ALL_PORTS
            if rule.ingress:
                yield _rule("incoming", other, mine, protocol=rule.protocol, destination_ports=ports)
            else:
                yield _rule("outgoing", mine, other, protocol=rule.protocol, destination_ports=ports)
            if rule.stateful:
                yield from _answers(rule, mine, other, policy.ephemeral)


def _answers(rule: Rule, mine: str, other: str, ephemeral: PortRange) -> Iterator[FilterRule]:
    if rule.protocol == -1:
        # "Any protocol" back would be "anything goes": only the protocols whose answers can be told from questions.
        icmp = ICMP if rule.version == 4 else ICMPV6
        for each in (TCP, UDP, icmp):
            yield from _answers(dataclasses.replace(rule, protocol=each), mine, other, ephemeral)
        return
    protocol = rule.protocol
    asked, asking = (rule.ports, ephemeral) if protocol in WITH_PORTS else (ALL_PORTS, ALL_PORTS)
    if rule.ingress:
        yield _rule("outgoing", mine, other, protocol=protocol, source_ports=asked, destination_ports=asking)
    else:
        yield _rule("incoming", other, mine, protocol=protocol, source_ports=asked, destination_ports=asking)


def _dhcp(direction: Direction, source: str, destination: str, /, *ports: int) -> FilterRule:
    asking, asked = ((port, port) for port in ports)
    return _rule(direction, source, destination, protocol=UDP, source_ports=asking, destination_ports=asked)


def _rule(
    direction: Direction,
    source: str,
    destination: str,
    *,
    protocol: int = -1,
    source_ports: PortRange = ALL_PORTS,
    destination_ports: PortRange = ALL_PORTS,
) -> FilterRule:
    return FilterRule(
        direction,
        accept=True,
        source=source,
        destination=destination,
        protocol=protocol,
        source_ports=source_ports,
        destination_ports=destination_ports,
    )


def _without_covered(rules: set[FilterRule]) -> set[FilterRule]:
    """Without those that another one with the same addresses makes superfluous."""
    by_pair: dict[tuple[str, str, str], list[FilterRule]] = {}
    for rule in rules:
        by_pair.setdefault((rule.direction, rule.source, rule.destination), []).append(rule)
    kept: set[FilterRule] = set()
    for group in by_pair.values():
        kept.update(rule for rule in group if not any(_covers(other, rule) for other in group if other != rule))
    return kept


def _covers(one: FilterRule, other: FilterRule) -> bool:
    return (
        one.protocol in (-1, other.protocol)
        and _within(other.source_ports, one.source_ports)
        and _within(other.destination_ports, one.destination_ports)
    )


def _within(inner: PortRange, outer: PortRange) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _collapse(cidrs: Iterable[str], version: int) -> tuple[str, ...]:
    """The same addresses in as few CIDRs as possible, of one IP version."""
    networks = [ipaddress.ip_network(each, strict=False) for each in cidrs]
    if version == 4:
        fours = [each for each in networks if isinstance(each, ipaddress.IPv4Network)]
        return tuple(str(each) for each in ipaddress.collapse_addresses(fours))
    sixes = [each for each in networks if isinstance(each, ipaddress.IPv6Network)]
    return tuple(str(each) for each in ipaddress.collapse_addresses(sixes))
