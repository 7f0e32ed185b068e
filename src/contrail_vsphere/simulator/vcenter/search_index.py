"""SearchIndex: finding hosts and virtual machines without walking the tree."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter import sight
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import vmodl

Wanted = Callable[[Any], bool]

CHILDREN = (
    "children",
    "vm_folder",
    "host_folder",
    "network_folder",
    "datastore_folder",
    "hosts",
    "root_pool",
    "vms",
    "portgroups",
)
"""Attributes that hold what an inventory path goes through; only objects whose parent is the holder count."""


def children(entity: ManagedEntity) -> Iterator[ManagedEntity]:
    """What is directly below an object in the inventory tree."""
    for name in CHILDREN:
        value = getattr(entity, name, None)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, ManagedEntity) and child.parent is entity:
                yield child


@dataclass(slots=True, eq=False, kw_only=True)
class SearchIndex(Entity):
    """Stateless: every answer is a scan over one type, as exact as the inventory itself."""

    wsdl: ClassVar[str] = "SearchIndex"

    @operation("FindByUuid")
    def find_by_uuid(
        self, call: Call, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None
    ) -> Entity | None:
        """A VM by BIOS or instance UUID, a host by its hardware's; of several, the oldest."""
        return next(self._by_uuid(call, datacenter, uuid, vms=vmSearch, instance=bool(instanceUuid)), None)

    @operation("FindAllByUuid")
    def find_all_by_uuid(
        self, call: Call, uuid: str, vmSearch: bool, datacenter: Any = None, instanceUuid: bool | None = None
    ) -> list[Entity]:
        return list(self._by_uuid(call, datacenter, uuid, vms=vmSearch, instance=bool(instanceUuid)))

    @operation("FindByDnsName")
    def find_by_dns_name(self, call: Call, dnsName: str, vmSearch: bool, datacenter: Any = None) -> Entity | None:
        """Hosts by their name, VMs by what their guest says."""
        return next(self._by_dns_name(call, datacenter, dnsName, vms=vmSearch), None)

    @operation("FindAllByDnsName")
    def find_all_by_dns_name(self, call: Call, dnsName: str, vmSearch: bool, datacenter: Any = None) -> list[Entity]:
        return list(self._by_dns_name(call, datacenter, dnsName, vms=vmSearch))

    @operation("FindByIp")
    def find_by_ip(self, call: Call, ip: str, vmSearch: bool, datacenter: Any = None) -> Entity | None:
        """Hosts by their management address, VMs by what their guest says."""
        return next(self._by_ip(call, datacenter, ip, vms=vmSearch), None)

    @operation("FindAllByIp")
    def find_all_by_ip(self, call: Call, ip: str, vmSearch: bool, datacenter: Any = None) -> list[Entity]:
        return list(self._by_ip(call, datacenter, ip, vms=vmSearch))

    @operation("FindByInventoryPath")
    def find_by_inventory_path(self, call: Call, inventoryPath: str) -> Entity | None:
        """``DC0/vm/folder/web-1``, with or without a slash in front; the root folder for an empty path."""
        from contrail_vsphere.simulator.vcenter.service_instance import ROOT_FOLDER

        at = self.world.get(ROOT_FOLDER)
        for name in inventoryPath.strip("/").split("/") if inventoryPath.strip("/") else ():
            if not isinstance(at, ManagedEntity):
                return None
            at = _child(at, name.replace("%2f", "/").replace("%2F", "/"))
        return at if at is not None and sight.sight(self.world, call.session)(at) else None

    @operation("FindByDatastorePath")
    def find_by_datastore_path(self, call: Call, datacenter: Any, path: str) -> Entity | None:
        """A VM by the path of its configuration file, ``[datastore] folder/name.vmx``."""
        return next(self._search(call, VirtualMachine, datacenter, lambda vm: vm.vmx == path), None)

    @operation("FindChild")
    def find_child(self, call: Call, entity: Any, name: str) -> Entity | None:
        """A direct child by its name."""
        child = _child(found(self, entity, ManagedEntity), name)
        return child if child is not None and sight.sight(self.world, call.session)(child) else None

    def _by_uuid(self, call: Call, datacenter: Any, uuid: str, *, vms: bool, instance: bool) -> Iterator[Entity]:
        wanted = uuid.lower()
        if not vms:
            if instance:
                raise fault(vmodl.fault.InvalidArgument, "Hosts have no instance UUID.", invalidProperty="instanceUuid")
            return self._search(call, HostSystem, datacenter, lambda host: host.uuid.lower() == wanted)
        name = "instance_uuid" if instance else "bios_uuid"
        return self._search(call, VirtualMachine, datacenter, lambda vm: getattr(vm, name).lower() == wanted)

    def _by_dns_name(self, call: Call, datacenter: Any, name: str, *, vms: bool) -> Iterator[Entity]:
        if vms:
            return self._search(call, VirtualMachine, datacenter, lambda vm: vm.guest_hostname.lower() == name.lower())
        return self._search(call, HostSystem, datacenter, lambda host: host.name.lower() == name.lower())

    def _by_ip(self, call: Call, datacenter: Any, address: str, *, vms: bool) -> Iterator[Entity]:
        try:
            wanted = str(ipaddress.ip_address(address))
        except ValueError:
            return iter(())
        name = "guest_ip" if vms else "address"
        kind: Any = VirtualMachine if vms else HostSystem
        return self._search(call, kind, datacenter, lambda entity: getattr(entity, name) == wanted)

    def _search(self, call: Call, kind: Any, datacenter: Any, wanted: Wanted) -> Iterator[Entity]:
        place = found(self, datacenter, Datacenter) if datacenter is not None else None
        sees = sight.sight(self.world, call.session)
        return (
            entity
            for entity in self.world.of_type(kind)
            if wanted(entity) and (place is None or entity.ancestor(Datacenter) is place) and sees(entity)
        )


def _child(entity: ManagedEntity, name: str) -> ManagedEntity | None:
    return next((child for child in children(entity) if child.name == name), None)
