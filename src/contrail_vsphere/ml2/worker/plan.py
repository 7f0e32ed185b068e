"""What to do on vCenter so that it has what Neutron wants; pure.

Port groups come first: a port cannot be judged before the group of its segment exists. Nothing without our mark and our
cloud's id in it is ever in a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from contrail_vsphere.ml2.tables.groups import NAME_LIMIT, group_name
from contrail_vsphere.ml2.worker.desired import Segment, Wanted, WantedNetwork, WantedPort
from contrail_vsphere.ml2.worker.firewall import Policy, filter_of, marked_only
from contrail_vsphere.model.ids import DvsId, NetworkId
from contrail_vsphere.model.inventory import Network
from contrail_vsphere.model.traffic_filter import CLOSED, FilteredGroupSpec, FilteredPort, FilteredPortEdit, FilterRule

UUID = 36
"""Characters of a Neutron port's id; a DVPort with another name was somebody else's."""
FIXED_PORTS = 16
"""Ports of a new port group whose ports are booked by key."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a port group stands for; its text lies in the port group."""

    cloud: str
    network: str
    segment: str

    def __str__(self) -> str:
        return f"{self.cloud}/{self.network}/{self.segment}"


def read_mark(text: str) -> Mark | None:
    """None for what is not a mark of ours."""
    parts = text.split("/")
    return Mark(*parts) if len(parts) == 3 and all(parts) else None


@dataclass(frozen=True, slots=True)
class GroupSight:
    """A port group with a mark of our cloud."""

    group: Network
    dvs: DvsId
    mark: Mark


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say."""

    cloud: str
    filtered: bool = True
    booked: bool = False
    """``binding_mode = key``."""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """A segment has no port group on a switch that carries it."""

    dvs: DvsId
    spec: FilteredGroupSpec
    mark: Mark


@dataclass(frozen=True, slots=True)
class RepairGroup:
    """A port group is not as it must be; ``why`` in words."""

    sight: GroupSight
    spec: FilteredGroupSpec
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DestroyGroup:
    """Its network or segment is gone."""

    sight: GroupSight
    orphan: bool = False
    """Nobody asked for its end: Neutron does not know its network."""


@dataclass(frozen=True, slots=True)
class EditPort:
    """A DVPort is not as its Neutron port wants."""

    dvs: DvsId
    port_id: str
    edit: FilteredPortEdit
    why: tuple[str, ...]
    wired: bool
    """Whether the Neutron port is ACTIVE afterwards."""
    left_out: tuple[str, ...] = ()
    """Security group rules that a switch cannot carry."""


@dataclass(frozen=True, slots=True)
class ClosePort:
    """A card is on our port group and no Neutron port is its: the port gets its group's settings, which are closed."""

    dvs: DvsId
    edit: FilteredPortEdit
    port_id: str = ""
    """The Neutron port that it was; closing it is tried again in that port's name."""


@dataclass(frozen=True, slots=True)
class SetStatus:
    """A Neutron port's status is not the truth."""

    port_id: str
    up: bool
    why: str


GroupAction = CreateGroup | RepairGroup | DestroyGroup
PortAction = EditPort | ClosePort | SetStatus


# -- port groups ------------------------------------------------------------------------------------------------


def plan_groups(
    wanted: Wanted, carriers: Mapping[str, Iterable[DvsId]], sights: Iterable[GroupSight], rules: Rules
) -> tuple[GroupAction, ...]:
    """``carriers``: physical network -> switches of this vCenter."""
    actions: list[GroupAction] = []
    by_network: dict[str, list[GroupSight]] = {}
    for sight in sights:
        by_network.setdefault(sight.mark.network, []).append(sight)
    for network_id, network in wanted.networks.items():
        found = by_network.pop(network_id, [])
        actions += _plan_network(network, carriers, found, rules)
    if wanted.complete:
        actions += [DestroyGroup(sight, orphan=True) for left in by_network.values() for sight in left]
    return tuple(actions)


def _plan_network(
    network: WantedNetwork | None, carriers: Mapping[str, Iterable[DvsId]], found: list[GroupSight], rules: Rules
) -> Iterable[GroupAction]:
    right: set[NetworkId] = set()
    if network is not None:
        for segment in network.segments:
            mark = Mark(rules.cloud, network.id, segment.id)
            spec = group_spec(network, segment, mark, rules)
            for dvs in carriers.get(segment.physical_network, ()):
                sight = next((each for each in found if each.dvs == dvs and each.mark == mark), None)
                if sight is None:
                    yield CreateGroup(dvs, spec, mark)
                    continue
                right.add(sight.group.id)
                why = group_drift(sight.group, spec)
                if why:
                    yield RepairGroup(sight, spec, why)
    yield from (DestroyGroup(sight) for sight in found if sight.group.id not in right)


def group_spec(network: WantedNetwork, segment: Segment, mark: Mark, rules: Rules) -> FilteredGroupSpec:
    """How the port group of a segment must be."""
    return FilteredGroupSpec(
        name=group_name(network.id, segment.id, several=network.several)[:NAME_LIMIT],
        mark=str(mark),
        description=f"Neutron network {network.name} ({network.id}) of {rules.cloud}",
        vlan=segment.vlan,
        blocked=not network.admin_up,
        filtered=rules.filtered,
        fixed_ports=FIXED_PORTS if rules.booked else 0,
    )


def group_drift(group: Network, spec: FilteredGroupSpec) -> tuple[str, ...]:
    """What of a port group is not as it must be, in words. Its name is its own: nova finds it by key."""
    wanted: tuple[tuple[str, object, object], ...] = (
        ("description", group.description, spec.description),
        ("VLAN", group.vlan, str(spec.vlan) if spec.vlan else "none"),
        ("blocked", group.blocked, spec.blocked),
        ("block override", group.block_override, True),
        ("reset at disconnect", group.reset_at_disconnect, not spec.fixed_ports),
        ("auto-expand", group.auto_expand, not spec.fixed_ports),
        ("filter override", group.filter_override, True),
        ("shaping override", group.shaping_override, True),
        ("VLAN override", group.vlan_override, True),
    )
    why = [f"{name} is {found}" for name, found, right in wanted if found != right]
    if group.rules != (CLOSED if spec.filtered else ()):
        why.append("it is not closed by default" if spec.filtered else "it has filter rules")
    return tuple(why)


# -- ports ------------------------------------------------------------------------------------------------------


def plan_ports(
    wanted: Wanted, connected: Mapping[str, FilteredPort], strays: Iterable[FilteredPort], rules: Rules
) -> tuple[PortAction, ...]:
    """``connected``: Neutron port id -> the DVPort that its card is on (or that is booked for it).

    ``strays``: DVPorts of our groups that carry a name or settings of ours but no Neutron port has.
    """
    actions: list[PortAction] = []
    for port_id, port in wanted.ports.items():
        if port is None:
            continue
        if port.parent:
            actions += _plan_subport(port, wanted.ports.get(port.parent), connected.get(port.parent))
        else:
            actions += _plan_port(port, connected.get(port_id), rules)
    actions += [_close(stray) for stray in strays if _has_own(stray)]
    return tuple(actions)


def _plan_port(port: WantedPort, seen: FilteredPort | None, rules: Rules) -> Iterable[PortAction]:
    if seen is None:
        if port.status == "ACTIVE":
            yield SetStatus(port.id, up=False, why="no card with its MAC address is on its port group")
        return
    problem, edit = _edit(port, seen, rules)
    why = port_drift(seen, edit)
    up = not problem and port.admin_up
    up = up and seen.vm is not None  # one that is booked waits for its card
    if why:
        yield EditPort(seen.dvs, port.id, edit, why, wired=up, left_out=port.security.left_out)
    if not why or not up:
        if up and port.status != "ACTIVE":
            yield SetStatus(port.id, up=True, why="its DVPort is as it must be")
        elif not up and port.status == "ACTIVE":
            why_down = "its card is not there" if seen.vm is None else "it is administratively down"
            yield SetStatus(port.id, up=False, why=problem or why_down)


def _plan_subport(port: WantedPort, parent: WantedPort | None, seen: FilteredPort | None) -> Iterable[PortAction]:
    """A subport has no DVPort of its own: it is up when its parent is wired and carries its VLAN."""
    ready = seen is not None and seen.vm is not None and parent is not None and parent.trunk is not None
    up = ready and port.admin_up and not port.problem and parent is not None and parent.admin_up
    if up != (port.status == "ACTIVE"):
        yield SetStatus(port.id, up=up, why=port.problem or ("its parent is wired" if up else "its parent is not"))


def _edit(port: WantedPort, seen: FilteredPort, rules: Rules) -> tuple[str, FilteredPortEdit]:
    guarded = (port.security, *port.subports)
    edit = FilteredPortEdit(
        seen.key,
        seen.version,
        port.id,
        # Up: what the network says.
        blocked=None if port.admin_up and not port.problem else True,
        # A switch drops what comes from another MAC address unless it is told otherwise.
        forged_transmits=True if any(each.other_macs or not each.enabled for each in guarded) else None,
        from_vm=port.quality.from_vm,
        to_vm=port.quality.to_vm,
        trunk=port.trunk,
        filters=seen.filters,
    )
    if not rules.filtered:
        marked = marked_only(port.quality.dscp) if port.quality.dscp >= 0 else None
        return port.problem, _with_rules(edit, marked, seen)
    made = filter_of(port.security, rules.policy, dscp=port.quality.dscp, subports=port.subports)
    return port.problem or made.problem, _with_rules(edit, made.rules, seen)


def _with_rules(edit: FilteredPortEdit, rules: tuple[FilterRule, ...] | None, seen: FilteredPort) -> FilteredPortEdit:
    """Rules that the port has need not travel: vCenter would push them to the port's host again."""
    return replace(edit, rules=rules, filter_stays=rules is not None and rules == seen.rules)


def port_drift(seen: FilteredPort, edit: FilteredPortEdit) -> tuple[str, ...]:
    """What of a DVPort is not as it must be, in words."""
    why = []
    if seen.name != edit.name:
        why.append(f"named '{seen.name}'")
    if seen.blocked != edit.blocked:
        why.append(f"blocked is {seen.blocked}")
    if seen.rules != edit.rules:
        why.append("filter rules differ" if seen.rules is not None else "no filter rules of its own")
    if seen.forged_transmits != edit.forged_transmits:
        why.append(f"forged transmits is {seen.forged_transmits}")
    if (seen.from_vm, seen.to_vm) != (edit.from_vm, edit.to_vm):
        why.append("bandwidth limits differ")
    if seen.trunk != edit.trunk:
        why.append("trunk VLANs differ")
    return tuple(why)


def _has_own(port: FilteredPort) -> bool:
    settings = (port.blocked, port.rules, port.forged_transmits, port.from_vm, port.to_vm, port.trunk)
    return bool(port.name or port.filters) or any(each is not None for each in settings)


def _close(port: FilteredPort) -> ClosePort:
    return ClosePort(
        port.dvs, FilteredPortEdit(port.key, port.version, ""), port.name if len(port.name) == UUID else ""
    )
