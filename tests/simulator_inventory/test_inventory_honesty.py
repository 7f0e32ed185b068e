"""Whatever an operation does, a client that follows the journal knows what a fresh read would tell it."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter import host_life, vm_life
from contrail_vsphere.simulator.vcenter.devices import nic_device
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import managed_class

INVENTORY = (ManagedEntity,)


def leaves(value, path):
    """``(path, text)`` of everything in a value; arrays count as one leaf."""
    if isinstance(value, Entity):
        yield path, value.moid
    elif hasattr(value, "_propInfo") and not hasattr(value, "_moId"):
        yield path + "!", type(value).__name__
        for info in value._GetPropertyList():
            if info.name not in ("dynamicType", "dynamicProperty"):
                yield from leaves(getattr(value, info.name), f"{path}.{info.name}")
    else:
        yield path, flat(value)


def flat(value):
    if isinstance(value, Entity):
        return value.moid
    if hasattr(value, "_moId"):
        return value._moId
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flat(item) for item in value) + "]"
    if hasattr(value, "_propInfo"):
        return type(value).__name__ + "{" + ", ".join(f"{p}={t}" for p, t in leaves(value, "")) + "}"
    return repr(value)


def snapshot(world):
    found = {}
    for entity in world.objects.values():
        if isinstance(entity, ManagedEntity):
            for path, project in type(entity).properties.items():
                for leaf, text in leaves(project(entity), path):
                    found[entity.moid, leaf.rstrip("!")] = text
    return found


POOL_USAGE = tuple(f"{part}.{kind}." for part in ("runtime", "summary.runtime") for kind in ("cpu", "memory"))
"""No update tells of these (ResourcePool.runtime in the API reference)."""


def untold(world, before, seq):
    """Changed leaves that no journal entry covers."""
    told = {}
    fresh = set()
    for entry in world.since(seq):
        if entry.kind == "modify":
            told.setdefault(entry.entity.moid, set()).add(entry.path)
        else:
            fresh.add(entry.entity.moid)
    after = snapshot(world)
    missing = []
    for moid, leaf in before.keys() | after.keys():
        if moid in fresh or before.get((moid, leaf)) == after.get((moid, leaf)):
            continue
        if moid.startswith("resgroup-") and leaf.startswith(POOL_USAGE):
            continue
        if not any(leaf == path or leaf.startswith(path + ".") for path in told.get(moid, ())):
            missing.append((moid, leaf, before.get((moid, leaf)), after.get((moid, leaf))))
    return sorted(missing)


def nic_spec(operation, device):
    return vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)])


def new_nic(network):
    backing = network.nic_backing(type("N", (), {"port_key": "", "connection_cookie": 0}))
    return vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)


async def power_cycle(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "PowerOnVM_Task")


async def suspend(lab):
    await lab.run(lab.built.vms[0], "SuspendVM_Task")


async def snapshots(lab):
    vm = lab.built.vms[0]
    spec = {"memory": True, "quiesce": False}
    first = await lab.run(vm, "CreateSnapshot_Task", name="first", **spec)
    await lab.run(vm, "CreateSnapshot_Task", name="second", **spec)
    await lab.run(vm, "ReconfigVM_Task", spec=nic_spec("add", new_nic(lab.built.management)))
    await lab.run(first, "RevertToSnapshot_Task")
    await lab.run(vm, "CreateSnapshot_Task", name="third", memory=False, quiesce=True)
    await lab.run(first, "RenameSnapshot", name="base")
    await lab.run(first, "RemoveSnapshot_Task", removeChildren=False)
    await lab.run(vm, "RevertToCurrentSnapshot_Task")


async def reset(lab):
    await lab.run(lab.built.vms[0], "ResetVM_Task")


async def rename_everything(lab):
    built = lab.built
    for entity in (built.vms[0], built.shared, built.vm_network, built.clusters[0], built.datacenter, built.dvs):
        await lab.run(entity, "Rename_Task", newName=f"{entity.name}-new")


async def reconfigure(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    spec = vim.vm.ConfigSpec(
        numCPUs=4,
        memoryMB=8192,
        annotation="hello",
        memoryAllocation=vim.ResourceAllocationInfo(reservation=1024),
        cpuAllocation=vim.ResourceAllocationInfo(reservation=500, limit=1000),
        latencySensitivity=vim.LatencySensitivity(level="high"),
        extraConfig=[vim.option.OptionValue(key="a.b", value="1")],
        managedBy=vim.ext.ManagedByInfo(extensionKey="x.y", type="t"),
        vAppConfig=vim.vApp.VmConfigSpec(
            ovfEnvironmentTransport=["com.vmware.guestInfo"],
            property=[
                vim.vApp.PropertySpec(operation="add", info=vim.vApp.PropertyInfo(key=0, id="token", value="secret"))
            ],
        ),
    )
    await lab.run(vm, "ReconfigVM_Task", spec=spec)


async def add_and_remove_nic(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "ReconfigVM_Task", spec=nic_spec("add", new_nic(lab.built.management)))
    assert [nic.key for nic in vm.nics] == [4000, 4001]
    await lab.run(vm, "ReconfigVM_Task", spec=nic_spec("remove", nic_device(vm.nics[0])))
    assert [nic.key for nic in vm.nics] == [4001]


async def port_group_life(lab):
    built, vm = lab.built, lab.built.vms[0]
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="trunk", numPorts=2, type="earlyBinding")
    group = await lab.run(built.dvs, "CreateDVPortgroup_Task", spec=spec)
    for _ in range(3):
        await lab.run(vm, "ReconfigVM_Task", spec=nic_spec("add", new_nic(group)))
    vlan = vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec(
        inherited=False, vlanId=[vim.NumericRange(start=1, end=4094)]
    )
    change = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion="0",
        description="overlay",
        defaultPortConfig=vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(vlan=vlan),
    )
    await lab.run(group, "ReconfigureDVPortgroup_Task", spec=change)
    await lab.run(group, "Rename_Task", newName="overlay")
    await lab.run(vm, "ReconfigVM_Task", spec=nic_spec("remove", nic_device(vm.nics[1])))


async def switch_life(lab):
    member = vim.dvs.HostMember.ConfigSpec(operation="add", host=lab.built.hosts[0].ref)
    config = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="dvs1", host=[member], maxMtu=9000)
    create = vim.DistributedVirtualSwitch.CreateSpec(configSpec=config)
    dvs = await lab.run(lab.built.datacenter.network_folder, "CreateDVS_Task", spec=create)
    other = vim.dvs.HostMember.ConfigSpec(operation="add", host=lab.built.hosts[1].ref)
    spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name="dvs2", host=[other], configVersion="1")
    await lab.run(dvs, "ReconfigureDvs_Task", spec=spec)
    await lab.run(dvs, "Destroy_Task")


async def destroy_vm(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "Destroy_Task")


async def unregister(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "UnregisterVM")


async def migrate(lab):
    vm, target = lab.built.vms[0], lab.built.hosts[1]
    await lab.run(vm, "MigrateVM_Task", priority="defaultPriority", host=target.ref)


async def relocate(lab):
    vm = lab.built.vms[0]
    local = next(ds for ds in vm.host.datastores if ds.name.endswith("-local"))
    await lab.run(vm, "RelocateVM_Task", spec=vim.vm.RelocateSpec(datastore=local.ref))


async def clone(lab):
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), template=False, powerOn=True)
    await lab.run(lab.built.vms[0], "CloneVM_Task", folder=lab.built.datacenter.vm_folder.ref, name="copy", spec=spec)


async def create_vm(lab):
    config = vim.vm.ConfigSpec(
        name="fresh",
        numCPUs=2,
        memoryMB=2048,
        files=vim.vm.FileInfo(vmPathName="[nfs-shared]"),
        guestId="ubuntu64Guest",
    )
    disk = vim.vm.device.VirtualDisk(key=-1, capacityInKB=1 << 20)
    config.deviceChange = [
        vim.vm.device.VirtualDeviceSpec(operation="add", device=new_nic(lab.built.vm_network)),
        vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk),
    ]
    pool = lab.built.clusters[0].root_pool
    await lab.run(lab.built.datacenter.vm_folder, "CreateVM_Task", config=config, pool=pool.ref)


async def host_in_and_out(lab):
    spec = vim.host.ConnectSpec(hostName="esx-77", force=True)
    host = await lab.run(lab.built.clusters[0], "AddHost_Task", spec=spec, asConnected=True)
    await lab.run(host, "EnterMaintenanceMode_Task", timeout=0)
    await lab.run(host, "Destroy_Task")


async def standalone_host(lab):
    spec = vim.host.ConnectSpec(hostName="lonely", force=True)
    folder = lab.built.datacenter.host_folder
    compute = await lab.run(folder, "AddStandaloneHost_Task", spec=spec, addConnected=True)
    await lab.run(compute.hosts[0], "DisconnectHost_Task")
    await lab.run(compute.hosts[0], "Destroy_Task")


async def maintenance(lab):
    host = lab.built.hosts[0]
    await lab.run(host, "EnterMaintenanceMode_Task", timeout=0)
    await lab.run(host, "ExitMaintenanceMode_Task", timeout=0)


async def connection(lab):
    host = lab.built.hosts[0]
    await lab.run(host, "DisconnectHost_Task")
    await lab.run(host, "ReconnectHost_Task")
    await host_life.lose_connection(lab.world, host)


async def standby(lab):
    host = lab.built.hosts[0]
    await lab.run(host, "PowerDownHostToStandBy_Task", timeoutSec=0)
    await lab.run(host, "PowerUpHostFromStandBy_Task", timeoutSec=0)


async def template_and_back(lab):
    vm = lab.built.vms[0]
    await lab.run(vm, "PowerOffVM_Task")
    await lab.run(vm, "MarkAsTemplate")
    await lab.run(vm, "MarkAsVirtualMachine", pool=lab.built.clusters[0].root_pool.ref)


async def destroy_cluster_with_hosts(lab):
    await lab.run(lab.built.clusters[0], "Destroy_Task")


async def destroy_datacenter_with_everything(lab):
    await port_group_life(lab)
    await lab.run(lab.built.datacenter.vm_folder, "CreateFolder", name="tenants")
    await lab.run(lab.built.datacenter, "Destroy_Task")


async def crash_and_boot(lab):
    host = lab.built.hosts[0]
    await host_life.crash(lab.world, host)
    from contrail_vsphere.simulator.vcenter.background import Background

    await Background.of(lab.world).idle()
    await host_life.boot(lab.world, host)


async def agent_settings(lab):
    host = lab.built.hosts[0]
    info = vim.host.EsxAgentHostManager.ConfigInfo(
        agentVmDatastore=host.datastores[0].ref, agentVmNetwork=host.networks[0].ref
    )
    await lab.run(host.agent_manager, "EsxAgentHostManagerUpdateConfig", configInfo=info)


async def tree(lab):
    root, vms = lab.built.root, lab.built.datacenter.vm_folder
    folder = await lab.run(vms, "CreateFolder", name="tenants")
    await lab.run(folder, "MoveIntoFolder_Task", list=[lab.built.vms[0].ref])
    await lab.run(vms, "MoveIntoFolder_Task", list=[lab.built.vms[0].ref])
    await lab.run(folder, "Destroy_Task")
    other = await lab.run(root, "CreateDatacenter", name="DC9")
    cluster = await lab.run(other.host_folder, "CreateClusterEx", name="C9", spec=vim.cluster.ConfigSpecEx())
    spec = vim.cluster.ConfigSpecEx(drsConfig=vim.cluster.DrsConfigInfo(enabled=True))
    await lab.run(cluster, "ReconfigureComputeResource_Task", spec=spec, modify=True)
    await lab.run(cluster, "Destroy_Task")
    await lab.run(other, "Destroy_Task")


async def pools(lab):
    root = lab.built.clusters[0].root_pool
    empty = vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(reservation=100), memoryAllocation=vim.ResourceAllocationInfo()
    )
    pool = await lab.run(root, "CreateResourcePool", name="ESX Agents", spec=empty)
    await lab.run(pool, "MoveIntoResourcePool", list=[lab.built.vms[0].ref])
    changed = vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(), memoryAllocation=vim.ResourceAllocationInfo(reservation=512)
    )
    await lab.run(pool, "UpdateConfig", name="agents", config=changed)
    await lab.run(pool, "Destroy_Task")


async def guest_reports(lab):
    vm = lab.built.vms[0]
    with lab.world.commit() as tx:
        tx.set(vm, guest_ip="10.9.8.7", guest_hostname="web", heartbeat="yellow")
    with lab.world.commit() as tx:
        tx.set(vm, tools_running=False)
    vm.tools_running = True
    vm_life.shutdown_guest(lab.world, vm)
    from contrail_vsphere.simulator.vcenter.background import Background

    await Background.of(lab.world).idle()


async def hosts_change_clusters(lab):
    host, folder = lab.built.hosts[0], lab.built.datacenter.host_folder
    other = await lab.run(folder, "CreateClusterEx", name="C9", spec=vim.cluster.ConfigSpecEx())
    spec = vim.host.ConnectSpec(hostName="lonely", force=True)
    alone = await lab.run(folder, "AddStandaloneHost_Task", spec=spec, addConnected=True)
    await lab.run(host, "EnterMaintenanceMode_Task", timeout=0)
    await lab.run(host, "RebootHost_Task", force=False)
    await lab.run(other, "MoveInto_Task", host=[host.ref, alone.hosts[0].ref])
    assert host.parent is other
    assert len(other.hosts) == 2


STORIES = [
    hosts_change_clusters,
    power_cycle,
    suspend,
    snapshots,
    reset,
    rename_everything,
    reconfigure,
    add_and_remove_nic,
    port_group_life,
    switch_life,
    destroy_vm,
    unregister,
    migrate,
    relocate,
    clone,
    create_vm,
    host_in_and_out,
    standalone_host,
    maintenance,
    connection,
    standby,
    template_and_back,
    destroy_cluster_with_hosts,
    destroy_datacenter_with_everything,
    crash_and_boot,
    agent_settings,
    tree,
    pools,
    guest_reports,
]


@pytest.mark.looptime
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_every_visible_change_is_in_the_journal(lab, story):
    before, seq = snapshot(lab.world), lab.world.seq
    await story(lab)
    assert untold(lab.world, before, seq) == []
    check_consistency(lab.world)


def check_consistency(world):
    """Both ends of every relation agree."""
    for entity in world.objects.values():
        for path in ("vm", "host", "datastore", "network", "childEntity", "portgroup", "resourcePool"):
            value = type(entity).properties[path](entity) if path in type(entity).properties else None
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Entity):
                    assert world.get(item.moid) is item, (entity.moid, path, item.moid)
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

    for vm in world.of_type(VirtualMachine):
        assert vm in vm.host.vms
        assert vm in vm.resource_pool.vms
        assert vm in vm.parent.children
        assert all(vm in item.vms for item in (*vm.networks, *vm.datastores))
        assert {nic.network.moid for nic in vm.nics} == {network.moid for network in vm.networks}


def conforms(value, declared, path, world):
    """Raise where a value could not travel as the declared type."""
    if isinstance(declared, type) and issubclass(declared, list):
        assert isinstance(value, list), path
        for item in value:
            conforms(item, declared.Item, path + "[]", world)
    elif declared is type:
        assert managed_class(value) is not managed_class("NoSuchType"), path
    elif isinstance(value, Entity):
        assert issubclass(managed_class(value.wsdl, value.namespace), declared), path
        assert world.get(value.moid) is value, f"{path} refers to {value.moid}, which is gone"
    elif hasattr(value, "_moId"):
        assert issubclass(type(value), declared), path
        assert value._moId in world.objects, f"{path} refers to {value._moId}, which is gone"
    elif hasattr(value, "_propInfo"):
        assert isinstance(value, declared), (path, type(value), declared)
        for info in value._GetPropertyList():
            part = getattr(value, info.name)
            if part is None or (isinstance(part, list) and not part):
                assert info.flags & 4, f"{path}.{info.name} must be set"
                continue
            conforms(part, info.type, f"{path}.{info.name}", world)
    elif issubclass(declared, str) and declared is not str and isinstance(value, str) and hasattr(declared, "values"):
        assert value in declared.values, (path, value)


@pytest.mark.looptime
async def test_every_property_conforms_to_the_declared_type(lab):
    await port_group_life(lab)
    await reconfigure(lab)
    for entity in list(lab.world.objects.values()):
        kind = managed_class(entity.wsdl, entity.namespace)
        for path, project in type(entity).properties.items():
            if not isinstance(entity, INVENTORY) or "." in path:
                continue
            value = project(entity)
            if value is not None:
                conforms(value, kind._GetPropertyInfo(path).type, f"{entity.moid}.{path}", lab.world)


@pytest.mark.looptime
async def test_a_property_path_reads_the_same_as_its_parent(lab):
    vm = lab.built.vms[0]
    for path in type(vm).properties:
        if "." in path:
            parent, _, last = path.rpartition(".")
            assert flat(vm.read(path)) == flat(getattr(vm.read(parent), last)), path
    assert vm.read("config.hardware.device[4000].macAddress") == vm.nics[0].mac
