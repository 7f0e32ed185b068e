"""The private VLAN map of a switch, and the rules that keep it sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch

PROMISCUOUS, ISOLATED, COMMUNITY = "promiscuous", "isolated", "community"


def changed_map(dvs: DistributedVirtualSwitch, specs: list[Any]) -> tuple[Any, ...]:
    """The map (VMwareDVSPvlanMapEntry) after these VMwareDVSPvlanConfigSpecs.

    Raises AlreadyExists, NotFound, InvalidArgument, and ResourceInUse for an entry that a port group or port uses.
    """
    entries = list(dvs.pvlans)
    for spec in specs:
        entry, operation = spec.pvlanEntry, str(spec.operation)
        known = next((item for item in entries if item.secondaryVlanId == entry.secondaryVlanId), None)
        if operation == "add":
            if known is not None:
                message = f"Private VLAN {entry.secondaryVlanId} exists already."
                raise fault(vim.fault.AlreadyExists, message, name=str(entry.secondaryVlanId))
            entries.append(entry)
        elif known is None:
            raise fault(vim.fault.NotFound, f"There is no private VLAN {entry.secondaryVlanId}.")
        elif operation == "edit":
            _check_unused(dvs, entry.secondaryVlanId)
            entries[entries.index(known)] = entry
        elif operation == "remove":
            _check_unused(dvs, entry.secondaryVlanId)
            entries.remove(known)
        else:
            raise _invalid(f"'{operation}' is no operation.")
    _check(entries)
    return tuple(entries)


def _check(entries: list[Any]) -> None:
    primaries = {entry.primaryVlanId for entry in entries if str(entry.pvlanType) == PROMISCUOUS}
    isolated: set[int] = set()
    for entry in entries:
        if not (1 <= entry.primaryVlanId <= 4094 and 1 <= entry.secondaryVlanId <= 4094):
            raise _invalid("A private VLAN id is 1 to 4094.")
        kind, same = str(entry.pvlanType), entry.primaryVlanId == entry.secondaryVlanId
        if (kind == PROMISCUOUS) is not same:
            raise _invalid("A promiscuous private VLAN, and no other, has its primary's id.")
        if entry.primaryVlanId not in primaries:
            raise _invalid(f"Private VLAN {entry.primaryVlanId} has no promiscuous entry.")
        if kind == ISOLATED:
            if entry.primaryVlanId in isolated:
                raise _invalid(f"Private VLAN {entry.primaryVlanId} has two isolated entries.")
            isolated.add(entry.primaryVlanId)


def _check_unused(dvs: DistributedVirtualSwitch, secondary: int) -> None:
    settings = [group.setting for group in dvs.portgroups]
    settings += [port.override for port in dvs.ports.ports.values() if port.override is not None]
    if any(getattr(setting.vlan, "pvlanId", None) == secondary for setting in settings):
        message = f"Private VLAN {secondary} is in use."
        raise fault(vim.fault.ResourceInUse, message, type=type(dvs.ref), name=str(secondary))


def _invalid(message: str) -> Exception:
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty="spec.pvlanConfigSpec")


def may_talk(dvs: DistributedVirtualSwitch, one: int, other: int) -> bool:
    """Whether ports with these secondary VLANs reach each other: promiscuous with all, a community within itself."""
    kinds = {entry.secondaryVlanId: (entry.primaryVlanId, str(entry.pvlanType)) for entry in dvs.pvlans}
    if one not in kinds or other not in kinds or kinds[one][0] != kinds[other][0]:
        return False
    if PROMISCUOUS in (kinds[one][1], kinds[other][1]):
        return True
    return one == other and kinds[one][1] == COMMUNITY
