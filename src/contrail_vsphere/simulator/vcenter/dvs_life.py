"""Making, changing and removing distributed switches and port groups.

A reconfiguration patches: fields that the spec leaves unset stay. It must name the configuration version it was made
from (or none); a stale one is ConcurrentAccess.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import dvs_ports
from contrail_vsphere.simulator.vcenter.create import join_network, leave_network
from contrail_vsphere.simulator.vcenter.data_object import data_object, merged, same
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_projection import default_policy, default_setting
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.inventory_events import changes, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found, without
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World

_VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
GROUP_KINDS = ("earlyBinding", "lateBinding", "ephemeral")
DEFAULT_PORTS = 8


def dvs_uuid(world: World) -> str:
    """``50 2f 1d ... - ...``: sixteen bytes as vCenter writes them."""
    raw = f"{world.random.getrandbits(128):032x}"
    pairs = [raw[i : i + 2] for i in range(0, 32, 2)]
    return " ".join(pairs[:8]) + "-" + " ".join(pairs[8:])


async def create(
    world: World, *, folder: Folder, spec: Any, user: str = "", chain: int | None = None
) -> DistributedVirtualSwitch:
    """CreateDVS_Task: the switch, its uplink port group, and the hosts of the spec as members."""
    config = spec.configSpec
    if not config.name:
        raise fault(vim.fault.InvalidName, "The switch needs a name.", name="")
    folder.check_free(config.name, "DistributedVirtualSwitch")
    await world.clock.sleep(world.service(Timing).dvs)
    folder.check_free(config.name, "DistributedVirtualSwitch")
    with world.commit(user, chain=chain) as tx:
        dvs = make_switch(tx, folder, config.name)
        _apply(tx, dvs, config)
    return dvs


def make_switch(tx: Transaction, folder: Folder, name: str) -> DistributedVirtualSwitch:
    """Inside a commit: a switch with its uplink port group. Posts DvsCreatedEvent."""
    world = tx.world
    names = ("Uplink 1", "Uplink 2")
    dvs = DistributedVirtualSwitch(
        world=world,
        moid=world.new_id(DistributedVirtualSwitch.prefix),
        name=name,
        parent=folder,
        uuid=dvs_uuid(world),
        created=world.clock.now(),
        uplink_names=names,
        setting=default_setting(names),
    )
    folder.adopt(tx, dvs)
    tx.event(inventory_event(vim.event.DvsCreatedEvent, dvs, parent=folder))
    uplink = f"{name}-DVUplinks-{dvs.moid.rpartition('-')[2]}"
    trunk = data_object(
        _VMWARE.TrunkVlanSpec, inherited=False, vlanId=[data_object(vim.NumericRange, start=0, end=4094)]
    )
    setting = merged(dvs.setting, data_object(_VMWARE.VmwarePortConfigPolicy, vlan=trunk))
    make_portgroup(tx, dvs, uplink, ports=0, auto_expand=False, setting=setting, uplink=True)
    return dvs


def make_portgroup(
    tx: Transaction,
    dvs: DistributedVirtualSwitch,
    name: str,
    *,
    ports: int = DEFAULT_PORTS,
    kind: str = "earlyBinding",
    auto_expand: bool = True,
    setting: Any = None,
    policy: Any = None,
    description: str = "",
    uplink: bool = False,
) -> DistributedVirtualPortgroup:
    """Inside a commit: a port group on all hosts of the switch. Posts DVPortgroupCreatedEvent."""
    world = tx.world
    folder = dvs.parent
    assert isinstance(folder, Folder)  # noqa: S101 - a switch is always in a folder
    group = DistributedVirtualPortgroup(
        world=world,
        moid=world.new_id(DistributedVirtualPortgroup.prefix),
        name=name,
        parent=folder,
        dvs=dvs,
        kind=kind,
        auto_expand=auto_expand and kind == "earlyBinding",
        uplink=uplink,
        description=description,
        setting=setting or dvs.setting,
        policy=policy or default_policy(),
        created=world.clock.now(),
    )
    folder.adopt(tx, group)
    tx.set(dvs, portgroups=(*dvs.portgroups, group))
    tx.event(inventory_event(vim.event.DVPortgroupCreatedEvent, group))
    dvs_ports.add_ports(tx, group, ports)
    for host in dvs.hosts:
        join_network(tx, host, group)
    return group


async def reconfigure(
    world: World, dvs: DistributedVirtualSwitch, spec: Any, *, user: str = "", chain: int | None = None
) -> None:
    """ReconfigureDvs_Task."""
    _check_version(spec, dvs.config_version)
    await world.clock.sleep(world.service(Timing).dvs)
    _check_version(spec, dvs.config_version)
    if spec.name and spec.name != dvs.name:
        dvs.check_new_name(spec.name)
    with world.commit(user, chain=chain) as tx:
        if spec.name and spec.name != dvs.name:
            old = dvs.name
            tx.set(dvs, name=spec.name)
            tx.event(inventory_event(vim.event.DvsRenamedEvent, dvs, oldName=old, newName=spec.name))
        _apply(tx, dvs, spec)
        tx.set(dvs, config_version=dvs.config_version + 1)
        tx.event(inventory_event(vim.event.DvsReconfiguredEvent, dvs, configSpec=spec, configChanges=changes()))


def _check_version(spec: Any, version: int) -> None:
    if spec.configVersion and spec.configVersion != str(version):
        raise fault(vim.fault.ConcurrentAccess, "The object or item referred to has changed since it was read.")


def _apply(tx: Transaction, dvs: DistributedVirtualSwitch, spec: Any) -> None:
    if spec.description is not None:
        tx.set(dvs, description=spec.description)
    if getattr(spec, "maxMtu", None) is not None:
        if not 1280 <= spec.maxMtu <= 9000:
            raise fault(vmodl.fault.InvalidArgument, "The MTU must be 1280 to 9000.", invalidProperty="spec.maxMtu")
        tx.set(dvs, max_mtu=int(spec.maxMtu))
    if spec.maxPorts is not None:
        tx.set(dvs, max_ports=int(spec.maxPorts))
    if spec.contact is not None:
        tx.set(dvs, contact=(spec.contact.name or "", spec.contact.contact or ""))
    if spec.defaultPortConfig is not None:
        setting = patched_setting(dvs.setting, spec.defaultPortConfig)
        if not same(setting, dvs.setting):
            tx.set(dvs, setting=setting)
    names = getattr(spec.uplinkPortPolicy, "uplinkPortName", None)
    if names:
        tx.set(dvs, uplink_names=tuple(names))
    for member in spec.host:
        host = found(dvs, member.host, HostSystem)
        operation = str(member.operation)
        if operation == "add":
            join(tx, dvs, host)
        elif operation == "remove":
            leave(tx, dvs, host)
        elif host not in dvs.hosts:
            raise fault(vim.fault.NotFound, f"Host '{host.name}' is not a member of '{dvs.name}'.")


def join(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit: the host becomes a member. Raises AlreadyExists; posts DvsHostJoinedEvent."""
    if host in dvs.hosts:
        raise fault(vim.fault.AlreadyExists, f"Host '{host.name}' is a member of '{dvs.name}' already.", name=host.name)
    if host.connection_state != "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)
    tx.set(dvs, hosts=(*dvs.hosts, host))
    for group in dvs.portgroups:
        join_network(tx, host, group)
    tx.event(inventory_event(vim.event.DvsHostJoinedEvent, dvs, hostJoined=host))


def leave(tx: Transaction, dvs: DistributedVirtualSwitch, host: HostSystem) -> None:
    """Inside a commit: the host is no member any more. Raises ResourceInUse while a VM on it is connected."""
    if host not in dvs.hosts:
        raise fault(vim.fault.NotFound, f"Host '{host.name}' is not a member of '{dvs.name}'.")
    for vm in host.vms:
        if any(isinstance(item, DistributedVirtualPortgroup) and item.dvs is dvs for item in vm.networks):
            message = f"The resource '{dvs.name}' is in use by '{vm.name}'."
            raise fault(vim.fault.ResourceInUse, message, type=type(dvs.ref), name=dvs.name)
    tx.set(dvs, hosts=without(dvs.hosts, host))
    for group in dvs.portgroups:
        leave_network(tx, host, group)
    tx.event(inventory_event(vim.event.DvsHostLeftEvent, dvs, hostLeft=host))


async def destroy(world: World, dvs: DistributedVirtualSwitch, *, user: str = "", chain: int | None = None) -> None:
    """Take the switch out with its port groups; refused while a VM is connected."""
    for group in dvs.portgroups:
        group.check_unused()
    await world.clock.sleep(world.service(Timing).dvs)
    for group in dvs.portgroups:
        group.check_unused()
    with world.commit(user, chain=chain) as tx:
        gone = inventory_event(vim.event.DvsDestroyedEvent, dvs)
        for group in dvs.portgroups:
            tx.event(inventory_event(vim.event.DVPortgroupDestroyedEvent, group))
            group.leave(tx)
        if isinstance(dvs.parent, Folder):
            dvs.parent.release(tx, dvs)
        tx.remove(dvs)
        tx.event(gone)


# -- port groups ------------------------------------------------------------------------------------------------


async def add_portgroups(
    world: World, dvs: DistributedVirtualSwitch, specs: Iterable[Any], *, user: str = "", chain: int | None = None
) -> list[DistributedVirtualPortgroup]:
    """AddDVPortgroup_Task and CreateDVPortgroup_Task: all of them or none."""
    specs = list(specs)
    for spec in specs:
        _check_group(dvs, spec)
    await world.clock.sleep(world.service(Timing).dvs)
    if world.get(dvs.moid) is not dvs:
        raise fault(vmodl.fault.ManagedObjectNotFound, "The switch is gone.", obj=dvs.ref)
    with world.commit(user, chain=chain) as tx:
        made = []
        for spec in specs:
            _check_group(dvs, spec)
            kind = str(spec.type or "earlyBinding")
            default = 0 if kind == "ephemeral" else DEFAULT_PORTS
            group = make_portgroup(
                tx,
                dvs,
                spec.name,
                ports=default if spec.numPorts is None else int(spec.numPorts),
                kind=kind,
                auto_expand=spec.autoExpand is not False,
                setting=patched_setting(dvs.setting, spec.defaultPortConfig),
                policy=merged(default_policy(), spec.policy) if spec.policy is not None else None,
                description=spec.description or "",
            )
            made.append(group)
        tx.set(dvs, config_version=dvs.config_version + 1)
    return made


def _check_group(dvs: DistributedVirtualSwitch, spec: Any) -> None:
    folder = dvs.parent
    if not spec.name:
        raise fault(vim.fault.InvalidName, "The port group needs a name.", name="")
    if isinstance(folder, Folder):
        folder.check_free(spec.name, "Network")
    kind = str(spec.type or "earlyBinding")
    if kind not in GROUP_KINDS:
        raise fault(vmodl.fault.InvalidArgument, f"'{kind}' is no port group type.", invalidProperty="spec.type")
    check_setting(spec.defaultPortConfig)


def check_setting(setting: Any) -> None:
    """Raise InvalidArgument for VLAN ids outside 0 to 4094."""
    vlan = getattr(setting, "vlan", None)
    if vlan is None:
        return
    if isinstance(vlan, _VMWARE.TrunkVlanSpec):
        numbers = [number for item in vlan.vlanId for number in (item.start, item.end)]
    else:
        numbers = [getattr(vlan, "vlanId", 0)]
    if any(not 0 <= int(number) <= 4094 for number in numbers):
        raise fault(
            vmodl.fault.InvalidArgument, "A VLAN id is 0 to 4094.", invalidProperty="spec.defaultPortConfig.vlan"
        )


def patched_setting(base: Any, patch: Any) -> Any:
    """The port setting with ``patch`` over it; security policy and its successor, MAC management, follow each other."""
    if patch is None:
        return base
    result = merged(base, patch)
    names = ("allowPromiscuous", "macChanges", "forgedTransmits")
    security, management = getattr(patch, "securityPolicy", None), getattr(patch, "macManagementPolicy", None)
    if security is not None and management is None:
        given = {name: getattr(security, name).value for name in names if getattr(security, name) is not None}
        mirror = data_object(type(result.macManagementPolicy), **{**result.macManagementPolicy.__dict__, **given})
        return data_object(type(result), **{**result.__dict__, "macManagementPolicy": mirror})
    if management is not None and security is None:
        given = {
            name: data_object(vim.BoolPolicy, inherited=False, value=getattr(management, name))
            for name in names
            if getattr(management, name) is not None
        }
        mirror = data_object(type(result.securityPolicy), **{**result.securityPolicy.__dict__, **given})
        return data_object(type(result), **{**result.__dict__, "securityPolicy": mirror})
    return result


async def reconfigure_portgroup(
    world: World, group: DistributedVirtualPortgroup, spec: Any, *, user: str = "", chain: int | None = None
) -> None:
    """ReconfigureDVPortgroup_Task: only what the spec sets changes; the version counts up."""
    _check_version(spec, group.config_version)
    check_setting(spec.defaultPortConfig)
    await world.clock.sleep(world.service(Timing).dvs)
    if world.get(group.moid) is not group:
        raise fault(vmodl.fault.ManagedObjectNotFound, "The port group is gone.", obj=group.ref)
    _check_version(spec, group.config_version)
    if spec.name and spec.name != group.name:
        group.check_new_name(spec.name)
    with world.commit(user, chain=chain) as tx:
        _patch_group(tx, group, spec)
        tx.set(group, config_version=group.config_version + 1)
        tx.event(
            inventory_event(vim.event.DVPortgroupReconfiguredEvent, group, configSpec=spec, configChanges=changes())
        )


def _patch_group(tx: Transaction, group: DistributedVirtualPortgroup, spec: Any) -> None:
    if spec.name and spec.name != group.name:
        old = group.name
        tx.set(group, name=spec.name)
        tx.touch(group.dvs, "summary.portgroupName")
        for vm in group.vms:
            tx.touch(vm, "guest.net")
        tx.event(inventory_event(vim.event.DVPortgroupRenamedEvent, group, oldName=old, newName=spec.name))
    if spec.description is not None:
        tx.set(group, description=spec.description)
    if spec.autoExpand is not None:
        tx.set(group, auto_expand=bool(spec.autoExpand))
    if spec.type is not None and str(spec.type) != group.kind:
        group.check_unused()
        tx.set(group, kind=str(spec.type))
    for name, new in (
        ("setting", patched_setting(group.setting, spec.defaultPortConfig)),
        ("policy", merged(group.policy, spec.policy) if spec.policy is not None else group.policy),
    ):
        if not same(new, getattr(group, name)):
            tx.set(group, **{name: new})
    if spec.numPorts is not None:
        _resize(tx, group, int(spec.numPorts))


def _resize(tx: Transaction, group: DistributedVirtualPortgroup, count: int) -> None:
    more = count - len(group.port_keys)
    if more > 0:
        dvs_ports.add_ports(tx, group, more)
    elif more < 0:
        free = dvs_ports.free_ports(group)
        if len(free) < -more:
            message = f"The resource '{group.name}' is in use."
            raise fault(vim.fault.ResourceInUse, message, type=type(group.ref), name=group.name)
        dvs_ports.remove_ports(tx, group, free[more:])


async def destroy_portgroup(
    world: World, group: DistributedVirtualPortgroup, *, user: str = "", chain: int | None = None
) -> None:
    """Take the port group out; refused while a card is connected, and for the uplink group."""
    group.check_unused()
    if group.uplink:
        raise fault(vmodl.fault.NotSupported, "The uplink port group cannot be destroyed.")
    await world.clock.sleep(world.service(Timing).dvs)
    group.check_unused()
    with world.commit(user, chain=chain) as tx:
        tx.event(inventory_event(vim.event.DVPortgroupDestroyedEvent, group))
        tx.set(group.dvs, portgroups=without(group.dvs.portgroups, group))
        group.leave(tx)
