"""What of the plugin's predecessors can be taken over, and what that changes. Pure.

The Java plugin left port groups named as networks, without any mark, and objects with ids of its own;
contrail-vcenter-manager left VLANs on DVPorts too. Taking a port group over marks it and lets its ports differ from it,
nothing more: its guests go on. Each port then keeps its VLAN (or gets one) and is opened by itself; only when all are,
the port group is closed by default like one of ours. Interfaces and addresses stay as they are and get our mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from contrail_vsphere.model.contrail import VirtualNetwork, Vmi
from contrail_vsphere.model.ids import NetworkId, VnId
from contrail_vsphere.model.inventory import Dvs, Network, VirtualMachine
from contrail_vsphere.model.port_group import drift
from contrail_vsphere.vcenter_plugin.identity import PREDECESSORS
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.plan.actions import RepairGroup
from contrail_vsphere.vcenter_plugin.plan.networks import adoptable, names_of


@dataclass(frozen=True, slots=True)
class GroupAdoption:
    """A port group that stands for a network, but bears no mark."""

    network: VnId
    name: str
    """Of the network, with domain and project."""
    group: Network
    switch: Dvs
    users: tuple[str, ...]
    """VMs with a card in it."""
    now: tuple[str, ...]
    """What taking it over changes, in words."""
    later: tuple[str, ...]
    """What is changed once every running VM in it has a VLAN of its own."""
    obstacle: str = ""
    """Why it cannot be taken over."""


@dataclass(frozen=True, slots=True)
class InterfaceAdoption:
    """A predecessor's interface of a card that is there; it keeps its id and addresses."""

    vmi: Vmi
    vm: str
    nic: int
    addresses: tuple[str, ...]
    vlan: int | None
    """That its DVPort has now, and will keep where nobody else on the host has it."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A predecessor's object that nothing in vCenter stands behind: it is left alone."""

    kind: str
    uuid: UUID
    name: str
    creator: str
    reason: str


@dataclass(frozen=True, slots=True)
class Migration:
    """Everything at once."""

    groups: tuple[GroupAdoption, ...]
    interfaces: tuple[InterfaceAdoption, ...]
    leftovers: tuple[Leftover, ...]

    @property
    def actions(self) -> tuple[RepairGroup, ...]:
        """Taking over the port groups; all else follows from that."""
        reason = "an operator has it taken over"
        return tuple(
            RepairGroup(group=each.group, network=each.network, adopting=True, reason=reason)
            for each in self.groups
            if not each.obstacle
        )


def migration(observed: Observed, *, networks: Collection[str] = ()) -> Migration:
    """``networks``: names or uuids of those to take over; none: all that are selected."""
    groups = tuple(_groups(observed, networks))
    taken = {each.group.id: each.network for each in groups if not each.obstacle}
    interfaces, leftovers = [], []
    for vmi in observed.contrail.vmis.values():
        if vmi.creator not in PREDECESSORS or observed.is_mine(vmi):
            continue
        found = _card(observed, vmi, taken)
        if isinstance(found, str):
            leftovers.append(Leftover("interface", vmi.uuid, vmi.display_name, vmi.creator, found))
        elif found is not None:
            interfaces.append(found)
    for vm in observed.contrail.vms.values():
        if vm.creator in PREDECESSORS and not observed.index.vms_of(vm.uuid):
            reason = "vCenter has no such VM"
            leftovers.append(Leftover("virtual machine", vm.uuid, vm.display_name, vm.creator, reason))
    return Migration(groups, tuple(interfaces), tuple(leftovers))


def _groups(observed: Observed, chosen: Collection[str]) -> Iterator[GroupAdoption]:
    names = names_of(observed.vsphere.networks.values(), observed.vsphere.dvss)
    for network in sorted(observed.contrail.networks.values(), key=lambda each: each.fq_name):
        if not observed.selection.wants(network) or not _is_chosen(network, chosen):
            continue
        for dvs in observed.switches().values():
            group = adoptable(network, dvs, names.get(dvs.datacenter, {}))
            if group is not None:
                yield _group(observed, network, dvs, group)


def _is_chosen(network: VirtualNetwork, chosen: Collection[str]) -> bool:
    own = {str(network.uuid), ":".join(network.fq_name), network.fq_name[-1], network.display_name}
    return not chosen or bool(own & set(chosen))


def _group(observed: Observed, network: VirtualNetwork, dvs: Dvs, group: Network) -> GroupAdoption:
    now = drift(group, network.uuid, adopting=True)
    users = sorted(
        vm.name for each in observed.index.users_of.get(group.id, ()) if (vm := observed.vsphere.vms.get(each))
    )
    return GroupAdoption(
        network=network.uuid,
        name=":".join(network.fq_name),
        group=group,
        switch=dvs,
        users=tuple(users),
        now=now,
        later=tuple(each for each in drift(group, network.uuid) if each not in now),
        obstacle=_obstacle(group),
    )


def _obstacle(group: Network) -> str:
    if group.binding != "earlyBinding":
        return f"its ports are bound {group.binding or 'in an unknown way'}: a VLAN of their own would not last"
    if "-" in group.vlan or "," in group.vlan:
        return f"it carries a trunk of VLANs ({group.vlan})"
    return ""


def _card(observed: Observed, vmi: Vmi, taken: dict[NetworkId, VnId]) -> InterfaceAdoption | str | None:
    """The card that an interface is of; why there is none; None when its port group is not to be taken over."""
    vms = observed.index.vms_of(UUID(str(vmi.vm))) if vmi.vm is not None else ()
    machines = [observed.vsphere.vms[vm] for vm in sorted(vms) if vm in observed.vsphere.vms]
    if not machines:
        return "vCenter has no such VM"
    for machine in machines:
        found = _matching(observed, machine, vmi, taken)
        if found is not None:
            return found
    known = {group for group, network in taken.items() if network == vmi.network}
    if not known and not observed.index.groups_of.get(vmi.network or VnId(UUID(int=0))):
        return None
    return f"no card of {machines[0].name} has its address {', '.join(vmi.macs) or '(none)'} in its network"


def _matching(
    observed: Observed, machine: VirtualMachine, vmi: Vmi, taken: dict[NetworkId, VnId]
) -> InterfaceAdoption | None:
    for nic in machine.nics:
        group = observed.vsphere.networks.get(nic.network or NetworkId(""))
        if group is None or nic.mac.lower() not in vmi.macs or group.dvs is None:
            continue
        if vmi.network in (taken.get(group.id), observed.selection.network_of(group)):
            iips = observed.addresses_of(vmi.uuid)
            addresses = tuple(sorted(str(iip.address) for iip in iips if iip.address is not None))
            port = observed.book.get(group.dvs, nic.port_key)
            return InterfaceAdoption(vmi, machine.name, nic.key, addresses, port.vlan if port is not None else None)
    return None
