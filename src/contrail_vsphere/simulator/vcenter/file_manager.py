"""FileManager: folders and files that people keep on datastores beside the VMs (images, backups), and their contents.

Files of VMs are the VMs' own: they are listed, and may not be moved, copied or deleted here. Contents come and go over
``/folder/PATH?dsName=...`` and live in memory, so they are small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

from aiohttp import web

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.datastore_browser import File, files
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.session import Session
    from contrail_vsphere.simulator.core.world import World

LARGEST: Final = 16 << 20
"""Bytes of an uploaded file."""
PRIVILEGE: Final = "Datastore.FileManagement"


@dataclass(slots=True, eq=False, kw_only=True)
class FileManager(Entity):
    """One for all datastores; what it keeps is the datastores' ``loose``. Paths read ``[datastore] folder/file``."""

    wsdl: ClassVar[str] = "FileManager"

    @operation("MakeDirectory", privilege="System.View")
    def MakeDirectory(
        self, call: Call, name: str, datacenter: Any = None, createParentDirectories: bool | None = None
    ) -> None:
        """FileAlreadyExists, and FileNotFound for a parent that is not there and shall not be made."""
        store, path = self._place(call, name)
        if path in _names(store):
            raise fault(vim.fault.FileAlreadyExists, f"File {name} already exists", file=name)
        above = path.rpartition("/")[0]
        if above and not createParentDirectories and above not in _names(store):
            raise fault(vim.fault.FileNotFound, f"File [{store.name}] {above} was not found", file=name)
        with self.world.commit(call.user) as tx:
            tx.set(store, loose={**store.loose, **dict.fromkeys(_parents(path)), path: None})

    @operation("DeleteDatastoreFile_Task", privilege="System.View", note="Not files of VMs.")
    def DeleteDatastoreFile_Task(self, call: Call, name: str, datacenter: Any = None) -> Any:
        """A folder goes with all it has."""
        store, path = self._place(call, name)

        async def work(handle: Any) -> None:
            gone = self._under(store, path, name)
            with self.world.commit(handle.user, chain=handle.chain) as tx:
                tx.set(store, loose={key: value for key, value in store.loose.items() if key not in gone})

        return self._start(call, "deleteFile", work)

    @operation("CopyDatastoreFile_Task", privilege="System.View", note="Not files of VMs.")
    def CopyDatastoreFile_Task(self, call: Call, **where: Any) -> Any:
        return self._start(call, "copyFile", lambda handle: self._carry(call, handle, keep=True, **where))

    @operation("MoveDatastoreFile_Task", privilege="System.View", note="Not files of VMs.")
    def MoveDatastoreFile_Task(self, call: Call, **where: Any) -> Any:
        return self._start(call, "moveFile", lambda handle: self._carry(call, handle, keep=False, **where))

    async def _carry(
        self,
        call: Call,
        handle: Any,
        *,
        keep: bool,
        sourceName: str,
        destinationName: str,
        sourceDatacenter: Any = None,
        destinationDatacenter: Any = None,
        force: bool | None = None,
    ) -> None:
        source, old = self._place(call, sourceName)
        target, new = self._place(call, destinationName)
        taken = self._under(source, old, sourceName)
        if new in _names(target) and not force:
            raise fault(vim.fault.FileAlreadyExists, f"File {destinationName} already exists", file=destinationName)
        there = {f"{new}{path[len(old) :]}": content for path, content in taken.items()}
        with self.world.commit(handle.user, chain=handle.chain) as tx:
            if not keep:
                tx.set(source, loose={path: item for path, item in source.loose.items() if path not in taken})
            tx.set(target, loose={**target.loose, **there})

    def _start(self, call: Call, method: str, work: Any) -> Any:
        return self.world.service(TaskManager).start(self, f"FileManager.{method}", work, call=call)

    def _place(self, call: Call, name: str) -> tuple[Datastore, str]:
        """Datastore and path in it; the caller must manage files there."""
        label, _, path = name.removeprefix("[").partition("]")
        store = next((item for item in self.world.of_type(Datastore) if item.name == label), None)
        if not name.startswith("[") or store is None:
            raise fault(vim.fault.InvalidDatastorePath, f"Invalid datastore path '{name}'.", datastorePath=name)
        authorization.check(call, PRIVILEGE, store)
        return store, path.strip().strip("/")

    @staticmethod
    def _under(store: Datastore, path: str, name: str) -> Mapping[str, bytes | None]:
        """A file, or a folder with all in it."""
        inside = f"{path}/"
        if any(
            file.path == path or file.path.startswith(inside) for file in files(store) if file.path not in store.loose
        ):
            raise fault(vim.fault.FileLocked, f"Unable to access file {name} since it is locked", file=name)
        found = {key: value for key, value in store.loose.items() if key == path or key.startswith(inside)}
        if not found:
            raise fault(vim.fault.FileNotFound, f"File {name} was not found", file=name)
        return found


def _names(store: Datastore) -> set[str]:
    """Files and folders."""
    found = {file.path for file in files(store)} | set(store.loose)
    return found | {parent for path in found for parent in _parents(path)}


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: length + 1]) for length in range(len(parts))]


async def transfer(world: World, session: Session | None, request: web.Request, body: bytes) -> web.Response:
    """``GET``, ``HEAD`` or ``PUT`` of ``/folder/PATH?dsName=...`` by whoever has a session and may."""
    name, path = request.query.get("dsName", ""), unquote(request.match_info["path"]).strip("/")
    store = next((item for item in world.of_type(Datastore) if item.name == name), None)
    if session is None:
        return web.Response(status=401)
    if store is None or not path or (request.method != "PUT" and store.loose.get(path) is None):
        return web.Response(status=404)
    call = Call(world=world, session=session, user=session.user, version="")
    if not authorization.allowed(call, "Datastore.Browse" if request.method != "PUT" else PRIVILEGE, store):
        return web.Response(status=403)
    if request.method != "PUT":
        return web.Response(body=store.loose[path], content_type="application/octet-stream")
    if any(file.path == path for file in files(store) if file.path not in store.loose) or len(body) > LARGEST:
        return web.Response(status=403 if len(body) <= LARGEST else 413)
    with world.commit(session.user) as tx:
        tx.set(store, loose={**store.loose, **dict.fromkeys(_parents(path)), path: body})
    return web.Response(status=201)


__all__ = ["LARGEST", "File", "FileManager", "transfer"]
