"""QoS rules of Neutron as limits of a DVPort; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contrail_vsphere.ml2.worker.desired import Quality
from contrail_vsphere.model.traffic_filter import Shaping

BURST = 0.8
"""Seconds of the bandwidth that may come at once where a rule names no burst: what Neutron recommends for TCP."""


def quality_of(rules: Iterable[Any]) -> Quality:
    """``rules``: objects of a QoS policy. Egress is what the VM sends."""
    from_vm = to_vm = None
    dscp = -1
    for rule in rules:
        if rule.rule_type == "dscp_marking":
            dscp = int(rule.dscp_mark)
        elif rule.rule_type == "bandwidth_limit":
            shaping = _shaping(int(rule.max_kbps), int(rule.max_burst_kbps or 0))
            if rule.direction == "ingress":
                to_vm = shaping
            else:
                from_vm = shaping
    return Quality(from_vm, to_vm, dscp)


def _shaping(kbps: int, burst_kbits: int) -> Shaping:
    bits = kbps * 1000
    burst = burst_kbits * 1000 // 8 if burst_kbits else int(bits * BURST) // 8
    return Shaping(average=bits, peak=bits, burst=burst)
