"""Rules of a security group: checked and completed as the API server does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from contrail_vsphere.simulator.contrail.answers import RefusedError

PROTOCOLS = frozenset({"any", "icmp", "icmp6", "tcp", "udp"})
LOCAL = "local"


def complete_rules(entries: Mapping[str, Any], new_uuid: Callable[[], str]) -> dict[str, Any]:
    """Entries with a uuid in every rule. RefusedError 400 for a bad rule, 409 for two that are equal."""
    made = []
    seen: dict[str, str | None] = {}
    for rule in entries.get("policy_rule") or []:
        _check(rule)
        what = json.dumps({name: value for name, value in rule.items() if name != "rule_uuid"}, sort_keys=True)
        if what in seen:
            raise RefusedError(409, f"Rule already exists : {seen[what]}")
        seen[what] = rule.get("rule_uuid")
        made.append({**rule, "rule_uuid": rule.get("rule_uuid") or new_uuid()})
    return {**entries, "policy_rule": made}


def _check(rule: Mapping[str, Any]) -> None:
    protocol = str(rule.get("protocol"))
    if protocol not in PROTOCOLS and not (protocol.isdigit() and int(protocol) <= 255):
        raise RefusedError(400, f"Rule with invalid protocol : {protocol}")
    sides = [*(rule.get("src_addresses") or []), *(rule.get("dst_addresses") or [])]
    if not any(address.get("security_group") == LOCAL for address in sides):
        raise RefusedError(400, "At least one of source or destination addresses must be 'local'")
