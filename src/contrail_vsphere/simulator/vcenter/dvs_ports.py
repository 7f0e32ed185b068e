"""The life of ports: made, connected, followed as their VM moves and is switched on and off, freed, deleted.

Port keys are unique in the whole switch and are never used twice; a group with early binding has its ports before
anything is connected to them, an ephemeral one makes a port per connection. What a host reports of a port (link, block,
VLANs, address, proxy host) follows its VM at the end of every commit, whoever made it, with the events of the change.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.data_object import data_object, merged
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_settings import effective, vlan_ranges
from contrail_vsphere.simulator.vcenter.dvs_table import DvPort, PortState
from contrail_vsphere.simulator.vcenter.inventory_events import changes, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

EXPAND_BY = 8
"""Ports that an auto-expanding group gets at a time."""

# -- number -----------------------------------------------------------------------------------------------------


def add_ports(
    tx: Transaction, group: DistributedVirtualPortgroup, count: int, *, host: HostSystem | None = None
) -> tuple[str, ...]:
    """Make free ports (uplinks: of a host); posts DvsPortCreatedEvent. Raises LimitExceeded beyond ``maxPorts``."""
    dvs = group.dvs
    if count <= 0:
        return ()
    if dvs.ports.count() + count > dvs.max_ports:
        message = f"Switch '{dvs.name}' may have {dvs.max_ports} ports."
        raise fault(vim.fault.LimitExceeded, message, property="maxPorts", limit=dvs.max_ports)
    keys = tuple(str(number) for number in range(dvs.next_port, dvs.next_port + count))
    tx.set(dvs, next_port=dvs.next_port + count)
    now = tx.world.clock.now()
    for key in keys:
        dvs.ports.put(tx, DvPort(key=key, group=group, changed=now, name=_name(group, key), proxy_host=host))
    _count_changed(tx, group)
    tx.event(inventory_event(vim.event.DvsPortCreatedEvent, dvs, portKey=list(keys)))
    return keys


def _name(group: DistributedVirtualPortgroup, key: str) -> str:
    """``portNameFormat`` of the group, filled in."""
    form = group.port_name_format
    if not form:
        return ""
    index = group.dvs.ports.count(group)
    for tag, text in (("dvsName", group.dvs.name), ("portgroupName", group.name), ("portIndex", str(index))):
        form = form.replace(f"<{tag}>", text)
    return form


def remove_ports(tx: Transaction, group: DistributedVirtualPortgroup, keys: tuple[str, ...]) -> None:
    """Delete free ports; posts DvsPortDeletedEvent."""
    if keys:
        for key in keys:
            group.dvs.ports.remove(tx, key)
        _count_changed(tx, group)
        tx.event(inventory_event(vim.event.DvsPortDeletedEvent, group.dvs, portKey=list(keys)))


def _count_changed(tx: Transaction, group: DistributedVirtualPortgroup) -> None:
    tx.touch(group, "portKeys", "config.numPorts")
    tx.touch(group.dvs, "config.numPorts", "summary.numPorts")


def resize(tx: Transaction, group: DistributedVirtualPortgroup, count: int) -> None:
    """Make or delete free ports until there are ``count``. Raises ResourceInUse when fewer are free."""
    more = count - group.num_ports
    tx.set(group, base_ports=count)
    if more > 0:
        add_ports(tx, group, more)
    elif more < 0:
        free = group.dvs.ports.highest_free(group, -more)
        if len(free) < -more:
            used = group.num_ports - group.dvs.ports.free_count(group)
            message = (
                f"Cannot set number of ports to {count} because at least {used} out of {group.num_ports} ports are in "
                "use."
            )
            raise fault(vim.fault.ResourceInUse, message, type=type(group.ref), name=group.name)
        remove_ports(tx, group, free)


def shrink(tx: Transaction, group: DistributedVirtualPortgroup) -> None:
    """A group that grew by itself gives back eight ports once sixteen are free; never what it was made with."""
    if group.kind != "earlyBinding" or not group.auto_expand or not Switches.of(tx.world).auto_shrink:
        return
    if group.num_ports - EXPAND_BY >= group.base_ports and group.dvs.ports.free_count(group) >= 2 * EXPAND_BY:
        remove_ports(tx, group, group.dvs.ports.highest_free(group, EXPAND_BY))


# -- connections ------------------------------------------------------------------------------------------------


def connectee(vm: VirtualMachine, nic_key: int) -> Any:
    """DistributedVirtualSwitchPortConnectee of a VM's card."""
    return data_object(vim.dvs.PortConnectee, connectedEntity=vm, nicKey=str(nic_key), type="vmVnic")


def bind_port(
    tx: Transaction, vm: VirtualMachine, nic: NicState, group: DistributedVirtualPortgroup, *, returning: bool = False
) -> NicState:
    """Connect a card: to the port it names, else to the first free one. Returns the card with key and cookie.

    Raises NotFound for a port that is not the group's, ResourceInUse when the named port is taken, ResourceNotAvailable
    when the group is full and may not grow. A card that is ``returning`` with a VM from outside the inventory cannot be
    refused: it gets another port when its own is gone, and a conflict port when somebody else has it now.
    """
    table = group.dvs.ports
    known = table.get(nic.port_key)
    if returning and known is not None and known.group is group and known.connected:
        port = _conflict_port(tx, known)
    else:
        gone = returning and (known is None or known.group is not group)
        port = _port_for(tx, "" if gone else nic.port_key, group)
    _check_scope(port, vm)
    runs = vm.power_state == "poweredOn" or Switches.of(tx.world).proxy_host_when_off
    host = vm.host if runs else None
    if host is not None:
        check_space(group.dvs, host, 1)
    cookie = tx.world.random.getrandbits(31) or 1
    bound = dataclasses.replace(
        port, vm=vm, nic_key=nic.key, cookie=cookie, proxy_host=host, changed=tx.world.clock.now()
    )
    group.dvs.ports.put(tx, bound)
    tx.event(
        inventory_event(vim.event.DvsPortConnectedEvent, group.dvs, portKey=port.key, connectee=connectee(vm, nic.key))
    )
    return dataclasses.replace(nic, port_key=port.key, connection_cookie=cookie)


def _conflict_port(tx: Transaction, taken: DvPort) -> DvPort:
    """A port that stands in for one that is taken, until its card leaves it; it is no free port ever."""
    dvs = taken.group.dvs
    key = f"c-{dvs.next_port}"
    tx.set(dvs, next_port=dvs.next_port + 1)
    port = dataclasses.replace(
        taken,
        key=key,
        vm=None,
        nic_key=0,
        cookie=0,
        proxy_host=None,
        in_force=None,
        state=None,
        config_version=0,
        conflict_with=taken.key,
    )
    dvs.ports.put(tx, port)
    _count_changed(tx, taken.group)
    tx.event(inventory_event(vim.event.DvsPortCreatedEvent, dvs, portKey=[key]))
    return port


def _port_for(tx: Transaction, key: str, group: DistributedVirtualPortgroup) -> DvPort:
    table = group.dvs.ports
    if key:
        port = table.get(key)
        if port is None or port.group is not group:
            raise fault(vim.fault.NotFound, f"Port {key} is not in port group '{group.name}'.")
        if port.connected:
            raise fault(vim.fault.ResourceInUse, f"Port {key} of '{group.name}' is in use.", name=key)
        return port
    key = table.lowest_free(group)
    if not key and group.kind == "ephemeral":
        key = add_ports(tx, group, 1)[0]
    elif not key and group.auto_expand and group.kind == "earlyBinding":
        key = add_ports(tx, group, EXPAND_BY)[0]
    elif not key:
        raise fault(
            vim.fault.ResourceNotAvailable,
            f"No free port is available in port group '{group.name}'.",
            containerType=type(group.ref),
            containerName=group.name,
            type=vim.dvs.DistributedVirtualPort,
        )
    return table.ports[key]


def check_space(dvs: DistributedVirtualSwitch, host: HostSystem, count: int) -> None:
    """Raise ResourceNotAvailable when the host's proxy switch has no room for so many more ports."""
    member = dvs.members.get(host.moid)
    if member is not None and dvs.ports.count_on(host) - len(member.uplink_keys) + count > member.max_ports:
        raise fault(
            vim.fault.ResourceNotAvailable,
            f"Host '{host.name}' has no port left on '{dvs.name}'.",
            containerType=type(host.ref),
            containerName=host.name,
            type=vim.dvs.DistributedVirtualPort,
        )


def _check_scope(port: DvPort, vm: VirtualMachine) -> None:
    scope = port.scope or port.group.scope
    if scope and not any(entity in scope for entity in (vm, vm.host, *vm.ancestors())):
        message = f"Port {port.key} is not for '{vm.name}'."
        raise fault(vim.fault.DvsScopeViolated, message, scope=[item.ref for item in scope], entity=vm)


def release_port(tx: Transaction, vm: VirtualMachine, nic: NicState) -> None:
    """Disconnect the card's port; an ephemeral port is gone with it."""
    group = nic.network
    if not isinstance(group, DistributedVirtualPortgroup):
        return
    port = group.dvs.ports.get(nic.port_key)
    if port is None or port.vm is not vm or port.nic_key != nic.key:
        return
    dvs = group.dvs
    freed = dataclasses.replace(
        port,
        vm=None,
        nic_key=0,
        cookie=0,
        proxy_host=None,
        in_force=None,
        state=None,
        changed=tx.world.clock.now(),
    )
    event = vim.event.DvsPortDisconnectedEvent
    tx.event(inventory_event(event, dvs, portKey=port.key, connectee=connectee(vm, nic.key)))
    dvs.ports.put(tx, freed)
    if group.kind == "ephemeral" or port.conflict_with:
        remove_ports(tx, group, (port.key,))
        return
    reset_config(tx, port.key, group)
    shrink(tx, group)


def reset_config(tx: Transaction, key: str, group: DistributedVirtualPortgroup) -> None:
    """``portConfigResetAtDisconnect``: what the port had of its own is dropped; the version counts up."""
    port = group.dvs.ports.ports[key]
    if port.override is None or not group.policy.portConfigResetAtDisconnect:
        return
    group.dvs.ports.put(tx, dataclasses.replace(port, override=None, config_version=port.config_version + 1))
    tx.event(
        inventory_event(
            vim.event.DvsPortReconfiguredEvent, group.dvs, portKey=[key], configChanges=[changes(modified="setting")]
        )
    )


# -- following what happens -------------------------------------------------------------------------------------


def install(world: World) -> None:
    """Let ports follow their VMs from now on; once per world."""
    if _Following not in world.services:
        world.services[_Following] = _Following()
        world.finish(follow)


class _Following:
    """Marks a world whose ports follow."""


def follow(tx: Transaction) -> None:
    """At the end of a commit: ports of the VMs that it touched, and the switches of its hosts."""
    from contrail_vsphere.simulator.vcenter.dvs_members import host_changed
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

    touched: dict[str, tuple[VirtualMachine, bool]] = {}
    hosts: dict[str, HostSystem] = {}
    for entity, kind, path in tx.entries:
        if kind == "leave":
            continue
        if isinstance(entity, VirtualMachine):
            moved = path == "runtime.host" or (entity.moid in touched and touched[entity.moid][1])
            touched[entity.moid] = entity, moved
        elif isinstance(entity, HostSystem) and path == "runtime.connectionState":
            hosts[entity.moid] = entity
    for vm, moved in touched.values():
        for port in ports_of(vm):
            settle(tx, port, moved=moved)
    _follow_moves(tx)
    for host in hosts.values():
        host_changed(tx, host)


def ports_of(vm: VirtualMachine) -> Iterable[DvPort]:
    """Ports that the VM's cards are connected to."""
    for nic in vm.nics:
        if nic.port_key and isinstance(nic.network, DistributedVirtualPortgroup):
            port = nic.network.dvs.ports.get(nic.port_key)
            if port is not None and port.vm is vm:
                yield port


def _follow_moves(tx: Transaction) -> None:
    """``proxy_host_flips="before"``: the destination has the port from the beginning of a vMotion."""
    if Switches.of(tx.world).proxy_host_flips != "before":
        return
    for event in tx.events:
        begins = isinstance(event, vim.event.VmBeingHotMigratedEvent)
        if not begins and not isinstance(event, vim.event.VmFailedMigrateEvent):
            continue
        vm: Any = tx.world.get(event.vm.vm._moId)
        target: Any = tx.world.get(event.destHost.host._moId) if begins else vm.host
        for port in ports_of(vm):
            port.group.dvs.ports.put(tx, dataclasses.replace(port, proxy_host=target, in_force=None))


def settle(tx: Transaction, port: DvPort, *, moved: bool = False) -> DvPort:
    """Inside a commit: proxy host and runtime state as they are now, with the events of what changed."""
    vm, table = port.vm, port.group.dvs.ports
    if vm is None:
        return port
    switches = Switches.of(tx.world)
    runs = vm.power_state == "poweredOn"
    if not runs and switches.reset_at == "power_off" and port.group.kind == "earlyBinding":
        reset_config(tx, port.key, port.group)
        port = table.ports[port.key]
    host = port.proxy_host
    if not runs and not switches.proxy_host_when_off:
        host = None
    elif host is None or not runs:
        host = vm.host
    elif moved and host is not vm.host:
        if switches.proxy_host_flips == "after":
            _flip_later(tx, port)
        else:
            host = vm.host
    if host is not port.proxy_host:
        port = table.put(tx, dataclasses.replace(port, proxy_host=host, in_force=None, changed=tx.world.clock.now()))
    if switches.state_is_live or port.state is None or moved or not runs:
        port = report(tx, port)
    return port


def _flip_later(tx: Transaction, port: DvPort) -> None:
    world, dvs, key = tx.world, port.group.dvs, port.key

    async def flip() -> None:
        await world.clock.sleep(Switches.of(world).proxy_host_lag)
        now = dvs.ports.get(key)
        if now is not None and now.vm is not None and now.vm.host is not now.proxy_host:
            with world.commit() as later:
                moved = dataclasses.replace(now, proxy_host=now.vm.host, in_force=None)
                report(later, dvs.ports.put(later, moved))

    Background.of(world).run(flip(), f"proxy host of port {key}")


def in_force(port: DvPort) -> Any:
    """The whole setting that the port's host has."""
    return port.in_force if port.in_force is not None else effective(port.group.setting, port.override)


def policy_in_force(port: DvPort, name: str) -> Any:
    """One policy of it."""
    if port.in_force is not None:
        return getattr(port.in_force, name)
    shared, own = getattr(port.group.setting, name), getattr(port.override, name, None)
    return shared if own is None else merged(shared, own)


def report(tx: Transaction, port: DvPort) -> DvPort:
    """The host reports the port's state, if vCenter can hear it."""
    vm = port.vm
    if vm is None or (vm.host is not None and vm.host.connection_state != "connected"):
        return port
    nic = next((nic for nic in vm.nics if nic.key == port.nic_key), None)
    up = nic is not None and nic.connected and vm.power_state == "poweredOn"
    vlans, trunk = vlan_ranges(policy_in_force(port, "vlan"))
    state = PortState(
        link_up=up,
        blocked=bool(policy_in_force(port, "blocked").value),
        vlans=vlans,
        trunk=trunk,
        mac=nic.mac if nic is not None and up else "",
    )
    if state == port.state:
        return port
    old, port = port.state, dataclasses.replace(port, state=state, changed=tx.world.clock.now())
    port.group.dvs.ports.put(tx, port)
    _tell(tx, port, old, state)
    return port


def _tell(tx: Transaction, port: DvPort, old: PortState | None, new: PortState) -> None:
    dvs, info = port.group.dvs, runtime_info(new, port.group.dvs)

    def post(cls: Any, **fields: Any) -> None:
        tx.event(inventory_event(cls, dvs, portKey=port.key, runtimeInfo=info, **fields))

    was_up, was_blocked = (old.link_up, old.blocked) if old is not None else (False, False)
    if new.blocked != was_blocked:
        cls = vim.event.DvsPortBlockedEvent if new.blocked else vim.event.DvsPortUnblockedEvent
        post(cls, prevBlockState="blocked" if was_blocked else "unblocked")
    if new.link_up != was_up:
        post(vim.event.DvsPortLinkUpEvent if new.link_up else vim.event.DvsPortLinkDownEvent)
    elif new.link_up and old is not None and (old.vlans, old.mac) != (new.vlans, new.mac):
        post(vim.event.DvsPortRuntimeChangeEvent)


def runtime_info(state: PortState, dvs: DistributedVirtualSwitch) -> Any:
    """DVPortStatus."""
    return data_object(
        vim.dvs.DistributedVirtualPort.RuntimeInfo,
        linkUp=state.link_up,
        blocked=state.blocked,
        vlanIds=[data_object(vim.NumericRange, start=first, end=last) for first, last in state.vlans],
        trunkingMode=state.trunk,
        mtu=dvs.max_mtu,
        macAddress=state.mac or None,
    )
