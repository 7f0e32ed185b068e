"""Datastore browsers: which files lie on a datastore. What the VMs say is there, and those that were unregistered."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi.VmomiSupport import GetVmodlType

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
    from contrail_vsphere.simulator.vcenter.vm_register import Filed

ALL_RESULTS: Any = GetVmodlType("vim.host.DatastoreBrowser.SearchResults[]")
"""A task's result is of any type, so that an array must say what it is."""
VMX_SIZE = 3072
"""Bytes of a configuration file; nobody reads it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file; ``folder`` is relative to the datastore's root, without slashes at its ends."""

    folder: str
    name: str
    size: int
    kind: Any = vim.host.DatastoreBrowser.FileInfo

    @property
    def path(self) -> str:
        """Relative to the datastore's root."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    def info(self) -> Any:
        """FileInfo or the subclass that says what it is."""
        return data_object(self.kind, path=self.name, fileSize=self.size)


def files(datastore: Datastore) -> Iterator[File]:
    """Every file on it."""
    machines: list[VirtualMachine | Filed] = [*datastore.vms, *datastore.unregistered.values()]
    for vm in machines:
        yield from _files_of(datastore, vm)
    for path, content in datastore.loose.items():
        folder, _, name = path.rpartition("/")
        kind = vim.host.DatastoreBrowser.FolderInfo if content is None else vim.host.DatastoreBrowser.FileInfo
        yield File(folder, name, len(content or b""), kind)


def _files_of(datastore: Datastore, vm: VirtualMachine | Filed) -> Iterator[File]:
    browser = vim.host.DatastoreBrowser
    name, folder, file = split(vm.vmx)
    if name == datastore.name:
        yield File(folder, file, VMX_SIZE, browser.VmConfigInfo)
    for disk in vm.disks:
        if disk.datastore is datastore:
            _, folder, file = split(disk.file)
            yield File(folder, file, disk.used, browser.VmDiskInfo)


def split(path: str) -> tuple[str, str, str]:
    """``[ds] a/b.vmx`` -> ``ds``, ``a``, ``b.vmx``."""
    name, _, rest = path.removeprefix("[").partition("]")
    folder, _, file = rest.strip().rpartition("/")
    return name, folder.strip("/"), file


@dataclass(slots=True, eq=False, kw_only=True)
class DatastoreBrowser(Entity):
    """The browser of one datastore."""

    wsdl: ClassVar[str] = "HostDatastoreBrowser"
    prefix: ClassVar[str] = "datastoreBrowser-"

    of: Datastore

    @managed_property("datastore")
    def _datastore(self) -> list[Any]:
        return [self.of]

    @managed_property("supportedType")
    def _supported_type(self) -> list[Any]:
        browser = vim.host.DatastoreBrowser
        return [data_object(browser.VmConfigQuery), data_object(browser.VmDiskQuery), data_object(browser.FolderQuery)]

    @operation("SearchDatastore_Task", privilege="Datastore.Browse", note="No sizes and times of folders.")
    def SearchDatastore_Task(self, call: Call, datastorePath: str, searchSpec: Any = None) -> Any:
        """One folder; FileNotFound when it is not there."""
        return self._search(call, datastorePath, searchSpec, deep=False)

    @operation("SearchDatastoreSubFolders_Task", privilege="Datastore.Browse")
    def SearchDatastoreSubFolders_Task(self, call: Call, datastorePath: str, searchSpec: Any = None) -> Any:
        """A folder and all below it."""
        return self._search(call, datastorePath, searchSpec, deep=True)

    def _search(self, call: Call, path: str, spec: Any, *, deep: bool) -> Any:
        from contrail_vsphere.simulator.vcenter.task import TaskManager

        name, folder, last = split(path)
        wanted = f"{folder}/{last}".strip("/")
        if name != self.of.name:
            raise fault(vim.fault.InvalidDatastorePath, f"'{path}' is not on '{self.of.name}'.", datastorePath=path)

        async def work(_handle: Any) -> Any:
            found = self._folders(wanted, spec, deep=deep)
            if not found:
                raise fault(vim.fault.FileNotFound, f"File {path} was not found", file=path)
            return ALL_RESULTS(found) if deep else found[0]

        method = "searchSubFolders" if deep else "search"
        return self.world.service(TaskManager).start(self.of, f"{self.wsdl}.{method}", work, call=call)

    def _folders(self, wanted: str, spec: Any, *, deep: bool) -> list[Any]:
        here: dict[str, list[Any]] = {"": []} if not wanted else {}
        if self.of.loose.get(wanted, b"") is None:
            here[wanted] = []
        for file in files(self.of):
            if file.folder == wanted or (deep and (not wanted or file.folder.startswith(f"{wanted}/"))):
                shown = here.setdefault(file.folder, [])
                if _matches(file.name, spec):
                    shown.append(file.info())
            elif not wanted and file.folder:
                here[""].append(data_object(vim.host.DatastoreBrowser.FolderInfo, path=file.folder.partition("/")[0]))
        return [
            data_object(
                vim.host.DatastoreBrowser.SearchResults,
                datastore=self.of,
                folderPath=f"[{self.of.name}] {folder}/" if folder else f"[{self.of.name}]",
                file=list({item.path: item for item in shown}.values()),
            )
            for folder, shown in here.items()
        ]


def add_browser(tx: Transaction, datastore: Datastore) -> None:
    """Inside a commit: every datastore has a browser of its own."""
    browser = DatastoreBrowser(world=tx.world, moid=f"{DatastoreBrowser.prefix}{datastore.moid}", of=datastore)
    tx.set(datastore, browser=tx.add(browser))


def _matches(name: str, spec: Any) -> bool:
    patterns = list(spec.matchPattern or ()) if spec is not None else []
    if spec is not None and spec.searchCaseInsensitive:
        return not patterns or any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
