"""Building an inventory of any size quickly: state only; what clients read of it is made when they read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from contrail_vsphere.simulator.core.world import Transaction, World
from contrail_vsphere.simulator.vcenter import dvs_members, dvs_ports, host_network
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.create import (
    LOCAL_CAPACITY,
    create_cluster,
    create_datacenter,
    give_managers,
    new_uuid,
)
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.datastore_browser import add_browser
from contrail_vsphere.simulator.vcenter.devices import FIRST_DISK_KEY, FIRST_NIC_KEY, DiskState, MacPool, NicState
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
from contrail_vsphere.simulator.vcenter.dvs_life import make_switch
from contrail_vsphere.simulator.vcenter.dvs_manager import DistributedVirtualSwitchManager
from contrail_vsphere.simulator.vcenter.folder import ROOT_TYPES, Folder
from contrail_vsphere.simulator.vcenter.host_life import MaintenanceHooks
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.vcenter.vm_projection import tenant_address

SHARED_CAPACITY = 4 * 1024**5
ROOT_FOLDER = "group-d1"


@dataclass(slots=True)
class Inventory:
    """What was built; tests and scenarios find their objects here. Later changes are not followed."""

    root: Folder
    datacenter: Datacenter
    shared: Datastore
    """``nfs-shared``, mounted on every host."""
    vm_network: Network
    management: Network
    """``mgmt``."""
    dvs: DistributedVirtualSwitch
    """``dvs0``, every host a member, no port group yet but the uplinks."""
    clusters: list[ClusterComputeResource] = field(default_factory=list)
    hosts: list[HostSystem] = field(default_factory=list)
    vms: list[VirtualMachine] = field(default_factory=list)


def root_folder(world: World) -> Folder:
    """The world's root folder, made when there is none."""
    known = world.get(ROOT_FOLDER)
    if isinstance(known, Folder):
        return known
    folder = Folder(world=world, moid=ROOT_FOLDER, name="Datacenters", child_type=ROOT_TYPES)
    with world.commit() as tx:
        tx.add(folder)
    return folder


def prepare(world: World) -> None:
    """What an inventory needs of its world, whoever builds it."""
    world.services.setdefault(MacPool, MacPool())
    MaintenanceHooks.of(world)
    Background.of(world)
    dvs_ports.install(world)
    host_network.install(world)
    root_folder(world)
    if world.get(DistributedVirtualSwitchManager.singleton) is None:
        with world.commit() as tx:
            tx.add(DistributedVirtualSwitchManager(world=world, moid=DistributedVirtualSwitchManager.singleton))


def build_inventory(
    world: World,
    *,
    hosts: int = 4,
    clusters: int = 1,
    vms: int = 0,
    vm_nics: int = 1,
    vms_on: bool = True,
    drs: bool = True,
    ha: bool = True,
) -> Inventory:
    """Datacenter DC0, clusters C0.., hosts esx-00.. spread over them, and VMs vm-0000.. spread over the hosts.

    Every host has a datastore of its own (``esx-00-local``) and mounts ``nfs-shared``; the VMs are on the latter and on
    "VM Network", so that they can move. Networks: "VM Network" and "mgmt" (standard), ``dvs0`` with its uplinks.
    """
    prepare(world)
    root = root_folder(world)
    with world.commit() as tx:
        datacenter = create_datacenter(tx, root, "DC0")
        networks = datacenter.network_folder
        vm_network, management = (
            Network(world=world, moid=world.new_id(Network.prefix), name=name, parent=networks)
            for name in ("VM Network", "mgmt")
        )
        for network in (vm_network, management):
            networks.adopt(tx, network)
        shared = Datastore(
            world=world,
            moid=world.new_id(Datastore.prefix),
            name="nfs-shared",
            parent=datacenter.datastore_folder,
            capacity=SHARED_CAPACITY,
            free=SHARED_CAPACITY,
            kind="NFS",
        )
        datacenter.datastore_folder.adopt(tx, shared)
        add_browser(tx, shared)
        dvs = make_switch(tx, networks, "dvs0")
        built = Inventory(root, datacenter, shared, vm_network, management, dvs)
        for number in range(clusters):
            cluster = create_cluster(tx, datacenter.host_folder, f"C{number}", drs=drs, ha=ha)
            built.clusters.append(cluster)
        _add_hosts(tx, built, hosts)
        _add_vms(tx, built, vms, nics=vm_nics, on=vms_on)
    return built


def _add_hosts(tx: Transaction, built: Inventory, count: int) -> None:
    """All hosts at once: relations are written at the end, once per object instead of once per host."""
    world, width = tx.world, max(2, len(str(count - 1)))
    locals_: list[Datastore] = []
    everywhere = (built.vm_network, built.management, *built.dvs.portgroups)
    members: dict[str, list[HostSystem]] = {cluster.moid: [] for cluster in built.clusters}
    now = world.clock.now()
    for number in range(count):
        cluster = built.clusters[number % len(built.clusters)]
        name = f"esx-{number:0{width}}"
        local = Datastore(
            world=world,
            moid=world.new_id(Datastore.prefix),
            name=f"{name}-local",
            parent=built.datacenter.datastore_folder,
            capacity=LOCAL_CAPACITY,
            free=LOCAL_CAPACITY,
        )
        host = HostSystem(
            world=world,
            moid=world.new_id(HostSystem.prefix),
            name=name,
            parent=cluster,
            uuid=new_uuid(world),
            address=f"10.{number >> 14 & 0x3F}.{number >> 7 & 0x7F}.{(number & 0x7F) + 1}",
            boot_time=now,
            datastores=(local, built.shared),
            networks=everywhere,
        )
        local.hosts = (host,)
        for entity in (local, host, *give_managers(host)):
            tx.add(entity)
        add_browser(tx, local)
        locals_.append(local)
        members[cluster.moid].append(host)
        built.hosts.append(host)
    for cluster in built.clusters:
        tx.set(cluster, hosts=tuple(members[cluster.moid]))
    folder = built.datacenter.datastore_folder
    tx.set(folder, children=(*folder.children, *locals_))
    for network in everywhere:
        tx.set(network, hosts=tuple(built.hosts))
    tx.set(built.shared, hosts=tuple(built.hosts))
    tx.set(built.dvs, hosts=tuple(built.hosts))
    dvs_members.all_joined(tx, built.dvs)


def _add_vms(tx: Transaction, built: Inventory, count: int, *, nics: int, on: bool) -> None:
    if not count or not built.hosts:
        return
    width = max(4, len(str(count - 1)))
    by_host: list[list[VirtualMachine]] = [[] for _ in built.hosts]
    by_pool: dict[str, list[VirtualMachine]] = {}
    for number, vm in enumerate(_vms(built, count, width, nics=nics, on=on)):
        tx.add(vm)
        by_host[number % len(built.hosts)].append(vm)
        if vm.resource_pool is not None:
            by_pool.setdefault(vm.resource_pool.moid, []).append(vm)
        built.vms.append(vm)
    for host, vms in zip(built.hosts, by_host, strict=True):
        tx.set(host, vms=tuple(vms))
    for cluster in built.clusters:
        pool = cluster.root_pool
        assert isinstance(pool, ResourcePool)  # noqa: S101 - create_cluster made it
        tx.set(pool, vms=tuple(by_pool.get(pool.moid, ())))
    everything = tuple(built.vms)
    tx.set(built.datacenter.vm_folder, children=(*built.datacenter.vm_folder.children, *everything))
    tx.set(built.shared, vms=everything)
    if nics:
        tx.set(built.vm_network, vms=everything)


def _vms(built: Inventory, count: int, width: int, *, nics: int, on: bool) -> Iterator[VirtualMachine]:
    world = built.root.world
    macs = world.service(MacPool)
    now = world.clock.now()
    datastores, networks = (built.shared,), (built.vm_network,) if nics else ()
    for number in range(count):
        host = built.hosts[number % len(built.hosts)]
        name = f"vm-{number:0{width}}"
        folder = f"[nfs-shared] {name}/"
        disk = DiskState(key=FIRST_DISK_KEY, capacity=16 * 1024**3, datastore=built.shared, file=f"{folder}{name}.vmdk")
        cards = tuple(
            NicState(key=FIRST_NIC_KEY + i, mac=macs.assign(), network=built.vm_network, unit=7 + i, connected=on)
            for i in range(nics)
        )
        moid = world.new_id(VirtualMachine.prefix)
        yield VirtualMachine(
            world=world,
            moid=moid,
            name=name,
            parent=built.datacenter.vm_folder,
            host=host,
            resource_pool=host.compute_resource.root_pool,
            datastores=datastores,
            networks=networks,
            directory=folder,
            instance_uuid=new_uuid(world),
            bios_uuid=new_uuid(world),
            power_state="poweredOn" if on else "poweredOff",
            boot_time=now if on else None,
            modified=now,
            disks=(disk,),
            nics=cards,
            tools_running=on,
            heartbeat="green" if on else "gray",
            guest_ip=tenant_address(moid) if on and nics else "",
        )
