"""Ports of distributed switches: a key per connection, given when a card is connected and freed when it goes.

Port keys are unique in the whole switch and are never used twice; a group with early binding has its ports before
anything is connected to them, an ephemeral one makes a port per connection.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
    DvPort,
)
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

EXPAND_BY = 8
"""Ports that an auto-expanding group gets at a time."""


def add_ports(tx: Transaction, group: DistributedVirtualPortgroup, count: int) -> tuple[str, ...]:
    """Make free ports; posts DvsPortCreatedEvent."""
    dvs = group.dvs
    keys = tuple(str(number) for number in range(dvs.next_port, dvs.next_port + count))
    if keys:
        tx.set(dvs, next_port=dvs.next_port + count)
        tx.set(group, port_keys=(*group.port_keys, *keys), num_ports=len(group.port_keys) + count)
        tx.event(inventory_event(vim.event.DvsPortCreatedEvent, dvs, portKey=list(keys)))
    return keys


def remove_ports(tx: Transaction, group: DistributedVirtualPortgroup, keys: tuple[str, ...]) -> None:
    """Delete free ports; posts DvsPortDeletedEvent."""
    if keys:
        left = tuple(key for key in group.port_keys if key not in set(keys))
        tx.set(group, port_keys=left, num_ports=len(left))
        tx.event(inventory_event(vim.event.DvsPortDeletedEvent, group.dvs, portKey=list(keys)))


def free_ports(group: DistributedVirtualPortgroup) -> tuple[str, ...]:
    """Keys that nothing is connected to, lowest first."""
    return tuple(key for key in group.port_keys if key not in group.connected)


def bind_port(tx: Transaction, vm: VirtualMachine, nic: NicState, group: DistributedVirtualPortgroup) -> NicState:
    """Connect a card: to the port it names, else to the first free one. Returns the card with key and cookie.

    Raises ResourceNotAvailable when the group is full and may not grow, ResourceInUse when the named port is taken.
    """
    key = nic.port_key
    if key:
        if key not in group.port_keys:
            raise fault(vim.fault.NotFound, f"Port {key} is not in port group '{group.name}'.")
        if key in group.connected:
            raise fault(vim.fault.ResourceInUse, f"Port {key} of '{group.name}' is in use.", name=key)
    else:
        key = next(iter(free_ports(group)), "")
        if not key and group.kind == "ephemeral":
            key = add_ports(tx, group, 1)[0]
        elif not key and group.auto_expand and group.kind == "earlyBinding":
            key = add_ports(tx, group, EXPAND_BY)[0]
        elif not key:
            raise fault(
                vim.fault.ResourceNotAvailable,
                f"No free port is available in port group '{group.name}'.",
                containerType="DistributedVirtualPortgroup",
                containerName=group.name,
                type="DistributedVirtualPort",
            )
    cookie = vm.world.random.getrandbits(31)
    port = DvPort(key=key, vm=vm, nic_key=nic.key, cookie=cookie)
    tx.set(group, connected={**group.connected, key: port})
    tx.event(inventory_event(vim.event.DvsPortConnectedEvent, group.dvs, portKey=key, connectee=connectee(vm, nic.key)))
    return dataclasses.replace(nic, port_key=key, connection_cookie=cookie)


def release_port(tx: Transaction, vm: VirtualMachine, nic: NicState) -> None:
    """Disconnect the card's port; an ephemeral port is gone with it."""
    group = nic.network
    if not isinstance(group, DistributedVirtualPortgroup) or nic.port_key not in group.connected:
        return
    key = nic.port_key
    tx.set(group, connected={other: port for other, port in group.connected.items() if other != key})
    tx.event(
        inventory_event(vim.event.DvsPortDisconnectedEvent, group.dvs, portKey=key, connectee=connectee(vm, nic.key))
    )
    if group.kind == "ephemeral":
        remove_ports(tx, group, (key,))


def connectee(vm: VirtualMachine, nic_key: int) -> Any:
    """DistributedVirtualSwitchPortConnectee of a VM's card."""
    return data_object(vim.dvs.PortConnectee, connectedEntity=vm, nicKey=str(nic_key), type="vmVnic")


def fetch(dvs: DistributedVirtualSwitch, criteria: Any) -> list[Any]:
    """DistributedVirtualPort values for FetchDVPorts: by port group, port key, connected and host."""
    wanted_groups = set(criteria.portgroupKey) if criteria is not None else set()
    wanted_keys = set(criteria.portKey) if criteria is not None else set()
    inside = criteria is None or criteria.inside is not False
    hosts = {host._moId for host in criteria.host} if criteria is not None else set()
    found = []
    for group in dvs.portgroups:
        if wanted_groups and (group.moid in wanted_groups) is not inside:
            continue
        if criteria is not None and criteria.uplinkPort is not None and criteria.uplinkPort is not group.uplink:
            continue
        for key in group.port_keys:
            port = group.connected.get(key)
            if wanted_keys and key not in wanted_keys:
                continue
            if criteria is not None and criteria.connected is not None and criteria.connected is (port is None):
                continue
            if hosts and (port is None or port.vm.host is None or port.vm.host.moid not in hosts):
                continue
            found.append(_port_value(group, key, port))
    return found


def _port_value(group: DistributedVirtualPortgroup, key: str, port: DvPort | None) -> Any:
    return data_object(
        vim.dvs.DistributedVirtualPort,
        key=key,
        dvsUuid=group.dvs.uuid,
        portgroupKey=group.moid,
        conflict=False,
        lastStatusChange=group.created,
        connectee=connectee(port.vm, port.nic_key) if port is not None else None,
        connectionCookie=port.cookie if port is not None else None,
        proxyHost=port.vm.host if port is not None else None,
        config=data_object(vim.dvs.DistributedVirtualPort.ConfigInfo, configVersion="0", setting=group.setting),
    )
