"""Traffic filter rules on the wire, both ways.

``failClosed`` is set on every filter: with the default, a host that cannot load the filter leaves the port open.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

from contrail_vsphere.model.traffic_filter import FilterRule, PortRange
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

_RULE = vim.dvs.TrafficRule
_FILTER = vim.dvs.DistributedVirtualPort
FILTER_AGENT = "dvfilter-generic-vmware"
DIRECTIONS = {"incoming": "incomingPackets", "outgoing": "outgoingPackets", "both": "both"}
"""The VM's view of direction; vSphere's reference does not say whose it is, therefore it is said here alone."""
_BACK = {wire: ours for ours, wire in DIRECTIONS.items()}
_ACTIONS = (_RULE.AcceptAction, _RULE.DropAction, _RULE.UpdateTagAction)
ALL_PORTS: PortRange = (0, 65535)
STEP = 10
"""Between the sequence numbers of two rules."""


def filter_policy(rules: tuple[FilterRule, ...] | None, filters: tuple[str, ...] = ()) -> Any:
    """``DvsFilterPolicy``; None inherits the port group's.

    ``filters``: keys of what is there now. A filter without a key is one more filter, therefore the first of them is
    replaced under its key, and others are removed.
    """
    if rules is None:
        return build(_FILTER.FilterPolicy, inherited=True, filterConfig=[])
    ruleset = build(
        vim.dvs.TrafficRuleset,
        enabled=bool(rules),
        rules=[_rule(rule, number * STEP) for number, rule in enumerate(rules)],
    )
    config = build(
        _FILTER.TrafficFilterConfig,
        inherited=False,
        key=filters[0] if filters else None,
        agentName=FILTER_AGENT,
        onFailure="failClosed",
        trafficRuleset=ruleset,
    )
    gone = [
        build(_FILTER.TrafficFilterConfigSpec, inherited=False, key=key, agentName=FILTER_AGENT, operation="remove")
        for key in filters[1:]
    ]
    return build(_FILTER.FilterPolicy, inherited=False, filterConfig=[config, *gone])


def filter_keys(policy: Any) -> tuple[str, ...]:
    """Keys of the filters of a ``DvsFilterPolicy``; none if it is inherited."""
    if policy is None or policy.inherited:
        return ()
    return tuple(str(config.key) for config in policy.filterConfig if config.key)


def rules_of(policy: Any) -> tuple[FilterRule, ...] | None:
    """Rules of a ``DvsFilterPolicy``; None if it is inherited. What we would not write reads as None too.

    That is a rule of another kind, a second filter, or one that lets everything pass when it fails.
    """
    if policy is None or policy.inherited or len(policy.filterConfig) != 1:
        return None
    if str(policy.filterConfig[0].onFailure or "failOpen") != "failClosed":
        return None
    found: list[FilterRule] = []
    for config in policy.filterConfig:
        ruleset = getattr(config, "trafficRuleset", None)
        if ruleset is None or not ruleset.enabled:
            continue
        for rule in sorted(ruleset.rules, key=lambda each: each.sequence or 0):
            read = _read(rule)
            if read is None:
                return None
            found.append(read)
    return tuple(found)


def _rule(rule: FilterRule, sequence: int) -> Any:
    if rule.dscp >= 0:
        action = build(_RULE.UpdateTagAction, dscpTag=rule.dscp)
    else:
        action = build(_RULE.AcceptAction if rule.accept else _RULE.DropAction)
    return build(
        _RULE,
        # The same rule has the same key wherever it stands, so that a difference shows what changed and no more.
        key=_key(rule),
        description=f"{'accept' if rule.accept else 'drop'} {sequence}",
        sequence=sequence,
        qualifier=[_mac_qualifier(rule) if rule.ether_type >= 0 else _ip_qualifier(rule)],
        action=action,
        direction=DIRECTIONS[rule.direction],
    )


def _key(rule: FilterRule) -> str:
    return hashlib.sha256(repr(rule).encode()).hexdigest()[:16]


def _mac_qualifier(rule: FilterRule) -> Any:
    protocol = build(vim.IntExpression, value=rule.ether_type) if rule.ether_type else None
    return build(_RULE.MacQualifier, protocol=protocol)


def _ip_qualifier(rule: FilterRule) -> Any:
    return build(
        _RULE.IpQualifier,
        sourceAddress=_address(rule.source),
        destinationAddress=_address(rule.destination),
        protocol=build(vim.IntExpression, value=rule.protocol) if rule.protocol >= 0 else None,
        sourceIpPort=_ports(rule.source_ports),
        destinationIpPort=_ports(rule.destination_ports),
    )


def _address(cidr: str) -> Any:
    if not cidr:
        return None
    network = ipaddress.ip_network(cidr)
    if network.prefixlen == network.max_prefixlen:
        return build(vim.SingleIp, address=str(network.network_address))
    return build(vim.IpRange, addressPrefix=str(network.network_address), prefixLength=network.prefixlen)


def _ports(ports: PortRange) -> Any:
    if ports == ALL_PORTS:
        return None
    if ports[0] == ports[1]:
        return build(_RULE.SingleIpPort, portNumber=ports[0])
    return build(_RULE.IpPortRange, startPortNumber=ports[0], endPortNumber=ports[1])


def _read(rule: Any) -> FilterRule | None:
    if len(rule.qualifier) != 1 or not isinstance(rule.action, _ACTIONS):
        return None
    qualifier = rule.qualifier[0]
    direction: Any = _BACK.get(str(rule.direction or "both"), "both")
    accept = not isinstance(rule.action, _RULE.DropAction)
    dscp = rule.action.dscpTag if isinstance(rule.action, _RULE.UpdateTagAction) else None
    if isinstance(qualifier, _RULE.MacQualifier):
        ether_type = qualifier.protocol.value if qualifier.protocol else 0
        return FilterRule(direction, accept, ether_type=ether_type, dscp=-1 if dscp is None else dscp)
    if not isinstance(qualifier, _RULE.IpQualifier):
        return None
    return FilterRule(
        direction,
        accept,
        source=_cidr(qualifier.sourceAddress),
        destination=_cidr(qualifier.destinationAddress),
        protocol=qualifier.protocol.value if qualifier.protocol is not None else -1,
        source_ports=_range(qualifier.sourceIpPort),
        destination_ports=_range(qualifier.destinationIpPort),
        dscp=-1 if dscp is None else dscp,
    )


def _cidr(address: Any) -> str:
    if address is None:
        return ""
    if isinstance(address, vim.IpRange):
        return str(ipaddress.ip_network(f"{address.addressPrefix}/{address.prefixLength or 0}", strict=False))
    return str(ipaddress.ip_network(address.address))


def _range(ports: Any) -> PortRange:
    if ports is None:
        return ALL_PORTS
    if isinstance(ports, _RULE.IpPortRange):
        return (ports.startPortNumber, ports.endPortNumber)
    return (ports.portNumber, ports.portNumber)
