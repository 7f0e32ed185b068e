"""Making the objects a data centre consists of, inside a commit, as the API and the inventory builder do."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource, ComputeResource
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.datastore_browser import add_browser
from contrail_vsphere.simulator.vcenter.esx_agent_host_manager import EsxAgentHostManager
from contrail_vsphere.simulator.vcenter.folder import (
    DATASTORE_TYPES,
    HOST_TYPES,
    NETWORK_TYPES,
    VM_TYPES,
    Folder,
)
from contrail_vsphere.simulator.vcenter.host_option_manager import HostOptionManager
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import without
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contrail_vsphere.simulator.core.entity import Entity
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.network import Network

LOCAL_CAPACITY = 2 * 1024**4
"""Bytes of a host's own datastore."""


def new_uuid(world: World) -> str:
    """Random, from the world's own seed."""
    return str(uuid.UUID(int=world.random.getrandbits(128), version=4))


def create_datacenter(tx: Transaction, parent: Folder, name: str) -> Datacenter:
    """A datacenter with its four folders. Posts DatacenterCreatedEvent."""
    world = tx.world
    kinds = {"vm": VM_TYPES, "host": HOST_TYPES, "network": NETWORK_TYPES, "datastore": DATASTORE_TYPES}
    folders = {kind: Folder.make(world, kind, None, types) for kind, types in kinds.items()}
    datacenter = Datacenter(
        world=world,
        moid=world.new_id(Datacenter.prefix),
        name=name,
        parent=parent,
        vm_folder=folders["vm"],
        host_folder=folders["host"],
        network_folder=folders["network"],
        datastore_folder=folders["datastore"],
    )
    for folder in folders.values():
        folder.parent = datacenter
        tx.add(folder)
    parent.adopt(tx, datacenter)
    tx.event(inventory_event(vim.event.DatacenterCreatedEvent, datacenter, parent=parent))
    return datacenter


def _root_pool(tx: Transaction, owner: ComputeResource) -> None:
    pool = ResourcePool(
        world=tx.world, moid=tx.world.new_id(ResourcePool.prefix), name="Resources", parent=owner, owner=owner
    )
    tx.add(pool)
    tx.set(owner, root_pool=pool)


def create_cluster(
    tx: Transaction, parent: Folder, name: str, *, drs: bool = True, ha: bool = True
) -> ClusterComputeResource:
    """A cluster with its root pool. Posts ClusterCreatedEvent."""
    cluster = ClusterComputeResource(
        world=tx.world, moid=tx.world.new_id(ClusterComputeResource.prefix), name=name, parent=parent, drs=drs, ha=ha
    )
    parent.adopt(tx, cluster)
    _root_pool(tx, cluster)
    tx.event(inventory_event(vim.event.ClusterCreatedEvent, cluster, parent=parent))
    return cluster


def make_standalone(tx: Transaction, parent: Folder, name: str) -> ComputeResource:
    """The compute resource around a standalone host."""
    compute = ComputeResource(world=tx.world, moid=tx.world.new_id(ComputeResource.prefix), name=name, parent=parent)
    parent.adopt(tx, compute)
    _root_pool(tx, compute)
    return compute


def make_datastore(
    tx: Transaction, folder: Folder, name: str, *, capacity: int, kind: str, hosts: Iterable[HostSystem] = ()
) -> Datastore:
    """A datastore, mounted on these hosts."""
    datastore = Datastore(
        world=tx.world,
        moid=tx.world.new_id(Datastore.prefix),
        name=name,
        parent=folder,
        capacity=capacity,
        free=capacity,
        kind=kind,
    )
    folder.adopt(tx, datastore)
    add_browser(tx, datastore)
    for host in hosts:
        mount(tx, host, datastore)
    return datastore


def mount(tx: Transaction, host: HostSystem, *datastores: Datastore) -> None:
    """The host sees these datastores from now on."""
    for datastore in datastores:
        tx.set(datastore, hosts=(*datastore.hosts, host))
    tx.set(host, datastores=(*host.datastores, *datastores))
    tx.touch(host.compute_resource, "datastore")


def join_network(tx: Transaction, host: HostSystem, network: Network) -> None:
    """The host offers this network to VMs from now on."""
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup

    if network in host.networks:
        return
    tx.set(network, hosts=(*network.hosts, host))
    tx.set(host, networks=(*host.networks, network))
    tx.touch(host.compute_resource, "network")
    if isinstance(network, DistributedVirtualPortgroup) and host not in network.dvs.hosts:
        from contrail_vsphere.simulator.vcenter import dvs_members

        tx.set(network.dvs, hosts=(*network.dvs.hosts, host))
        tx.event(inventory_event(vim.event.DvsHostJoinedEvent, network.dvs, hostJoined=host))
        dvs_members.joined(tx, network.dvs, host)


def leave_network(tx: Transaction, host: HostSystem, network: Network) -> None:
    """The host does not offer this network any more."""
    tx.set(network, hosts=without(network.hosts, host))
    tx.set(host, networks=without(host.networks, network))
    tx.touch(host.compute_resource, "network")


def give_managers(host: HostSystem) -> tuple[Entity, ...]:
    """The objects of a new host that are not in the inventory tree."""
    from contrail_vsphere.simulator.eam.host_image import HostImage
    from contrail_vsphere.simulator.vcenter.host_network_system import HostNetworkSystem

    world = host.world
    host.agent_manager = EsxAgentHostManager(world=world, moid=world.new_id(EsxAgentHostManager.prefix), host=host)
    host.network_system = HostNetworkSystem(world=world, moid=world.new_id(HostNetworkSystem.prefix), host=host)
    host.options = HostOptionManager(world=world, moid=world.new_id(HostOptionManager.prefix), host=host)
    host.image = HostImage.make(host)
    return host.managers


def make_host(
    tx: Transaction, compute: ComputeResource, *, name: str, peers: tuple[HostSystem, ...] = ()
) -> HostSystem:
    """A host with a datastore of its own; mounts and standard networks that all peers have, it has too."""
    world = tx.world
    number = sum(1 for _ in world.of_type(HostSystem))
    host = HostSystem(
        world=world,
        moid=world.new_id(HostSystem.prefix),
        name=name,
        parent=compute,
        uuid=new_uuid(world),
        address=f"10.{number >> 14 & 0x3F}.{number >> 7 & 0x7F}.{(number & 0x7F) + 1}",
        boot_time=world.clock.now(),
    )
    for entity in (host, *give_managers(host)):
        tx.add(entity)
    compute.set_hosts(tx, (*compute.hosts, host))
    datacenter = host.ancestor(Datacenter)
    if datacenter is not None:
        local = f"{name.split('.', maxsplit=1)[0]}-local"
        make_datastore(tx, datacenter.datastore_folder, local, capacity=LOCAL_CAPACITY, kind="VMFS", hosts=(host,))
    if peers:
        shared = [ds for ds in peers[0].datastores if len(ds.hosts) > 1 or ds.kind != "VMFS"]
        common = [ds for ds in shared if all(ds in peer.datastores for peer in peers)]
        mount(tx, host, *common)
        for network in peers[0].networks:
            if network.wsdl == "Network" and all(network in peer.networks for peer in peers):
                join_network(tx, host, network)
    return host
