"""What to do about the port groups of one network. Pure.

A network has one port group on every selected switch. It is found again by its mark, never by its name; its name
follows the network's if that is wanted. A port group is destroyed only when Contrail has said, in a complete reading,
that the network is gone, and no card is left in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from contrail_vsphere.model.contrail import VirtualNetwork
from contrail_vsphere.model.ids import DatacenterId, DvsId, NetworkId, VnId
from contrail_vsphere.model.inventory import Dvs, Network
from contrail_vsphere.model.port_group import drift
from contrail_vsphere.vcenter_plugin.actions import Action, CreateGroup, DestroyGroup, RenameGroup, RepairGroup, Wait
from contrail_vsphere.vcenter_plugin.names import group_name, is_name_of

LISTED = 3
"""Machines that are named when a port group cannot go."""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What the operator allows."""

    adopt_existing: bool = False
    """Take over an unmarked port group that has exactly the network's name and settings."""
    rename: bool = True
    """Rename port groups after their network."""


@dataclass(frozen=True, slots=True)
class NetworkSight:
    """One network and what vCenter has of it."""

    id: VnId
    network: VirtualNetwork | None
    """None: gone, or not selected."""
    switches: Sequence[Dvs]
    """The selected ones."""
    groups: Sequence[Network]
    """Port groups with the network's mark, on any switch."""
    names: Mapping[DatacenterId | None, Mapping[str, Network]]
    """All networks by name, in each datacenter that has a selected switch."""
    users: Mapping[NetworkId, Sequence[str]]
    """Names of the VMs that have cards in a port group."""


def plan_network(sight: NetworkSight, policy: NetworkPolicy) -> tuple[Action, ...]:
    """The actions, in order."""
    if sight.network is None:
        return tuple(_farewell(group, sight, "the virtual network is gone") for group in sight.groups)
    actions: list[Action] = []
    selected = {dvs.id for dvs in sight.switches}
    for dvs in sight.switches:
        here = sorted((group for group in sight.groups if group.dvs == dvs.id), key=lambda each: _age(each, sight))
        if not here:
            actions.append(_arrival(sight.network, dvs, sight, policy))
            continue
        actions += _upkeep(here[0], sight.network, dvs, sight, policy)
        actions += [_farewell(extra, sight, f"{here[0].name} stands for the same network") for extra in here[1:]]
    for group in sight.groups:
        if group.dvs not in selected:
            actions.append(_farewell(group, sight, "its switch is not selected"))
    return tuple(actions)


def _arrival(network: VirtualNetwork, dvs: Dvs, sight: NetworkSight, policy: NetworkPolicy) -> Action:
    names = sight.names.get(dvs.datacenter, {})
    wanted = display_name(network)
    there = names.get(wanted)
    if policy.adopt_existing and there is not None and there.dvs == dvs.id and _fits(there):
        return RepairGroup(group=there, network=network.uuid, reason=f"{wanted} is as a port group of ours would be")
    name = group_name(wanted, network.uuid, taken=names)
    return CreateGroup(dvs=dvs.id, name=name, network=network.uuid, reason=f"{wanted} has no port group on {dvs.name}")


def _upkeep(
    group: Network, network: VirtualNetwork, dvs: Dvs, sight: NetworkSight, policy: NetworkPolicy
) -> list[Action]:
    actions: list[Action] = []
    wrong = drift(group, network.uuid)
    if wrong and group.config_version:
        actions.append(RepairGroup(group=group, network=network.uuid, reason=", ".join(wrong)))
    wanted = display_name(network)
    if policy.rename and group.name != group_name(wanted, network.uuid):
        others = {name for name, other in sight.names.get(dvs.datacenter, {}).items() if other.id != group.id}
        name = group_name(wanted, network.uuid, taken=others)
        if name != group.name:
            reason = f"the network is called {wanted}"
            if is_name_of(group.name, wanted, network.uuid):
                reason += ", and that name is free now"
            actions.append(RenameGroup(group=group.id, name=name, reason=reason))
    return actions


def _farewell(group: Network, sight: NetworkSight, reason: str) -> Action:
    users = sight.users.get(group.id, ())
    if not users:
        return DestroyGroup(group=group.id, network=sight.id, reason=reason)
    named = ", ".join(sorted(users)[:LISTED]) + (", ..." if len(users) > LISTED else "")
    return Wait(state="DELETE_PENDING", reason=f"{group.name}: {reason}, but {len(users)} ports are in use: {named}")


def display_name(network: VirtualNetwork) -> str:
    """What people call it."""
    return network.display_name or network.fq_name[-1]


def _age(group: Network, sight: NetworkSight) -> tuple[bool, int, str]:
    """The one in use before an empty one, the older before the newer."""
    number = group.id.rpartition("-")[2]
    return not sight.users.get(group.id), int(number) if number.isdigit() else 0, group.id


def _fits(group: Network) -> bool:
    """Whether an unmarked port group is in everything but its mark as we would make it."""
    return group.binding == "earlyBinding" and not group.uplink and _only_mark_differs(group)


def _only_mark_differs(group: Network) -> bool:
    return all(each.startswith("mark ") for each in drift(group, _NOBODY))


_NOBODY = UUID(int=0)


def names_of(
    networks: Collection[Network], switches: Mapping[DvsId, Dvs]
) -> dict[DatacenterId | None, dict[str, Network]]:
    """Distributed port groups by name, per datacenter: there a name exists once."""
    found: dict[DatacenterId | None, dict[str, Network]] = {}
    for network in networks:
        dvs = switches.get(network.dvs) if network.dvs is not None else None
        if dvs is not None:
            found.setdefault(dvs.datacenter, {})[network.name] = network
    return found
