"""Inventories that ``govc object.save`` wrote, one XML file per object, as objects of the simulator.

Understood: folders, datacenters, clusters and standalone compute resources, resource pools, hosts, datastores,
networks, distributed switches with their port groups and connected ports, and VMs with disks and cards. Ids stay,
except that the root folder gets ours. Relations are read at one end and set at both. Managers are this vCenter's own;
everything else is listed and left out, so that nobody takes a part for the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.govc_machines import read_disks, read_nics, vm_state
from contrail_vsphere.simulator.inventory_file import InventoryFileError
from contrail_vsphere.simulator.vcenter.build import ROOT_FOLDER
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource, ComputeResource
from contrail_vsphere.simulator.vcenter.create import give_managers
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
    Member,
)
from contrail_vsphere.simulator.vcenter.dvs_projection import default_policy, default_setting
from contrail_vsphere.simulator.vcenter.dvs_table import DvPort
from contrail_vsphere.simulator.vcenter.folder import (
    DATASTORE_TYPES,
    HOST_TYPES,
    NETWORK_TYPES,
    ROOT_TYPES,
    VM_TYPES,
    Folder,
)
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.resource_pool import DEFAULT_CPU, DEFAULT_MEMORY, ResourcePool
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.objects import ObjectDecoder
from contrail_vsphere.wire.soap.types import vim, wsdl_name

M = TypeVar("M", bound=ManagedEntity)

SWITCHES = ("VmwareDistributedVirtualSwitch", "DistributedVirtualSwitch")
_ORDER = (
    "Folder",
    "Datacenter",
    "ComputeResource",
    "ClusterComputeResource",
    "ResourcePool",
    "Datastore",
    "Network",
    *SWITCHES,
    "DistributedVirtualPortgroup",
    "HostSystem",
    "VirtualMachine",
)
"""Types that are understood; each after those it refers to."""


@dataclass(slots=True)
class Saved:
    """One object as it was saved: properties by their names."""

    type: str
    id: str
    properties: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a property path; the default where any part is missing."""
        first, *rest = path.split(".")
        value = self.properties.get(first)
        for name in rest:
            value = getattr(value, name, None)
        return default if value is None else value

    def ref(self, path: str) -> str:
        """Id of the object at a path; empty when there is none."""
        return getattr(self.get(path), "_moId", "")

    def refs(self, path: str) -> list[str]:
        """Ids of the objects at a path."""
        return [ref._moId for ref in self.get(path, [])]


def read_directory(directory: Path) -> list[Saved]:
    """All objects of a directory. Raises InventoryFileError for a file that is none, or for no file at all."""
    found = []
    for path in sorted(directory.glob("*.xml")):
        decoder = ObjectDecoder()
        try:
            decoder.feed(path.read_bytes())
            content = decoder.close()
        except ProtocolError as error:
            raise InventoryFileError(f"{path} cannot be read: {error.message}") from error
        kind = content.obj.__dict__.get("_unknown_type") or wsdl_name(type(content.obj))
        properties = {item.name: item.val for item in content.propSet}
        found.append(Saved(kind, content.obj._moId, properties))
    if not found:
        raise InventoryFileError(f"{directory} has no objects", hint="write some with: govc object.save -d DIR")
    return found


def load(world: World, directory: Path) -> tuple[str, ...]:
    """Put a saved directory into a world without inventory; returns what was left out, a line each."""
    return _Loader(world, read_directory(directory)).load()


class _Loader:
    def __init__(self, world: World, saved: list[Saved]) -> None:
        self.world = world
        self.saved = {item.id: item for item in saved}
        self.made: dict[str, ManagedEntity] = {}
        self.left_out: list[str] = []
        own = {entity.wsdl for entity in world.objects.values()} | {"Task"}
        unknown = Counter(item.type for item in saved if item.type not in _ORDER and item.type not in own)
        self.left_out += [f"{kind}: not understood ({count} objects)" for kind, count in sorted(unknown.items())]
        root = next((item.ref("content.rootFolder") for item in saved if item.type == "ServiceInstance"), "")
        self.root = root or next((s.id for s in saved if s.type == "Folder" and not s.ref("parent")), "")

    def load(self) -> tuple[str, ...]:
        for kind in _ORDER:
            for item in [item for item in self.saved.values() if item.type == kind]:
                self._make(item)
        self._relate()
        highest = max((int(number) for number in map(_number, self.made) if number), default=0)
        self.world.reserve_ids(highest + 1)
        with self.world.commit() as tx:
            for entity in self.made.values():
                if self.world.get(entity.moid) is None:
                    tx.add(entity)
                if isinstance(entity, HostSystem):
                    for manager in entity.managers:
                        tx.add(manager)
        return tuple(self.left_out)

    # -- objects ------------------------------------------------------------------------------------------------

    def _make(self, item: Saved) -> None:
        makers = {
            "Folder": self._folder,
            "Datacenter": self._datacenter,
            "ComputeResource": self._compute,
            "ClusterComputeResource": self._compute,
            "ResourcePool": self._pool,
            "Datastore": self._datastore,
            "Network": self._network,
            "DistributedVirtualPortgroup": self._group,
            "HostSystem": self._host,
            "VirtualMachine": self._vm,
            **dict.fromkeys(SWITCHES, self._switch),
        }
        try:
            entity = makers[item.type](item)
        except LookupError as error:
            self.left_out.append(f"{item.type} {item.id}: {error.args[0]}")
            return
        entity.status = str(item.get("overallStatus", "green"))
        self.made[item.id] = entity

    def _the(self, kind: type[M], moid: str, what: str) -> M:
        found = next(iter(self._known(kind, [moid])), None)
        if found is None:
            raise LookupError(f"its {what} {moid or '(none)'} is not in the directory")
        return found

    def _common(self, item: Saved) -> dict[str, Any]:
        return {"world": self.world, "moid": item.id, "name": str(item.get("name", item.id))}

    def _folder(self, item: Saved) -> Folder:
        if item.id == self.root:
            root = self.world.objects[ROOT_FOLDER]
            assert isinstance(root, Folder)  # noqa: S101 - every prepared world has it
            return root
        held = {kind if isinstance(kind, str) else wsdl_name(kind) for kind in item.get("childType", [])}
        kinds = {"VirtualMachine": VM_TYPES, "ComputeResource": HOST_TYPES, "Datastore": DATASTORE_TYPES}
        kinds |= {"Network": NETWORK_TYPES, "Datacenter": ROOT_TYPES}
        types = next((types for kind, types in kinds.items() if kind in held), None)
        if types is None:
            raise LookupError(f"a folder of {', '.join(sorted(held)) or 'nothing'}")
        return Folder(**self._common(item), child_type=types)

    def _datacenter(self, item: Saved) -> Datacenter:
        def folder(part: str) -> Folder:
            return self._the(Folder, item.ref(f"{part}Folder"), f"{part} folder")

        return Datacenter(
            **self._common(item),
            vm_folder=folder("vm"),
            host_folder=folder("host"),
            network_folder=folder("network"),
            datastore_folder=folder("datastore"),
        )

    def _compute(self, item: Saved) -> ComputeResource:
        if item.type == "ComputeResource":
            return ComputeResource(**self._common(item))
        config = "configurationEx" if item.get("configurationEx") is not None else "configuration"
        return ClusterComputeResource(
            **self._common(item),
            drs=bool(item.get(f"{config}.drsConfig.enabled", False)),
            ha=bool(item.get(f"{config}.dasConfig.enabled", False)),
        )

    def _pool(self, item: Saved) -> ResourcePool:
        return ResourcePool(
            **self._common(item),
            owner=self._the(ComputeResource, item.ref("owner"), "owner"),
            cpu=DEFAULT_CPU.patched(item.get("config.cpuAllocation")),
            memory=DEFAULT_MEMORY.patched(item.get("config.memoryAllocation")),
        )

    def _datastore(self, item: Saved) -> Datastore:
        return Datastore(
            **self._common(item),
            capacity=int(item.get("summary.capacity", 0)),
            free=int(item.get("summary.freeSpace", 0)),
            kind=str(item.get("summary.type", "VMFS")),
            accessible=bool(item.get("summary.accessible", True)),
        )

    def _network(self, item: Saved) -> Network:
        return Network(**self._common(item))

    def _switch(self, item: Saved) -> DistributedVirtualSwitch:
        uplinks = tuple(item.get("config.uplinkPortPolicy.uplinkPortName", ())) or ("Uplink 1", "Uplink 2")
        setting = item.get("config.defaultPortConfig")
        return DistributedVirtualSwitch(
            **self._common(item),
            uuid=str(item.get("uuid", "")),
            created=item.get("config.createTime", self.world.clock.now()),
            uplink_names=uplinks,
            setting=setting if isinstance(setting, _SETTING) else default_setting(uplinks),
            version=str(item.get("config.productInfo.version", item.get("summary.productInfo.version", "8.0.3"))),
            description=str(item.get("config.description", "")),
            max_mtu=int(item.get("config.maxMtu", 1500)),
            config_version=int(item.get("config.configVersion", "1") or 1),
        )

    def _group(self, item: Saved) -> DistributedVirtualPortgroup:
        dvs = self._the(DistributedVirtualSwitch, item.ref("config.distributedVirtualSwitch"), "switch")
        setting = item.get("config.defaultPortConfig")
        policy = item.get("config.policy")
        group = DistributedVirtualPortgroup(
            **self._common(item),
            dvs=dvs,
            kind=str(item.get("config.type", "earlyBinding")),
            auto_expand=bool(item.get("config.autoExpand", True)),
            uplink=bool(item.get("config.uplink", False)) or item.id in self._uplinks(dvs),
            description=str(item.get("config.description", "")),
            config_version=int(item.get("config.configVersion", "0") or 0),
            setting=setting if isinstance(setting, _SETTING) else dvs.setting,
            policy=policy if isinstance(policy, _POLICY) else default_policy(),
            base_ports=int(item.get("config.numPorts", 0)),
            created=dvs.created,
        )
        dvs.portgroups = (*dvs.portgroups, group)
        return group

    def _uplinks(self, dvs: DistributedVirtualSwitch) -> list[str]:
        return self.saved[dvs.moid].refs("config.uplinkPortgroup")

    def _host(self, item: Saved) -> HostSystem:
        product = "config.product" if item.get("config.product") is not None else "summary.config.product"
        host = HostSystem(
            **self._common(item),
            uuid=str(item.get("hardware.systemInfo.uuid", item.get("summary.hardware.uuid", ""))),
            connection_state=str(item.get("runtime.connectionState", "connected")),
            power_state=str(item.get("runtime.powerState", "poweredOn")),
            in_maintenance=bool(item.get("runtime.inMaintenanceMode", False)),
            version=str(item.get(f"{product}.version", "8.0.3")),
            build=str(item.get(f"{product}.build", "0")),
            product_line=str(item.get(f"{product}.productLineId", "embeddedEsx")),
            boot_time=item.get("runtime.bootTime"),
            cpu_mhz=int(item.get("summary.hardware.cpuMhz", 2600)),
            cpu_cores=int(item.get("summary.hardware.numCpuCores", 32)),
            memory_mb=int(item.get("summary.hardware.memorySize", 262144 << 20)) >> 20,
            datastores=tuple(self._known(Datastore, item.refs("datastore"))),
            networks=tuple(self._known(Network, item.refs("network"))),
        )
        self._the(ComputeResource, item.ref("parent"), "parent")
        give_managers(host)
        return host

    def _vm(self, item: Saved) -> VirtualMachine:
        groups = {group.moid: group for group in self.made.values() if isinstance(group, DistributedVirtualPortgroup)}
        networks = {moid: entity for moid, entity in self.made.items() if isinstance(entity, Network)}
        datastores = {entity.name: entity for entity in self.made.values() if isinstance(entity, Datastore)}
        disks, nics, other = read_disks(item.get, datastores), *read_nics(item.get, networks, groups)
        self.left_out += [f"VirtualMachine {item.id}: {line}" for line in other]
        return VirtualMachine(
            **self._common(item),
            **vm_state(item.get),
            host=self._the(HostSystem, item.ref("runtime.host"), "host"),
            resource_pool=next(iter(self._known(ResourcePool, [item.ref("resourcePool")])), None),
            datastores=tuple(self._known(Datastore, item.refs("datastore"))),
            disks=disks,
            nics=nics,
        )

    def _known(self, kind: type[M], moids: Iterable[str]) -> list[M]:
        return [found for found in map(self.made.get, moids) if isinstance(found, kind)]

    # -- relations ----------------------------------------------------------------------------------------------

    def _relate(self) -> None:
        """Set both ends; an object whose place in the tree is unknown leaves again, with all below it."""
        self._drop_lost()
        for moid, entity in self.made.items():
            entity.parent = self._parent(moid)
        for parent in self.made.values():
            children = self._children(parent)
            if isinstance(parent, Folder):
                parent.children = tuple(children)
            elif isinstance(parent, ResourcePool):
                parent.children = tuple(child for child in children if isinstance(child, ResourcePool))
            elif isinstance(parent, ComputeResource):
                parent.hosts = tuple(child for child in children if isinstance(child, HostSystem))
                parent.root_pool = next((child for child in children if isinstance(child, ResourcePool)), None)
        vms = [entity for entity in self.made.values() if isinstance(entity, VirtualMachine)]
        for vm in vms:
            _add(vm.host, "vms", vm)
            _add(vm.resource_pool, "vms", vm)
            vm.networks = tuple({nic.network.moid: nic.network for nic in vm.nics if nic.network is not None}.values())
            for shared in (*vm.datastores, *vm.networks):
                _add(shared, "vms", vm)
        for host in [entity for entity in self.made.values() if isinstance(entity, HostSystem)]:
            for offered in (*host.datastores, *host.networks):
                _add(offered, "hosts", host)
        for dvs in [entity for entity in self.made.values() if isinstance(entity, DistributedVirtualSwitch)]:
            members = [member.config.host._moId for member in self.saved[dvs.moid].get("config.host", [])]
            dvs.hosts = tuple(self._known(HostSystem, members))
            dvs.members = {host.moid: Member() for host in dvs.hosts}
            self._ports(dvs, vms)

    def _parent(self, moid: str) -> Any:
        if moid == self.root:
            return None
        item = self.saved[moid]
        folder_of = {folder.moid: dc for dc in self.made.values() if isinstance(dc, Datacenter) for folder in _own(dc)}
        return folder_of.get(moid) or self.made.get(item.ref("parent"))

    def _drop_lost(self) -> None:
        lost = True
        while lost:
            lost = False
            for moid in [moid for moid in self.made if moid != self.root and self._parent(moid) is None]:
                self.left_out.append(f"{self.saved[moid].type} {moid}: its parent is not in the directory")
                del self.made[moid]
                lost = True

    def _children(self, parent: ManagedEntity) -> list[ManagedEntity]:
        """In the order the parent lists them."""
        found = {child.moid: child for child in self.made.values() if child.parent is parent}
        source = self.root if parent.moid == ROOT_FOLDER else parent.moid
        listed = [moid for path in ("childEntity", "resourcePool", "host") for moid in self._listed(source, path)]
        rank = {moid: number for number, moid in enumerate(listed)}
        return sorted(found.values(), key=lambda child: rank.get(child.moid, len(rank)))

    def _listed(self, moid: str, path: str) -> list[str]:
        value = self.saved[moid].get(path, []) if moid in self.saved else []
        refs = value if isinstance(value, list) else [value]
        return [ref._moId for ref in refs if hasattr(ref, "_moId")]  # a datastore's hosts are mounts

    def _ports(self, dvs: DistributedVirtualSwitch, vms: list[VirtualMachine]) -> None:
        """The groups' ports, and who is connected to them."""
        now = self.world.clock.now()
        connected = {
            nic.port_key: (vm, nic)
            for vm in vms
            for nic in vm.nics
            if nic.port_key and isinstance(nic.network, DistributedVirtualPortgroup) and nic.network.dvs is dvs
        }
        for group in dvs.portgroups:
            keys = [str(key) for key in self.saved[group.moid].get("portKeys", [])]
            keys += [key for key, (_, nic) in connected.items() if nic.network is group and key not in keys]
            for key in keys:
                if dvs.ports.get(key) is not None:
                    self.left_out.append(f"{dvs.wsdl} {dvs.moid}: port {key} is in two port groups")
                    continue
                vm, nic = connected.get(key, (None, None))
                taken: Mapping[str, Any] = {}
                if vm is not None and nic is not None and nic.network is group:
                    taken = {"vm": vm, "nic_key": nic.key, "cookie": nic.connection_cookie, "proxy_host": vm.host}
                dvs.ports.restore(DvPort(key=key, group=group, changed=now, **taken))
        dvs.next_port = max((int(key) for key in dvs.ports.ports if key.isdigit()), default=-1) + 1


_SETTING = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy
_POLICY = vim.dvs.VmwareDistributedVirtualSwitch.VMwarePortgroupPolicy


def _own(datacenter: Datacenter) -> tuple[Folder, ...]:
    return (datacenter.vm_folder, datacenter.host_folder, datacenter.network_folder, datacenter.datastore_folder)


def _add(owner: Any, name: str, item: ManagedEntity) -> None:
    if owner is not None:
        setattr(owner, name, (*getattr(owner, name), item))


def _number(moid: str) -> str:
    tail = moid.rpartition("-")[2]
    return tail if tail.isdigit() else "".join(letter for letter in tail if letter.isdigit())
