"""Events about inventory objects, with the arguments vCenter fills in: where the object is and what it is called."""

from __future__ import annotations

from typing import Any

from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualSwitch
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vim

_ARGUMENTS: tuple[tuple[type[ManagedEntity], Any, str], ...] = (
    (VirtualMachine, vim.event.VmEventArgument, "vm"),
    (HostSystem, vim.event.HostEventArgument, "host"),
    (ComputeResource, vim.event.ComputeResourceEventArgument, "computeResource"),
    (Datacenter, vim.event.DatacenterEventArgument, "datacenter"),
    (Datastore, vim.event.DatastoreEventArgument, "datastore"),
    (DistributedVirtualSwitch, vim.event.DvsEventArgument, "dvs"),
    (Network, vim.event.NetworkEventArgument, "network"),
    (Folder, vim.event.FolderEventArgument, "folder"),
    (ResourcePool, vim.event.ResourcePoolEventArgument, "resourcePool"),
)


def argument(entity: ManagedEntity) -> Any:
    """The ``*EventArgument`` that names this object; it outlives the object."""
    for kind, cls, name in _ARGUMENTS:
        if isinstance(entity, kind):
            return data_object(cls, name=entity.name, **{name: entity})
    return data_object(vim.event.ManagedEntityEventArgument, name=entity.name, entity=entity)


def inventory_event(cls: Any, entity: ManagedEntity, /, **fields: Any) -> Any:
    """An event of type ``cls`` about ``entity``: its own argument, host, compute resource and datacenter filled in.

    ``fields`` come on top; fields that are entities there become event arguments.
    """
    known: dict[str, Any] = {"userName": "", "fullFormattedMessage": ""}
    host = entity.host if isinstance(entity, VirtualMachine) else entity if isinstance(entity, HostSystem) else None
    owner = host.parent if host is not None else entity
    if isinstance(entity, ResourcePool):
        owner = entity.owner
        known["resourcePool"] = argument(entity)
    if isinstance(entity, VirtualMachine):
        known.update(vm=argument(entity), template=entity.template)
    if host is not None:
        known["host"] = argument(host)
    if isinstance(owner, ComputeResource):
        known["computeResource"] = argument(owner)
    datacenter = entity if isinstance(entity, Datacenter) else entity.ancestor(Datacenter)
    if datacenter is not None:
        known["datacenter"] = argument(datacenter)
    if isinstance(entity, DistributedVirtualSwitch):
        known["dvs"] = argument(entity)
    elif isinstance(entity, Network):
        known["net"] = argument(entity)
    elif isinstance(entity, Datastore):
        known["ds"] = argument(entity)
    for name, value in fields.items():
        known[name] = argument(value) if isinstance(value, ManagedEntity) else value
    text = known.pop("fullFormattedMessage") or _message(cls, entity)
    known = {name: value for name, value in known.items() if name in _names(cls)}
    return data_object(cls, fullFormattedMessage=text, **known)


def _names(cls: Any) -> frozenset[str]:
    return frozenset(info.name for info in cls._GetPropertyList())


def _message(cls: Any, entity: ManagedEntity) -> str:
    """``VmPoweredOnEvent`` on web-1 -> ``Vm powered on: web-1``; vCenter's own texts come from its message catalogue."""
    name = cls.__name__.rsplit(".", 1)[-1].removesuffix("Event")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return f"{words.capitalize()}: {entity.name}"
