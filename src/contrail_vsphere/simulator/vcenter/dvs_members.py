"""Hosts as members of distributed switches: joining with physical cards, uplink ports, leaving, and being in line.

Each host has a proxy switch with its part of the configuration. One that vCenter cannot reach keeps what it has and is
*out of sync* until somebody rectifies it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import dvs_ports
from contrail_vsphere.simulator.vcenter.create import join_network, leave_network
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
    Member,
)
from contrail_vsphere.simulator.vcenter.dvs_settings import merged_blobs
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.inventory_events import argument, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found, without
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
    from contrail_vsphere.wire.soap.fault import SoapFault


def apply_member(tx: Transaction, dvs: DistributedVirtualSwitch, spec: Any) -> None:
    """One HostMember.ConfigSpec: add, edit or remove."""
    host = found(dvs, spec.host, HostSystem)
    operation = str(spec.operation)
    if operation == "add":
        join(tx, dvs, host, spec)
    elif host not in dvs.hosts:
        raise fault(vim.fault.NotFound, f"Host '{host.name}' is not a member of '{dvs.name}'.")
    elif operation == "remove":
        leave(tx, dvs, host)
    elif operation == "edit":
        _check_reachable(host)
        _edit(tx, dvs, host, spec)
    else:
        raise fault(vmodl.fault.InvalidArgument, f"'{operation}' is no operation.", invalidProperty="spec.host")


def _check_reachable(host: HostSystem) -> None:
    if host.connection_state != "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)


def join(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem, spec: Any = None) -> None:
    """Inside a commit: the host becomes a member. Raises AlreadyExists; posts DvsHostJoinedEvent."""
    if host in dvs.hosts:
        raise fault(vim.fault.AlreadyExists, f"Host '{host.name}' is a member of '{dvs.name}' already.", name=host.name)
    _check_reachable(host)
    tx.set(dvs, hosts=(*dvs.hosts, host))
    for group in dvs.portgroups:
        join_network(tx, host, group)
    tx.event(inventory_event(vim.event.DvsHostJoinedEvent, dvs, hostJoined=host))
    joined(tx, dvs, host)
    if spec is not None:
        _edit(tx, dvs, host, spec)


def joined(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit that made the host a member: it gets its uplink ports."""
    if host.moid not in dvs.members:
        tx.set(dvs, members={**dvs.members, host.moid: Member()})
        fit_uplinks(tx, dvs, host)


def all_joined(tx: Transaction, dvs: DistributedVirtualSwitch) -> None:
    """``joined`` for every host of a new switch at once."""
    group, width = dvs.uplink_group, len(dvs.uplink_names)
    if group is None or not dvs.hosts:
        return
    keys = dvs_ports.add_ports(tx, group, width * len(dvs.hosts))
    members = {}
    for number, host in enumerate(dvs.hosts):
        own = keys[number * width : (number + 1) * width]
        members[host.moid] = Member(uplink_keys=own)
        for key, name in zip(own, dvs.uplink_names, strict=True):
            dvs.ports.put(tx, dataclasses.replace(dvs.ports.ports[key], name=name, proxy_host=host))
    tx.set(dvs, members=members)


def fit_uplinks(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """A member has one uplink port per uplink name."""
    group = dvs.uplink_group
    if group is None:
        return
    member = dvs.members[host.moid]
    keys, wanted = member.uplink_keys, len(dvs.uplink_names)
    if len(keys) < wanted:
        keys += dvs_ports.add_ports(tx, group, wanted - len(keys), host=host)
    elif len(keys) > wanted:
        gone = keys[wanted:]
        if any(dvs.ports.ports[key].connected for key in gone):
            message = f"An uplink of host '{host.name}' is in use."
            raise fault(vim.fault.ResourceInUse, message, type=type(dvs.ref), name=dvs.name)
        dvs_ports.remove_ports(tx, group, gone)
        keys = keys[:wanted]
    for key, name in zip(keys, dvs.uplink_names, strict=True):
        port = dvs.ports.ports[key]
        if port.name != name:
            dvs.ports.put(tx, dataclasses.replace(port, name=name))
    tx.set(dvs, members={**dvs.members, host.moid: dataclasses.replace(member, uplink_keys=keys)})


def _edit(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem, spec: Any) -> None:
    """Physical cards of the host become uplinks, the size of its proxy switch changes."""
    member = dvs.members[host.moid]
    if spec.maxProxySwitchPorts is not None:
        if spec.maxProxySwitchPorts < dvs.ports.count_on(host):
            message = f"Host '{host.name}' uses more ports of '{dvs.name}' than that."
            raise fault(vim.fault.ResourceInUse, message, type=type(dvs.ref), name=dvs.name)
        member = dataclasses.replace(member, max_ports=int(spec.maxProxySwitchPorts))
    if spec.vendorSpecificConfig:
        member = dataclasses.replace(member, vendor=merged_blobs(member.vendor, spec.vendorSpecificConfig))
    tx.set(dvs, members={**dvs.members, host.moid: member})
    if isinstance(spec.backing, vim.dvs.HostMember.PnicBacking):
        _plug(tx, dvs, host, [(item.pnicDevice, item.uplinkPortKey or "") for item in spec.backing.pnicSpec])


def _plug(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem, pnics: list[tuple[str, str]]) -> None:
    """These physical cards and no others are the host's uplinks."""
    table, now = dvs.ports, tx.world.clock.now()
    keys = dvs.members[host.moid].uplink_keys
    names = [name for name, _ in pnics]
    if len(names) != len(set(names)) or len(names) > len(keys):
        message = f"Host '{host.name}' has {len(keys)} uplink ports on '{dvs.name}'."
        raise fault(vmodl.fault.InvalidArgument, message, invalidProperty="spec.host.backing.pnicSpec")
    for key in keys:
        port = table.ports[key]
        if port.pnic and port.pnic not in names:
            table.put(tx, dataclasses.replace(port, pnic="", cookie=0, changed=now))
            event = vim.event.DvsPortDisconnectedEvent
            tx.event(inventory_event(event, dvs, portKey=key, connectee=pnic_connectee(host, port.pnic)))
    taken = {table.ports[key].pnic for key in keys}
    for name, wanted in pnics:
        if name in taken:
            continue
        free = [key for key in keys if not table.ports[key].connected and wanted in ("", key)]
        if not free:
            raise fault(vim.fault.ResourceInUse, f"Uplink port {wanted} is in use.", name=wanted)
        cookie = tx.world.random.getrandbits(31) or 1
        table.put(tx, dataclasses.replace(table.ports[free[0]], pnic=name, cookie=cookie, changed=now))
        event = vim.event.DvsPortConnectedEvent
        tx.event(inventory_event(event, dvs, portKey=free[0], connectee=pnic_connectee(host, name)))
    tx.touch(dvs, "config.host")


def pnic_connectee(host: HostSystem, pnic: str) -> Any:
    """DistributedVirtualSwitchPortConnectee of a physical card."""
    return data_object(vim.dvs.PortConnectee, connectedEntity=host, nicKey=pnic, type="pnic")


def leave(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit: the host is no member any more. Raises ResourceInUse while a VM on it is connected."""
    if host not in dvs.hosts:
        raise fault(vim.fault.NotFound, f"Host '{host.name}' is not a member of '{dvs.name}'.")
    for vm in host.vms:
        if any(isinstance(item, DistributedVirtualPortgroup) and item.dvs is dvs for item in vm.networks):
            message = f"The resource '{dvs.name}' is in use by '{vm.name}'."
            raise fault(vim.fault.ResourceInUse, message, type=type(dvs.ref), name=dvs.name)
    tx.set(dvs, hosts=without(dvs.hosts, host))
    left(tx, dvs, host)
    for group in dvs.portgroups:
        leave_network(tx, host, group)
    tx.event(inventory_event(vim.event.DvsHostLeftEvent, dvs, hostLeft=host))


def left(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit that takes the host off the switch: its uplink ports go with it."""
    member = dvs.members.get(host.moid)
    if member is None:
        return
    group = dvs.uplink_group
    if group is not None and member.uplink_keys:
        _plug(tx, dvs, host, [])
        dvs_ports.remove_ports(tx, group, member.uplink_keys)
    tx.set(dvs, members={moid: other for moid, other in dvs.members.items() if moid != host.moid})


def check_room(vm: VirtualMachine, host: HostSystem) -> None:
    """Raise ResourceNotAvailable when a proxy switch of the host has no room for the VM's cards.

    A VM on a conflict port cannot go to another host: MigrationNotReady.
    """
    if host is not vm.host and any(port.conflict_with for port in dvs_ports.ports_of(vm)):
        reason = f"'{vm.name}' is connected to a conflict port."
        raise fault(vim.fault.MigrationNotReady, reason, reason=reason)
    needed: dict[str, tuple[DistributedVirtualSwitch, int]] = {}
    for nic in vm.nics:
        if isinstance(nic.network, DistributedVirtualPortgroup):
            dvs = nic.network.dvs
            port = dvs.ports.get(nic.port_key)
            if port is None or port.proxy_host is not host:
                needed[dvs.moid] = dvs, needed.get(dvs.moid, (dvs, 0))[1] + 1
    for dvs, count in needed.values():
        dvs_ports.check_space(dvs, host, count)


# -- in line ----------------------------------------------------------------------------------------------------


def reachable(host: HostSystem) -> bool:
    """Whether vCenter can tell the host anything now."""
    return host.connection_state == "connected"


def went_out_of_sync(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem, what: str) -> None:
    """Inside a commit: the host has not got a change. Posts DvsHostWentOutOfSyncEvent once, and who all is out."""
    member = dvs.members.get(host.moid, Member())
    if not member.in_sync:
        return
    tx.set(dvs, members={**dvs.members, host.moid: dataclasses.replace(member, in_sync=False)})
    described = data_object(vim.event.DvsOutOfSyncHostArgument, outOfSyncHost=argument(host), configParamters=[what])
    tx.event(inventory_event(vim.event.DvsHostWentOutOfSyncEvent, dvs, hostOutOfSync=described))
    behind = [other for other in dvs.hosts if not dvs.members.get(other.moid, Member()).in_sync and other is not host]
    listed = [
        data_object(vim.event.DvsOutOfSyncHostArgument, outOfSyncHost=argument(other), configParamters=[what])
        for other in (*behind, host)
    ]
    tx.event(inventory_event(vim.event.OutOfSyncDvsHost, dvs, hostOutOfSync=listed))


def bulk_fault(hosts: Iterable[HostSystem]) -> SoapFault:
    """DvsOperationBulkFault: the change has not reached these hosts."""
    unique = {host.moid: host for host in hosts}
    faults = [
        data_object(
            vim.fault.DvsOperationBulkFault.FaultOnHost,
            host=host,
            fault=data_object(vim.fault.NoHost, name=host.name, msg=f"Unable to communicate with host '{host.name}'."),
        )
        for host in unique.values()
    ]
    message = "A DVS operation failed on one or more host members."
    return fault(vim.fault.DvsOperationBulkFault, message, hostFault=faults)


async def rectify(
    world: World, switches: Iterable[DistributedVirtualSwitch], hosts: Iterable[HostSystem], *, user: str, chain: int
) -> None:
    """RectifyDvsHost_Task, RectifyDvsOnHost_Task: hosts get what they missed; those away fail the task at its end."""
    await world.clock.sleep(world.service(Timing).dvs)
    away = []
    with world.commit(user, chain=chain) as tx:
        for host in hosts:
            if not reachable(host):
                away.append(host)
                continue
            for dvs in switches:
                bring_in_line(tx, dvs, host)
    if away:
        raise bulk_fault(away)


def bring_in_line(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit: the reachable host gets what it missed. Posts DvsHostBackInSyncEvent."""
    for port in dvs.ports.on_host(host):
        if port.in_force is not None:
            dvs_ports.report(tx, dvs.ports.put(tx, dataclasses.replace(port, in_force=None)))
    member = dvs.members.get(host.moid)
    if member is not None and not member.in_sync:
        tx.set(dvs, members={**dvs.members, host.moid: dataclasses.replace(member, in_sync=True)})
        tx.event(inventory_event(vim.event.DvsHostBackInSyncEvent, dvs, hostBackInSync=host))


def switches_of(host: HostSystem) -> list[DistributedVirtualSwitch]:
    """Switches that the host is a member of."""
    found = {
        network.dvs.moid: network.dvs for network in host.networks if isinstance(network, DistributedVirtualPortgroup)
    }
    return list(found.values())


def host_changed(tx: Transaction, host: HostSystem) -> None:
    """At the end of a commit that changed the host's connection: what members say of it, and what it says of ports."""
    for dvs in switches_of(host):
        tx.touch(dvs, "config.host", "runtime")
        if reachable(host):
            if Switches.of(tx.world).rectify_on_reconnect:
                bring_in_line(tx, dvs, host)
            for port in dvs.ports.on_host(host):
                dvs_ports.report(tx, port)
