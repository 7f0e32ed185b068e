"""Making, changing and removing distributed switches and port groups.

A reconfiguration patches: fields that the spec leaves unset stay. It must name the configuration version it was made
from (or none); a stale one is ConcurrentAccess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import dvs_members, dvs_ports
from contrail_vsphere.simulator.vcenter.create import join_network
from contrail_vsphere.simulator.vcenter.data_object import data_object, merged, same
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_projection import default_policy, default_setting
from contrail_vsphere.simulator.vcenter.dvs_pvlan import changed_map
from contrail_vsphere.simulator.vcenter.dvs_settings import (
    OVERRIDES,
    check_setting,
    effective,
    merged_blobs,
    merged_policy,
    patched_setting,
    refused_override,
    set_policies,
)
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.inventory_events import changes, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found, without
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

_VMWARE = vim.dvs.VmwareDistributedVirtualSwitch
GROUP_KINDS = ("earlyBinding", "ephemeral")
"""``lateBinding`` is deprecated since vSphere 5.0 and refused here, as newer releases do."""
DEFAULT_PORTS = 8
STALE = "Cannot complete operation due to concurrent modification by another operation."


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
        names = tuple(getattr(config.uplinkPortPolicy, "uplinkPortName", None) or ())
        version = spec.productInfo.version if spec.productInfo is not None and spec.productInfo.version else ""
        dvs = make_switch(tx, folder, config.name, uplinks=names, version=version)
        _apply(tx, dvs, config)
    return dvs


def make_switch(
    tx: Transaction, folder: Folder, name: str, *, uplinks: tuple[str, ...] = (), version: str = ""
) -> DistributedVirtualSwitch:
    """Inside a commit: a switch with its uplink port group. Posts DvsCreatedEvent."""
    world = tx.world
    dvs_ports.install(world)
    names = uplinks or ("Uplink 1", "Uplink 2")
    dvs = DistributedVirtualSwitch(
        world=world,
        moid=world.new_id(DistributedVirtualSwitch.prefix),
        name=name,
        parent=folder,
        uuid=dvs_uuid(world),
        created=world.clock.now(),
        uplink_names=names,
        setting=default_setting(names),
        version=version or "8.0.3",
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
    uplink: bool = False,
    **more: Any,
) -> DistributedVirtualPortgroup:
    """Inside a commit: a port group on all hosts of the switch. Posts DVPortgroupCreatedEvent.

    ``more``: description, port_name_format, scope, vendor, resource_pool.
    """
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
        setting=setting or dvs.setting,
        policy=policy or default_policy(),
        created=world.clock.now(),
        base_ports=ports,
        **more,
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
    """ReconfigureDvs_Task. Members that are away fail it, after it has done its work, with DvsOperationBulkFault."""
    _check_version(spec, dvs.config_version)
    await world.clock.sleep(world.service(Timing).dvs)
    if world.get(dvs.moid) is not dvs:
        raise fault(vmodl.fault.ManagedObjectNotFound, "The switch is gone.", obj=dvs.ref)
    _check_version(spec, dvs.config_version)
    if spec.name and spec.name != dvs.name:
        dvs.check_new_name(spec.name)
    away: list[HostSystem] = []
    with world.commit(user, chain=chain) as tx:
        if spec.name and spec.name != dvs.name:
            old = dvs.name
            tx.set(dvs, name=spec.name)
            tx.event(inventory_event(vim.event.DvsRenamedEvent, dvs, oldName=old, newName=spec.name))
        modified = _apply(tx, dvs, spec)
        if modified & ON_HOSTS:
            away = [host for host in dvs.hosts if not dvs_members.reachable(host)]
            for host in away:
                dvs_members.went_out_of_sync(tx, dvs, host, ", ".join(sorted(modified & ON_HOSTS)))
        tx.set(dvs, config_version=dvs.config_version + 1)
        told = changes(modified=", ".join(sorted(modified)))
        tx.event(inventory_event(vim.event.DvsReconfiguredEvent, dvs, configSpec=spec, configChanges=told))
    if away:
        raise dvs_members.bulk_fault(away)


async def set_health_checks(
    world: World, dvs: DistributedVirtualSwitch, configs: list[Any], *, user: str = "", chain: int | None = None
) -> None:
    """UpdateDVSHealthCheckConfig_Task: kinds that are not named stay as they are."""
    kinds = (_VMWARE.VlanMtuHealthCheckConfig, _VMWARE.TeamingHealthCheckConfig)
    path = "healthCheckConfig"
    for item in configs:
        if not isinstance(item, kinds) or item.enable is None or (item.interval or 0) < 0:
            message = f"A specified parameter was not correct: {path}"
            raise fault(vmodl.fault.InvalidArgument, message, invalidProperty=path)
    await world.clock.sleep(world.service(Timing).dvs)
    new = {type(item): data_object(type(item), enable=item.enable, interval=item.interval or 1) for item in configs}
    with world.commit(user, chain=chain) as tx:
        tx.set(
            dvs,
            health=tuple(new.get(type(item), item) for item in dvs.health),
            config_version=dvs.config_version + 1,
        )
        spec = data_object(_VMWARE.ConfigSpec)
        tx.event(inventory_event(vim.event.DvsReconfiguredEvent, dvs, configSpec=spec, configChanges=changes(path)))


def _check_version(spec: Any, version: int) -> None:
    if spec.configVersion and spec.configVersion != str(version):
        raise fault(vim.fault.ConcurrentAccess, STALE)


_SIMPLE = {
    "description": "description",
    "extensionKey": "extension_key",
    "switchIpAddress": "ip_address",
    "defaultProxySwitchMaxNumPorts": "default_proxy_ports",
    "maxMtu": "max_mtu",
    "maxPorts": "max_ports",
    "linkDiscoveryProtocolConfig": "discovery",
    "ipfixConfig": "ipfix",
    "lacpApiVersion": "lacp_version",
    "multicastFilteringMode": "multicast",
}
"""Fields of the spec that are kept as they come -> state."""

ON_HOSTS = frozenset(("maxMtu", "linkDiscoveryProtocolConfig", "ipfixConfig", "pvlanConfigSpec", "uplinkPortPolicy"))
"""What every member host must learn of."""


def _apply(tx: Transaction, dvs: DistributedVirtualSwitch, spec: Any) -> set[str]:
    """Inside a commit: what the spec sets; gives the names of its fields that changed something."""
    _check_switch(dvs, spec)
    modified = set()
    for name, attribute in _SIMPLE.items():
        value = getattr(spec, name, None)
        if value is not None and not same(value, getattr(dvs, attribute)):
            tx.set(dvs, **{attribute: value})
            modified.add(name)
    if spec.contact is not None and tx.set(dvs, contact=(spec.contact.name or "", spec.contact.contact or "")):
        modified.add("contact")
    if spec.policy is not None and not same(policy := merged(dvs.policy, spec.policy), dvs.policy):
        tx.set(dvs, policy=policy)
        modified.add("policy")
    if spec.vendorSpecificConfig:
        tx.set(dvs, vendor=merged_blobs(dvs.vendor, spec.vendorSpecificConfig))
        modified.add("vendorSpecificConfig")
    if getattr(spec, "pvlanConfigSpec", None):
        tx.set(dvs, pvlans=changed_map(dvs, spec.pvlanConfigSpec))
        modified.add("pvlanConfigSpec")
    if spec.defaultPortConfig is not None:
        check_setting(spec.defaultPortConfig, dvs, path="spec.defaultPortConfig")
        setting = patched_setting(dvs.setting, spec.defaultPortConfig)
        if not same(setting, dvs.setting):
            tx.set(dvs, setting=setting)
            modified.add("defaultPortConfig")
    names = tuple(getattr(spec.uplinkPortPolicy, "uplinkPortName", None) or ())
    if names and tx.set(dvs, uplink_names=names):
        for host in dvs.hosts:
            dvs_members.fit_uplinks(tx, dvs, host)
        modified.add("uplinkPortPolicy")
    for member in spec.host:
        dvs_members.apply_member(tx, dvs, member)
        modified.add("host")
    return modified


def _check_switch(dvs: DistributedVirtualSwitch, spec: Any) -> None:
    """Raise InvalidArgument for numbers and names out of range."""
    mtu, most = getattr(spec, "maxMtu", None), spec.maxPorts
    names = list(getattr(spec.uplinkPortPolicy, "uplinkPortName", None) or ())
    wrong = {
        "spec.maxMtu": mtu is not None and not 1280 <= mtu <= 9000,
        "spec.maxPorts": most is not None and most < dvs.ports.count(),
        "spec.numStandalonePorts": bool(spec.numStandalonePorts),
        "spec.uplinkPortPolicy": len(names) > 32 or len(names) != len(set(names)),
        "spec.uplinkPortgroup": any(
            dvs.uplink_group is None or ref._moId != dvs.uplink_group.moid for ref in spec.uplinkPortgroup
        ),
    }
    for path, is_wrong in wrong.items():
        if is_wrong:
            message = f"A specified parameter was not correct: {path}"
            raise fault(vmodl.fault.InvalidArgument, message, invalidProperty=path)


async def destroy(world: World, dvs: DistributedVirtualSwitch, *, user: str = "", chain: int | None = None) -> None:
    """Take the switch out with its port groups; refused while a VM is connected."""
    _check_no_vm(dvs)
    await world.clock.sleep(world.service(Timing).dvs)
    _check_no_vm(dvs)
    with world.commit(user, chain=chain) as tx:
        gone = inventory_event(vim.event.DvsDestroyedEvent, dvs)
        for group in dvs.portgroups:
            tx.event(inventory_event(vim.event.DVPortgroupDestroyedEvent, group))
            group.leave(tx)
        if isinstance(dvs.parent, Folder):
            dvs.parent.release(tx, dvs)
        tx.remove(dvs)
        tx.event(gone)


def _check_no_vm(dvs: DistributedVirtualSwitch) -> None:
    for group in dvs.portgroups:
        if not group.uplink:
            group.check_unused()


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
                ports=default if spec.numPorts is None or kind == "ephemeral" else int(spec.numPorts),
                kind=kind,
                auto_expand=spec.autoExpand is not False,
                setting=patched_setting(dvs.setting, spec.defaultPortConfig, dvs.setting),
                policy=merged_policy(default_policy(), spec.policy),
                description=spec.description or "",
                port_name_format=spec.portNameFormat or "",
                scope=tuple(found(dvs, item, ManagedEntity) for item in spec.scope),
                vendor=merged_blobs((), spec.vendorSpecificConfig),
                resource_pool=spec.vmVnicNetworkResourcePoolKey or "",
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
    _check_group_fields(dvs, spec)


def _check_group_fields(dvs: DistributedVirtualSwitch, spec: Any) -> None:
    if spec.type is not None and str(spec.type) not in GROUP_KINDS:
        message = f"Port binding '{spec.type}' is not supported."
        raise fault(vmodl.fault.InvalidArgument, message, invalidProperty="spec.type")
    if spec.numPorts is not None and spec.numPorts < 0:
        raise fault(vmodl.fault.InvalidArgument, "A port group has no ports or more.", invalidProperty="spec.numPorts")
    check_setting(spec.defaultPortConfig, dvs, path="spec.defaultPortConfig")


async def reconfigure_portgroup(
    world: World, group: DistributedVirtualPortgroup, spec: Any, *, user: str = "", chain: int | None = None
) -> None:
    """ReconfigureDVPortgroup_Task: only what the spec sets changes; the version counts up.

    Hosts that are away and have connected ports of the group keep what they had, and fail the task afterwards.
    """
    _check_version(spec, group.config_version)
    _check_group_fields(group.dvs, spec)
    await world.clock.sleep(world.service(Timing).dvs)
    if world.get(group.moid) is not group:
        raise fault(vmodl.fault.ManagedObjectNotFound, "The port group is gone.", obj=group.ref)
    _check_version(spec, group.config_version)
    if spec.name and spec.name != group.name:
        group.check_new_name(spec.name)
    with world.commit(user, chain=chain) as tx:
        modified, away = _patch_group(tx, group, spec)
        tx.set(group, config_version=group.config_version + 1)
        told = changes(modified=", ".join(modified))
        tx.event(inventory_event(vim.event.DVPortgroupReconfiguredEvent, group, configSpec=spec, configChanges=told))
    if away:
        raise dvs_members.bulk_fault(away)


def _patch_group(tx: Transaction, group: DistributedVirtualPortgroup, spec: Any) -> tuple[list[str], list[HostSystem]]:
    """Inside a commit; gives the fields that changed something and the hosts that did not hear of it."""
    modified = []
    if spec.name and spec.name != group.name:
        group.apply_new_name(tx, spec.name)
        modified.append("name")
    simple = {
        "description": ("description", spec.description),
        "autoExpand": ("auto_expand", None if spec.autoExpand is None else bool(spec.autoExpand)),
        "portNameFormat": ("port_name_format", spec.portNameFormat),
        "vmVnicNetworkResourcePoolKey": ("resource_pool", spec.vmVnicNetworkResourcePoolKey),
        "scope": ("scope", tuple(found(group, item, ManagedEntity) for item in spec.scope) or None),
        "vendorSpecificConfig": ("vendor", merged_blobs(group.vendor, spec.vendorSpecificConfig) or None),
    }
    modified += [
        name for name, (attribute, value) in simple.items() if value is not None and tx.set(group, **{attribute: value})
    ]
    if spec.type is not None and str(spec.type) != group.kind:
        group.check_unused()
        tx.set(group, kind=str(spec.type))
        modified.append("type")
    policy = merged_policy(group.policy, spec.policy)
    if not same(policy, group.policy):
        _check_revoked(group, policy)
        tx.set(group, policy=policy)
        modified.append("policy")
    away: list[HostSystem] = []
    setting = patched_setting(group.setting, spec.defaultPortConfig, group.dvs.setting)
    if not same(setting, group.setting):
        away = _new_setting(tx, group, setting)
        modified.append("defaultPortConfig")
    if spec.numPorts is not None and int(spec.numPorts) != group.num_ports:
        dvs_ports.resize(tx, group, int(spec.numPorts))
        modified.append("numPorts")
    return modified, away


def _check_revoked(group: DistributedVirtualPortgroup, policy: Any) -> None:
    """What ports have of their own must stay allowed."""
    gone = {
        allowed
        for allowed in OVERRIDES.values()
        if getattr(group.policy, allowed, None) and not getattr(policy, allowed, None)
    }
    for key in group.port_keys if gone else ():
        own = group.dvs.ports.ports[key].override
        for name in set_policies(own):
            if OVERRIDES.get(name) in gone:
                raise refused_override(group, OVERRIDES[name], f"Port {key} of '{group.name}' overrides '{name}'.")


def _new_setting(tx: Transaction, group: DistributedVirtualPortgroup, setting: Any) -> list[HostSystem]:
    """Connected ports of the group get the new setting, except those whose host is away."""
    table, before = group.dvs.ports, group.setting
    tx.set(group, setting=setting)
    away: dict[str, HostSystem] = {}
    for port in list(table.used_in((group,))):
        host = port.proxy_host
        if host is None or dvs_members.reachable(host):
            dvs_ports.report(tx, port)
            continue
        away[host.moid] = host
        dvs_members.went_out_of_sync(tx, group.dvs, host, f"port group {group.name}")
        if port.in_force is None:
            table.put(tx, dataclasses.replace(port, in_force=effective(before, port.override)))
    return list(away.values())


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
