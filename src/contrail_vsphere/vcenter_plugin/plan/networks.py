"""What to do about the port groups of one network. Pure.

A network has one port group on every selected switch. It is found again by its mark, never by its name; its name
follows the network's if that is wanted. A port group is destroyed only when Contrail has said, in a complete reading,
that the network is gone, and no card is left in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from contrail_vsphere.model.contrail import VirtualNetwork
from contrail_vsphere.model.ids import DatacenterId, DvsId, NetworkId, VnId
from contrail_vsphere.model.inventory import Dvs, Network
from contrail_vsphere.model.port_group import NAME, drift, is_adopting, marked_network
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    AllowOverrides,
    CreateGroup,
    DestroyGroup,
    RenameGroup,
    RepairGroup,
    Wait,
)
from contrail_vsphere.vcenter_plugin.plan.names import group_name, is_name_of

LISTED = 3
"""Machines that are named when a port group cannot go."""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What the operator allows."""

    adopt_existing: bool = False
    """Take over an unmarked port group that has exactly the network's name and settings."""
    rename: bool = True
    """Rename port groups after their network."""
    migrate: bool = False
    """Where an unmarked port group has a network's name, wait until somebody has it taken over: make no second one."""
    virtual_macs: bool = False
    """Port groups let guests use MAC addresses that are not their card's (VRRP)."""
    makes: bool = True
    """False where OpenStack makes and deletes the port groups (vcenter-as-compute)."""


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
    users: Mapping[NetworkId, Collection[str]]
    """Names of the VMs that have cards in a port group."""
    exposed: Mapping[NetworkId, Sequence[str]] = field(default_factory=dict)
    """Those of a port group that is being taken over whose ports still depend on its former settings."""
    exists: bool = False
    """Contrail has it, selected or not."""
    orphans: Sequence[Network] = ()
    """Port groups of networks that Contrail does not have."""


def plan_network(sight: NetworkSight, policy: NetworkPolicy) -> tuple[Action, ...]:
    """The actions, in order."""
    if not policy.makes:
        return tuple(action for group in sight.groups for action in _visit(group, policy))
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
    there = adoptable(network, dvs, names)
    if there is not None and policy.adopt_existing and _fits(there):
        reason = f"{wanted} is as a port group of ours would be"
        return _take(there, network, policy, reason)
    orphan = _orphan(network, dvs, sight)
    if orphan is not None:
        return _take(orphan, network, policy, f"{orphan.name} stood for a network of the same name that is gone")
    if there is not None and policy.migrate:
        return Wait(state="ADOPT", reason=f"{wanted} is there and is not ours: contrail-vsphere plugin adopt")
    name = group_name(wanted, network.uuid, taken=names)
    return CreateGroup(
        dvs=dvs.id,
        name=name,
        network=network.uuid,
        fq_name=full_name(network),
        virtual_macs=policy.virtual_macs,
        reason=f"{wanted} has no port group on {dvs.name}",
    )


def _take(group: Network, network: VirtualNetwork, policy: NetworkPolicy, reason: str) -> RepairGroup:
    return RepairGroup(
        group=group,
        network=network.uuid,
        fq_name=full_name(network),
        virtual_macs=policy.virtual_macs,
        reason=reason,
    )


def _orphan(network: VirtualNetwork, dvs: Dvs, sight: NetworkSight) -> Network | None:
    """A port group on the switch whose network had this one's full name and is gone: its VMs mean this one now."""
    return next((each for each in sight.orphans if each.dvs == dvs.id and each.blob(NAME) == full_name(network)), None)


def full_name(network: VirtualNetwork) -> str:
    """``domain:project:name``, which no two networks have at a time."""
    return ":".join(network.fq_name)


def _upkeep(
    group: Network, network: VirtualNetwork, dvs: Dvs, sight: NetworkSight, policy: NetworkPolicy
) -> list[Action]:
    actions: list[Action] = []
    exposed = sight.exposed.get(group.id, ())
    adopting = is_adopting(group) and bool(exposed)
    name = full_name(network)
    wrong = drift(group, network.uuid, adopting=adopting, virtual_macs=policy.virtual_macs, fq_name=name)
    if wrong and group.config_version:
        macs, reason = policy.virtual_macs and not adopting, ", ".join(wrong)
        actions.append(
            RepairGroup(
                group=group,
                network=network.uuid,
                fq_name="" if adopting else name,
                adopting=adopting,
                virtual_macs=macs,
                reason=reason,
            )
        )
    if adopting:
        actions.append(
            Wait(state="ADOPTING", reason=f"{group.name} stays open until these have VLANs: {_named(exposed)}")
        )
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
        return DestroyGroup(group=group.id, network=sight.id, gone=not sight.exists, reason=reason)
    return Wait(
        state="DELETE_PENDING", reason=f"{group.name}: {reason}, but {len(users)} ports are in use: {_named(users)}"
    )


def _visit(group: Network, policy: NetworkPolicy) -> list[Action]:
    """Somebody else's port group that stands for a network: all we need of it is that ports may differ from it."""
    if group.vlan_override and group.block_override:
        return []
    if policy.adopt_existing and group.config_version:
        return [AllowOverrides(group=group, reason="its ports may not have VLANs of their own")]
    reason = f"{group.name} does not let ports have VLANs of their own: allow VLAN and block override on it"
    return [Wait(state="ERROR", reason=reason)]


def _named(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:LISTED]) + (", ..." if len(names) > LISTED else "")


def adoptable(network: VirtualNetwork, dvs: Dvs, names: Mapping[str, Network]) -> Network | None:
    """The port group on a switch that has the network's name and nobody's mark."""
    there = names.get(display_name(network))
    if there is None or there.dvs != dvs.id or there.uplink or marked_network(there) is not None:
        return None
    return there


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
