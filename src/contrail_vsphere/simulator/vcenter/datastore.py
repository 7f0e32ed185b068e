"""Datastores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, without
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.datastore_browser import DatastoreBrowser
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
    from contrail_vsphere.simulator.vcenter.vm_register import Filed

LARGEST_FILE = 64 * 1024**4
"""Bytes; VMFS 6."""


@dataclass(slots=True, eq=False, kw_only=True)
class Datastore(ManagedEntity):
    """A datastore; sizes in bytes."""

    wsdl: ClassVar[str] = "Datastore"
    prefix: ClassVar[str] = "datastore-"
    argument_class: ClassVar[Any] = vim.event.DatastoreEventArgument
    argument_name: ClassVar[str] = "datastore"
    event_field: ClassVar[str] = "ds"
    rename_event: ClassVar[Any] = vim.event.DatastoreRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.name", "info.name"),
        "capacity": ("summary.capacity",),
        "free": ("summary.freeSpace", "info.freeSpace"),
        "accessible": ("summary.accessible", "host"),
        "hosts": ("host", "summary.multipleHostAccess"),
        "vms": ("vm",),
    }

    capacity: int
    free: int
    kind: str = "VMFS"
    accessible: bool = True
    hosts: tuple[HostSystem, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
    unregistered: Mapping[str, Filed] = field(default_factory=dict)
    """Path of the configuration file -> a VM that left the inventory and not the disk."""
    loose: Mapping[str, bytes | None] = field(default_factory=dict)
    """Path of a file that is no VM's -> its content; of a folder: None."""
    browser: DatastoreBrowser | None = None

    @property
    def url(self) -> str:
        """Stable address, whatever the datastore is called."""
        return f"ds:///vmfs/volumes/{self.moid}/"

    def siblings(self) -> Iterator[ManagedEntity]:
        """Datastores of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """VMs name their datastores in file paths and in ``config.datastoreUrl``."""
        old = self.name
        tx.set(self, name=name)
        tx.event(inventory_event(vim.event.DatastoreRenamedEvent, self, oldName=old, newName=name))
        for vm in self.vms:
            tx.touch(vm, "config.datastoreUrl")

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Forget the datastore; refused while a VM is on it."""
        if self.vms:
            message = f"The resource '{self.name}' is in use."
            raise fault(vim.fault.ResourceInUse, message, type=type(self.ref), name=self.name)
        with self.world.commit(user, chain=chain) as tx:
            self.leave(tx)

    def leave(self, tx: Transaction) -> None:
        """Inside a commit: take the datastore out of the inventory."""
        for host in self.hosts:
            tx.set(host, datastores=without(host.datastores, self))
        if isinstance(self.parent, Folder):
            self.parent.release(tx, self)
        if self.browser is not None:
            tx.remove(self.browser)
        tx.remove(self)

    @managed_property("summary")
    def _summary(self) -> Any:
        return data_object(
            vim.Datastore.Summary,
            datastore=self,
            name=self.name,
            url=self.url,
            capacity=self.capacity,
            freeSpace=self.free,
            uncommitted=0,
            accessible=self.accessible,
            multipleHostAccess=len(self.hosts) > 1,
            type=self.kind,
            maintenanceMode="normal",
        )

    @managed_property("info")
    def _info(self) -> Any:
        return data_object(
            vim.Datastore.Info,
            name=self.name,
            url=self.url,
            freeSpace=self.free,
            maxFileSize=LARGEST_FILE,
            maxMemoryFileSize=LARGEST_FILE,
            maxVirtualDiskCapacity=LARGEST_FILE,
        )

    @managed_property("capability")
    def _capability(self) -> Any:
        return data_object(
            vim.Datastore.Capability,
            directoryHierarchySupported=True,
            rawDiskMappingsSupported=self.kind == "VMFS",
            perFileThinProvisioningSupported=True,
            storageIORMSupported=False,
            nativeSnapshotSupported=False,
        )

    @managed_property("host")
    def _host(self) -> list[Any]:
        return [
            data_object(
                vim.Datastore.HostMount,
                key=host,
                mountInfo=data_object(
                    vim.host.MountInfo,
                    path=f"/vmfs/volumes/{self.moid}",
                    accessMode="readWrite",
                    mounted=True,
                    accessible=self.accessible,
                ),
            )
            for host in self.hosts
        ]

    @managed_property("vm")
    def _vm(self) -> list[Any]:
        return list(self.vms)

    @managed_property("browser")
    def _browser(self) -> Any:
        return self.browser

    @managed_property("iormConfiguration")
    def _iorm(self) -> Any:
        return None
