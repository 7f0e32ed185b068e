"""Port settings: what may be in one, how a patch changes it, and what is in force where several levels speak.

A switch has a setting, each port group one of its own that starts as the switch's, each port an *override* that holds
only the policies in which it differs. A policy in a request that is unset stays as it is; ``inherited=true`` gives it
back to the level above.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object, merged
from contrail_vsphere.simulator.vcenter.dvs_projection import default_policy
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
        DistributedVirtualPortgroup,
        DistributedVirtualSwitch,
    )

_VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
_PORT = vim.dvs.DistributedVirtualPort
SETTING: Any = _VMWARE.VmwarePortConfigPolicy
FIELDS: tuple[str, ...] = tuple(
    info.name for info in SETTING._GetPropertyList() if info.name not in ("dynamicType", "dynamicProperty")
)
"""Policies of a setting, in the order they travel."""

OVERRIDES: Mapping[str, str] = {
    "blocked": "blockOverrideAllowed",
    "inShapingPolicy": "shapingOverrideAllowed",
    "outShapingPolicy": "shapingOverrideAllowed",
    "vendorSpecificConfig": "vendorConfigOverrideAllowed",
    "networkResourcePoolKey": "networkResourcePoolOverrideAllowed",
    "filterPolicy": "trafficFilterOverrideAllowed",
    "qosTag": "trafficFilterOverrideAllowed",
    "vlan": "vlanOverrideAllowed",
    "uplinkTeamingPolicy": "uplinkTeamingOverrideAllowed",
    "txUplink": "uplinkTeamingOverrideAllowed",
    "lacpPolicy": "uplinkTeamingOverrideAllowed",
    "securityPolicy": "securityPolicyOverrideAllowed",
    "macManagementPolicy": "macManagementOverrideAllowed",
    "ipfixEnabled": "ipfixOverrideAllowed",
}
"""Policy of a port -> what the group's policy must allow for it to differ."""

_MIRRORED = ("allowPromiscuous", "macChanges", "forgedTransmits")


def _invalid(path: str, message: str) -> Exception:
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty=path)


# -- checks -----------------------------------------------------------------------------------------------------


def check_setting(setting: Any, dvs: DistributedVirtualSwitch | None = None, *, path: str = "spec") -> None:
    """Raise InvalidArgument for what no level may hold: VLAN ids, PVLANs the switch does not have, bad rules, rates."""
    if setting is None:
        return
    _check_vlan(getattr(setting, "vlan", None), dvs, f"{path}.vlan")
    for name in ("inShapingPolicy", "outShapingPolicy"):
        shaping = getattr(setting, name)
        for part in ("averageBandwidth", "peakBandwidth", "burstSize"):
            value = getattr(getattr(shaping, part, None), "value", None)
            if value is not None and value < 0:
                raise _invalid(f"{path}.{name}.{part}", "A bandwidth or burst size cannot be negative.")
    policy = getattr(setting, "filterPolicy", None)
    for config in policy.filterConfig if policy is not None else ():
        ruleset = getattr(config, "trafficRuleset", None)
        for rule in ruleset.rules if ruleset is not None else ():
            _check_rule(rule, f"{path}.filterPolicy.filterConfig.trafficRuleset.rules")


def _check_vlan(vlan: Any, dvs: DistributedVirtualSwitch | None, path: str) -> None:
    if vlan is None or vlan.inherited:
        return
    if isinstance(vlan, _VMWARE.TrunkVlanSpec):
        for item in vlan.vlanId:
            if not 0 <= int(item.start) <= int(item.end) <= 4094:
                raise _invalid(path, "A VLAN range goes up from 0 to 4094.")
    elif isinstance(vlan, _VMWARE.PvlanSpec):
        if dvs is not None and all(entry.secondaryVlanId != vlan.pvlanId for entry in dvs.pvlans):
            raise _invalid(path, f"The switch has no private VLAN {vlan.pvlanId}.")
    elif not 0 <= int(vlan.vlanId) <= 4094:
        raise _invalid(path, "A VLAN id is 0 to 4094.")


def _check_rule(rule: Any, path: str) -> None:
    """At most one qualifier of a kind; an address range has a prefix that fits; known actions."""
    kinds = [type(qualifier).__name__ for qualifier in rule.qualifier]
    if len(kinds) != len(set(kinds)):
        raise _invalid(path, "A rule has at most one qualifier of a kind.")
    for qualifier in rule.qualifier:
        for name in ("sourceAddress", "destinationAddress"):
            address = getattr(qualifier, name, None)
            if isinstance(address, vim.IpRange):
                most = 128 if ":" in address.addressPrefix else 32
                if address.prefixLength is not None and not 0 <= address.prefixLength <= most:
                    raise _invalid(path, f"'{address.addressPrefix}/{address.prefixLength}' is no address range.")
        for name in ("sourceIpPort", "destinationIpPort"):
            port = getattr(qualifier, name, None)
            numbers = (
                (port.startPortNumber, port.endPortNumber)
                if isinstance(port, vim.dvs.TrafficRule.IpPortRange)
                else (port.portNumber,)
                if port is not None
                else ()
            )
            if any(not 0 <= number <= 65535 for number in numbers) or list(numbers) != sorted(numbers):
                raise _invalid(path, "A port number is 0 to 65535.")


def check_overrides(group: DistributedVirtualPortgroup, patch: Any) -> None:
    """Raise when the patch makes a port differ in what the group's policy keeps for itself."""
    for name in set_policies(patch):
        allowed = OVERRIDES.get(name)
        if allowed is None or getattr(group.policy, allowed, None) or returned(getattr(patch, name)):
            continue
        raise refused_override(group, allowed, f"Port group '{group.name}' does not let a port override '{name}'.")


def refused_override(group: DistributedVirtualPortgroup, allowed: str, message: str) -> Exception:
    """The fault of the switch ``override_fault``."""
    if Switches.of(group.world).override_fault == "InvalidArgument":
        return fault(vmodl.fault.InvalidArgument, message, invalidProperty=f"policy.{allowed}")
    config = data_object(
        vim.fault.ConflictingConfiguration.Config, entity=group, propertyPath=f"config.policy.{allowed}"
    )
    return fault(vim.fault.ConflictingConfiguration, message, configInConflict=[config])


def set_policies(setting: Any) -> list[str]:
    """Names of the policies that a setting says something about."""
    return [name for name in FIELDS if getattr(setting, name, None) is not None] if setting is not None else []


def returned(policy: Any) -> bool:
    """Whether the value gives the policy back to the level above."""
    return bool(policy.inherited)


# -- patches ----------------------------------------------------------------------------------------------------


def patched_setting(base: Any, patch: Any, above: Any = None) -> Any:
    """A whole setting with ``patch`` over it; what the patch gives back comes from ``above`` when there is such."""
    if patch is None:
        return base
    changed: dict[str, Any] = {}
    patch = with_mirror(patch)
    for name in set_policies(patch):
        old, new = getattr(base, name), getattr(patch, name)
        if returned(new) and above is not None and getattr(above, name) is not None:
            changed[name] = as_inherited(getattr(above, name))
        else:
            changed[name] = _patched_policy(old, new)
    return data_object(type(base), **{**base.__dict__, **changed})


def patched_override(override: Any, patch: Any) -> Any:
    """A port's override after a patch; None when nothing is left of it."""
    kept = {name: getattr(override, name) for name in set_policies(override)}
    patch = with_mirror(patch)
    for name in set_policies(patch):
        new = getattr(patch, name)
        if returned(new):
            kept.pop(name, None)
        else:
            kept[name] = _without_returned(_patched_policy(kept.get(name), new))
    return data_object(SETTING, **kept) if kept else None


def _without_returned(policy: Any) -> Any:
    """The policy without the parts inside it that are given back."""
    gone = {
        name: None
        for name, value in policy.__dict__.items()
        if isinstance(value, vim.InheritablePolicy) and value.inherited
    }
    return data_object(type(policy), **{**policy.__dict__, **gone}) if gone else policy


def _patched_policy(old: Any, new: Any) -> Any:
    if isinstance(new, _PORT.FilterPolicy):
        return _patched_filters(old, new)
    return merged(old, new)


def _patched_filters(old: Any, new: Any) -> Any:
    """Filters are added, edited and removed by key; a filter without an operation replaces the one it has."""
    configs = {config.key: config for config in (old.filterConfig if old is not None else ())}
    for number, change in enumerate(new.filterConfig):
        operation = str(getattr(change, "operation", "") or "")
        key = change.key or f"filter-{len(configs) + 1}"
        if operation == "remove":
            if configs.pop(change.key, None) is None:
                raise _invalid(f"filterPolicy.filterConfig[{number}].key", f"There is no filter '{change.key}'.")
            continue
        known = configs.get(key)
        if operation == "edit" and known is None:
            raise _invalid(f"filterPolicy.filterConfig[{number}].key", f"There is no filter '{change.key}'.")
        if operation == "add" and change.key and known is not None:
            raise _invalid(f"filterPolicy.filterConfig[{number}].key", f"Filter '{key}' exists already.")
        while operation == "add" and not change.key and key in configs:
            key += "+"
        configs[key] = _filter(known if operation == "edit" else None, change, key)
    return data_object(_PORT.FilterPolicy, inherited=False, filterConfig=list(configs.values()))


def _filter(known: Any, change: Any, key: str) -> Any:
    """What is stored is the filter, not the spec that made it; rules without keys get some."""
    names = ("inherited", "agentName", "slotNumber", "parameters", "onFailure", "trafficRuleset")
    fields = {name: getattr(change, name, None) for name in names}
    if known is not None:
        fields = {name: value if value is not None else getattr(known, name) for name, value in fields.items()}
    ruleset = fields["trafficRuleset"]
    if ruleset is not None:
        rules = [
            rule if rule.key else data_object(type(rule), **{**rule.__dict__, "key": f"{key}-rule-{number}"})
            for number, rule in enumerate(ruleset.rules, start=1)
        ]
        fields["trafficRuleset"] = data_object(
            type(ruleset), **{**ruleset.__dict__, "rules": rules, "key": ruleset.key or f"{key}-rules"}
        )
    return data_object(_PORT.TrafficFilterConfig, key=key, **fields)


def with_mirror(patch: Any) -> Any:
    """Security policy and its successor, MAC management, say the same: a patch of one is a patch of both."""
    security, management = getattr(patch, "securityPolicy", None), getattr(patch, "macManagementPolicy", None)
    if security is not None and management is None:
        given = {name: getattr(security, name).value for name in _MIRRORED if getattr(security, name) is not None}
        mirror = data_object(_VMWARE.MacManagementPolicy, inherited=bool(security.inherited), **given)
        return data_object(SETTING, **{**patch.__dict__, "macManagementPolicy": mirror})
    if management is not None and security is None:
        own = bool(management.inherited)
        policies = {
            name: data_object(vim.BoolPolicy, inherited=own, value=getattr(management, name))
            for name in _MIRRORED
            if getattr(management, name) is not None
        }
        mirror = data_object(_VMWARE.SecurityPolicy, inherited=own, **policies)
        return data_object(SETTING, **{**patch.__dict__, "securityPolicy": mirror})
    return patch


def merged_blobs(old: Iterable[Any], new: Iterable[Any]) -> tuple[Any, ...]:
    """Vendor specific data (KeyedOpaqueBlob) by key; the new value of a key replaces the old one."""
    return tuple({blob.key: blob for blob in (*old, *new)}.values())


def merged_policy(policy: Any, patch: Any) -> Any:
    """A port group policy with what the patch sets over it."""
    return merged(policy or default_policy(), patch) if patch is not None else policy


# -- what is in force -------------------------------------------------------------------------------------------


def effective(setting: Any, override: Any) -> Any:
    """The group's setting with a port's override over it; what is the group's is marked as inherited."""
    base = inherited_view(setting)
    if override is None:
        return base
    return data_object(SETTING, **{**base.__dict__, **effective_policies(base, override)})


def effective_policies(base: Any, override: Any) -> dict[str, Any]:
    """Those policies of a port that its override changes, whole."""
    return {name: merged(getattr(base, name), getattr(override, name)) for name in set_policies(override)}


@functools.lru_cache(maxsize=4096)
def inherited_view(setting: Any) -> Any:
    """How a port without override shows the group's setting: every policy's value, marked as inherited."""
    return data_object(SETTING, **{name: as_inherited(getattr(setting, name)) for name in set_policies(setting)})


def as_inherited(policy: Any) -> Any:
    """The policy with ``inherited`` set, and so the policies inside it."""
    fields = dict(policy.__dict__)
    for name, value in fields.items():
        if isinstance(value, vim.InheritablePolicy):
            fields[name] = as_inherited(value)
    fields["inherited"] = True
    return data_object(type(policy), **fields)


def vlan_ranges(vlan: Any) -> tuple[tuple[tuple[int, int], ...], bool]:
    """VLAN ids of a port as ranges, and whether it is a trunk."""
    if isinstance(vlan, _VMWARE.TrunkVlanSpec):
        return tuple((int(item.start), int(item.end)) for item in vlan.vlanId), True
    number = int(vlan.pvlanId if isinstance(vlan, _VMWARE.PvlanSpec) else vlan.vlanId) if vlan is not None else 0
    return ((number, number),), False


def blocked(setting: Any) -> bool:
    """Whether a setting blocks its port."""
    return bool(setting.blocked is not None and setting.blocked.value)


def promiscuous(setting: Any) -> bool:
    """Whether the port sees what is sent to others in its VLANs."""
    policy = setting.macManagementPolicy
    return bool(policy is not None and policy.allowPromiscuous)


def rules(setting: Any) -> list[Any]:
    """Enabled traffic rules in the order they are asked: rule sets by precedence, rules by sequence."""
    policy = setting.filterPolicy
    sets = [config.trafficRuleset for config in policy.filterConfig] if policy is not None else []
    found = []
    for ruleset in sorted((item for item in sets if item is not None and item.enabled), key=_precedence):
        found += sorted(ruleset.rules, key=lambda rule: rule.sequence or 0)
    return found


def _precedence(ruleset: Any) -> int:
    return int(ruleset.precedence or 0)
