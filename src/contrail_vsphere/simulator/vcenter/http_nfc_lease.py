"""HttpNfcLease: how a client uploads the disks of a VM that ImportVApp made, over HTTP beside the API.

The states are those of the API: *initializing* until the VM is there, *ready* for the transfers, *done* after Complete,
*error* after Abort or when nobody renewed the lease in time; in error the VM goes again. What is uploaded is counted
and hashed, not kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.core.session import SessionObject, session_of
from contrail_vsphere.simulator.vcenter import vm_create, vm_life
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.vm_wiring import set_disks
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.folder import Folder
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

TIMEOUT = 300.0
"""Seconds after which a lease that nobody renews by reporting progress is aborted."""
SLACK = 16 << 20
"""Bytes that a file may be larger than the disk it is for."""


@dataclass(slots=True)
class Upload:
    """One disk's place in the lease. ``limit``: bytes that are accepted."""

    name: str
    key: str
    import_key: str
    limit: int
    size: int = 0
    sha1: str = ""
    sha256: str = ""
    complete: bool = False


class TooLargeError(ValueError):
    """More was sent than the disk can hold."""


class Leases:
    """The leases that are open for transfers, by the secret part of their URLs."""

    def __init__(self) -> None:
        self._open: dict[str, HttpNfcLease] = {}

    @classmethod
    def of(cls, world: World) -> Leases:
        """The world's own, made when it is first needed."""
        found: Leases = world.services.setdefault(cls, cls())
        return found

    def find(self, token: str, name: str) -> Upload | None:
        """The place for that file, while its lease is ready."""
        lease = self._open.get(token)
        return lease.uploads.get(name) if lease is not None and lease.state == "ready" else None

    def open(self, lease: HttpNfcLease) -> None:
        self._open[lease.token] = lease

    def close(self, lease: HttpNfcLease) -> None:
        self._open.pop(lease.token, None)


async def receive(upload: Upload, chunks: AsyncIterator[bytes]) -> None:
    """Take a file in; a second upload to the same place replaces the first. Raises TooLargeError."""
    size, sha1, sha256 = 0, hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    upload.complete = False
    async for chunk in chunks:
        size += len(chunk)
        if size > upload.limit:
            raise TooLargeError(upload.name)
        sha1.update(chunk)
        sha256.update(chunk)
    upload.size, upload.sha1, upload.sha256, upload.complete = size, sha1.hexdigest(), sha256.hexdigest(), True


@dataclass(slots=True, eq=False, kw_only=True)
class HttpNfcLease(SessionObject):
    """Lives in the session that imports; when the session ends before Complete, the import is undone."""

    wsdl: ClassVar[str] = "HttpNfcLease"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "state": ("state", "info"),
        "error": ("error",),
        "initialized": ("initializeProgress",),
        "transferred": ("transferProgress",),
    }

    base_url: str
    thumbprint: str
    user: str
    token: str = field(default_factory=lambda: str(uuid.uuid4()), repr=False)
    state: str = "initializing"
    """``initializing``, ``ready``, ``done`` or ``error``."""
    error: SoapFault | None = None
    initialized: int = 0
    transferred: int = 0
    vm: VirtualMachine | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @classmethod
    def begin(
        cls, call: Call, *, spec: Any, folder: Folder, pool: ResourcePool, host: HostSystem | None
    ) -> HttpNfcLease:
        """A lease whose VM is being made; it is ready, or in error, soon."""
        session = session_of(call)
        lease = cls(
            world=call.world,
            moid=session.new_id(""),
            session=session,
            base_url=f"https://{call.authority}/nfc",
            thumbprint=call.thumbprint,
            user=call.user,
        )
        session.add(lease)
        Background.of(call.world).run(lease._initialize(spec, folder, pool, host), f"import of {spec.name}")
        return lease

    async def _initialize(self, spec: Any, folder: Folder, pool: ResourcePool, host: HostSystem | None) -> None:
        try:
            vm = await vm_create.create(self.world, spec=spec, folder=folder, pool=pool, host=host, user=self.user)
        except SoapFault as error:
            self._fail(error)
            return
        if self.state != "initializing":  # aborted, or its session ended, meanwhile
            await vm_life.destroy(self.world, vm, user=self.user)
            return
        from contrail_vsphere.simulator.vcenter.ovf_manager import CONTROLLER, import_key

        for number, disk in enumerate(vm.disks):
            name = f"disk-{number}.vmdk"
            key = f"/{vm.moid}/{CONTROLLER}:{disk.unit}"
            self.uploads[name] = Upload(name, key, import_key(spec.name, disk.unit), disk.capacity + SLACK)
        Leases.of(self.world).open(self)
        with self.world.commit(self.user) as tx:
            tx.set(self, vm=vm, initialized=100, state="ready")
        self._renew()

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("state")
    def _state(self) -> str:
        return self.state

    @managed_property("error")
    def _error(self) -> Any:
        return self.error

    @managed_property("initializeProgress")
    def _initialize_progress(self) -> int:
        return self.initialized

    @managed_property("transferProgress")
    def _transfer_progress(self) -> int:
        return self.transferred

    @managed_property("mode")
    def _mode(self) -> str:
        return "pushOrGet"

    @managed_property("capabilities")
    def _capabilities(self) -> Any:
        return data_object(vim.HttpNfcLease.Capabilities, pullModeSupported=False, corsSupported=False)

    @managed_property("info")
    def _info(self) -> Any:
        if self.vm is None or self.state not in ("ready", "done"):
            return None
        urls = [
            data_object(
                vim.HttpNfcLease.DeviceUrl,
                key=upload.key,
                importKey=upload.import_key,
                url=f"{self.base_url}/{self.token}/{upload.name}",
                sslThumbprint=self.thumbprint,
                disk=True,
                targetId=upload.name,
            )
            for upload in self.uploads.values()
        ]
        return data_object(
            vim.HttpNfcLease.Info,
            lease=self.ref,
            entity=self.vm,
            deviceUrl=urls,
            totalDiskCapacityInKB=sum(disk.capacity for disk in self.vm.disks) // 1024,
            leaseTimeout=int(TIMEOUT),
        )

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("HttpNfcLeaseProgress", privilege="System.View")
    def progress(self, call: Call, percent: int) -> None:
        """Renews the lease as well, also when the number is the same."""
        self._check_ready()
        if not 0 <= percent <= 100:
            raise fault(vmodl.fault.InvalidArgument, "Must be 0 to 100.", invalidProperty="percent")
        self._renew()
        with self.world.commit(call.user) as tx:
            tx.set(self, transferred=percent)

    @operation("HttpNfcLeaseComplete", privilege="System.View")
    def complete(self, call: Call) -> None:
        """The VM may be used; thin disks take what was uploaded."""
        self._check_ready()
        self._settle()
        with self.world.commit(call.user) as tx:
            vm = self.vm
            if vm is not None and self.world.get(vm.moid) is vm:
                sizes = [upload.size for upload in self.uploads.values()]
                written = [
                    dataclasses.replace(disk, written=size) if disk.thin else disk
                    for disk, size in zip(vm.disks, sizes, strict=False)
                ]
                set_disks(tx, vm, tuple(written))
            tx.set(self, transferred=100, state="done")

    @operation("HttpNfcLeaseAbort", privilege="System.View")
    async def abort(self, call: Call, fault: Any = None) -> None:
        """The VM goes again; the given fault becomes the lease's error."""
        if self.state not in ("initializing", "ready"):
            raise _invalid_state(self.state)
        carried = getattr(fault, "fault", None) or fault
        error = carried if isinstance(carried, SoapFault) else None
        self._fail(error or SoapFault(carried or vmodl.fault.RequestCanceled(), "The import was aborted."))
        await self._undo()

    @operation("HttpNfcLeaseGetManifest", privilege="System.View")
    def manifest(self, call: Call) -> list[Any]:
        """Checksums of what was uploaded so far."""
        return [
            data_object(
                vim.HttpNfcLease.ManifestEntry,
                key=upload.key,
                sha1=upload.sha1,
                checksum=upload.sha256,
                checksumType="sha256",
                size=upload.size,
                disk=True,
            )
            for upload in self.uploads.values()
            if upload.complete
        ]

    # -- inside -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self.state in ("initializing", "ready"):
            self._fail(SoapFault(vmodl.fault.RequestCanceled(), "The session ended before the import was complete."))
            Background.of(self.world).run(self._undo(), "undoing an import")

    def _check_ready(self) -> None:
        if self.state != "ready":
            raise _invalid_state(self.state)

    def _renew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(TIMEOUT, self._expire)

    def _expire(self) -> None:
        self._fail(fault(vim.fault.Timedout, "The lease was not renewed in time."))
        Background.of(self.world).run(self._undo(), "undoing an import")

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        Leases.of(self.world).close(self)

    def _fail(self, error: SoapFault) -> None:
        self._settle()
        with self.world.commit(self.user) as tx:
            tx.set(self, error=error, state="error")

    async def _undo(self) -> None:
        if self.vm is not None and self.world.get(self.vm.moid) is self.vm:
            await vm_life.destroy(self.world, self.vm, user=self.user)


def _invalid_state(state: str) -> SoapFault:
    return fault(vim.fault.InvalidState, f"The lease is in state {state}.")
