"""What vCenter has, kept up to date by one long poll.

One filter over all that is within reach; the first answers are the whole inventory in pages, later ones only what
changed. After a lost session or a version that vCenter has forgotten the whole set is read again and compared with what
we had (mark and sweep), so that nothing can be missed: subscribers hear of the difference, not of the reconnect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.folded import FoldedById
from contrail_vsphere.model.ids import ClusterId, DatacenterId, DatastoreId, DvsId, HostId, NetworkId, VmId
from contrail_vsphere.model.inventory import (
    Change,
    Cluster,
    Datacenter,
    Datastore,
    Dvs,
    Host,
    Network,
    Object,
    VirtualMachine,
)
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.inventory_values import KINDS, build_value
from contrail_vsphere.vsphere.pace import Pace
from contrail_vsphere.vsphere.reach import EverythingReach, Reach
from contrail_vsphere.vsphere.seeker import Seeker
from contrail_vsphere.vsphere.session import Session
from contrail_vsphere.vsphere.stream import Page, RecoveringStream, Row
from contrail_vsphere.vsphere.task import LOST
from contrail_vsphere.vsphere.told import NewTable, Reading, VmTable
from contrail_vsphere.wire.soap.fault import SoapFault

log = logging.getLogger(__name__)

WAIT = 60
"""Seconds of one long poll; it also keeps the session alive."""
PAGE = 1000
Subscriber = Callable[[Change], None]


class Inventory:
    """Indexes of everything by managed object id. Start it, await ``ready``, then read or subscribe."""

    def __init__(
        self, session: Session, *, random: random.Random, reach: Reach | None = None, table: NewTable = dict
    ) -> None:
        """``table``: what VMs are kept in."""
        self._session = session
        self._reach = reach or EverythingReach()
        self._seeker = Seeker(session, self._reach, seen=self._is_told, gone=self._is_gone)
        self._pace = Pace(random=random)
        self._table = table
        self._told = Reading(table())
        self._indexes: dict[type[Any], MutableMapping[Any, Any]] = self._index(self._told)
        self._kept: set[VmId] = set()
        """VMs of which vCenter tells nothing any more; they stay until it is known what became of them."""
        self._subscribers: list[Subscriber] = []
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._collector: Any = None
        self._epoch = -1
        self.resyncs = 0
        """Times the whole set was read."""
        self.trouble = ""
        """Why vCenter's last answer did not come; empty while it answers."""

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def datacenters(self) -> Mapping[DatacenterId, Datacenter]:
        """All datacenters."""
        return MappingProxyType(cast(dict[DatacenterId, Datacenter], self._indexes[Datacenter]))

    @property
    def clusters(self) -> Mapping[ClusterId, Cluster]:
        """All clusters, and the compute resources of standalone hosts."""
        return MappingProxyType(cast(dict[ClusterId, Cluster], self._indexes[Cluster]))

    @property
    def hosts(self) -> Mapping[HostId, Host]:
        """All hosts."""
        return MappingProxyType(cast(dict[HostId, Host], self._indexes[Host]))

    @property
    def vms(self) -> Mapping[VmId, VirtualMachine]:
        """All virtual machines and templates."""
        return MappingProxyType(self._vms)

    @property
    def datastores(self) -> Mapping[DatastoreId, Datastore]:
        """All datastores."""
        return MappingProxyType(cast(dict[DatastoreId, Datastore], self._indexes[Datastore]))

    @property
    def networks(self) -> Mapping[NetworkId, Network]:
        """Standard networks and distributed port groups."""
        return MappingProxyType(cast(dict[NetworkId, Network], self._indexes[Network]))

    @property
    def dvss(self) -> Mapping[DvsId, Dvs]:
        """Distributed switches."""
        return MappingProxyType(cast(dict[DvsId, Dvs], self._indexes[Dvs]))

    @property
    def healthy(self) -> bool:
        """The whole set was read and the last long poll was answered."""
        return self._ready.is_set() and not self._pace.failures

    async def ready(self) -> None:
        """Return once the whole inventory was read; raises what ended the reading if it cannot go on."""
        waiting = asyncio.create_task(self._ready.wait())
        try:
            watched = {waiting, self._task} if self._task is not None else {waiting}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and self._task is not None:
                self._task.result()
        finally:
            waiting.cancel()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for every change from now on; returns the way to stop."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    @property
    def _vms(self) -> VmTable:
        return self._told.vms

    def fold(self, change: Change) -> None:
        """Take in what the reply to a write of ours already told; vCenter's own update will confirm or correct it."""
        known = change.after or change.before
        if known is None:
            return
        index = self._indexes[type(known)]
        before = index.get(known.id)
        if change.after is None:
            index.pop(known.id, None)
        else:
            index[known.id] = change.after
        self._tell(before, change.after, change.paths)

    async def find(self, instance: UUID) -> None:
        """Have a VM that may be out of reach, until it is released; or know that vCenter has none. Unreachable."""
        await self._seeker.find(instance)

    def release(self, vm: VmId) -> None:
        """Nobody has business with a VM that is out of reach any more."""
        self._seeker.release(vm)

    # -- following ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read and follow."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"inventory {self._session.transport.endpoint.name}")

    async def stop(self) -> None:
        """Stop following; what was read stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._seeker.stop()

    async def _run(self) -> None:
        """Follow for ever. Whatever fails is tried again; only how soon differs."""
        while True:
            try:
                if self._collector is None or self._epoch != self._session.epoch:
                    await self._open()
                await self._follow()
            except SoapFault as fault:
                self._collector = None
                self.trouble = str(translate(fault, what="WaitForUpdatesEx"))
                if fault.kind not in LOST:
                    log.warning("inventory: %s", self.trouble)
                await self._pace.failed()
            except ContrailVsphereError as error:
                self.trouble = str(error)
                log.info("inventory: %s", error)
                self._collector = None
                await self._pace.failed()

    async def _open(self) -> None:
        """A collector of our own with one filter over all that is within reach."""
        session = self._session
        await session.ensure()
        collector = await session.call(session.content.propertyCollector, "CreatePropertyCollector")
        spec = await self._reach.open(session)
        await session.call(collector, "CreateFilter", spec=spec, partialUpdates=False)
        self._collector, self._epoch = collector, session.epoch

    async def _follow(self) -> None:
        """Read everything, then changes, until something fails."""
        fresh: Reading | None = Reading(self._table())
        version = ""
        while True:
            asked = asyncio.get_running_loop().time()
            page = await self._wait(version)
            self._pace.succeeded()
            self.trouble = ""
            if not page.version:
                await self._pace.nothing_new(asked)
                continue
            version = page.version
            if fresh is None:
                self._apply(page.rows)
                continue
            for row in page.rows:
                fresh.merge(row)
            if not page.truncated:
                self._sweep(fresh)
                fresh = None

    async def _wait(self, version: str) -> Page:
        page: Page = await self._session.invoke(
            self._collector,
            pc.WAIT,
            {"version": version, "options": pc.wait_options(seconds=WAIT, most=PAGE)},
            deadline=WAIT + 30.0,
            sink=RecoveringStream(KINDS),
        )
        return page

    # -- taking in ----------------------------------------------------------------------------------------------

    def _index(self, told: Reading) -> dict[type[Any], MutableMapping[Any, Any]]:
        """The values of all that was told."""
        found: dict[type[Any], MutableMapping[Any, Any]] = {kind: {} for kind in _ORDER}
        found[VirtualMachine] = told.vms
        for moid, values in told.others.items():
            value = build_value(values.kind, moid, values, self._datacenter_of)
            if value is not None:
                found[type(value)][moid] = value
        return found

    def _sweep(self, fresh: Reading) -> None:
        """Replace all by what was just read, and tell the difference."""
        known, self._told = self._vms, fresh
        before, self._indexes = self._indexes, self._index(fresh)
        self.resyncs += 1
        self._kept = {vm for vm in known if vm not in fresh.vms and self._reach.cares(known[vm])}
        for vm in self._kept:
            fresh.vms[vm] = known[vm]
            self._seeker.seek(known[vm])
        self._ready.set()
        if not self._subscribers:
            return
        for model in _ORDER:
            now = self._indexes[model]
            for moid in before[model]:
                if moid not in now:
                    self._tell(before[model][moid], None, frozenset())
            for moid in now:
                if not _same(now, before[model], moid):
                    self._tell(before[model].get(moid), now[moid], frozenset())

    def _apply(self, rows: list[Row]) -> None:
        """Take in a page of changes, then tell of them: subscribers see all of a page at once."""
        touched: dict[str, set[str]] = {}
        gone: dict[str, VirtualMachine | None] = {}
        vms: dict[VmId, VirtualMachine | None] = {}
        """As they were before."""
        again = False
        for row in rows:
            if self._told.is_vm(row) and row.id not in vms:
                vms[VmId(row.id)] = self._vms.get(VmId(row.id))
            if row.kind == "leave":
                gone[row.id] = self._vms.get(VmId(row.id))
                touched.pop(row.id, None)
            else:
                gone.pop(row.id, None)
                touched.setdefault(row.id, set()).update(row.values)
            self._told.merge(row)
            again = again or row.type in ("Folder", "StoragePod", "Datacenter")
        if again:  # a folder came or moved: what is below it may now know its datacenter
            for moid, told in self._told.others.items():
                if told.kind in _BELOW_FOLDERS:
                    touched.setdefault(moid, set()).add("parent")
        changes = [self._remove(moid, last, vms) for moid, last in gone.items()]
        changes += [self._replace(moid, paths, vms) for moid, paths in touched.items()]
        for change in changes:
            if change is not None:
                self._tell(change.before, change.after, change.paths)

    def _remove(
        self, moid: str, last: VirtualMachine | None, vms: Mapping[VmId, VirtualMachine | None]
    ) -> Change | None:
        if last is not None and self._reach.cares(last):
            self._kept.add(last.id)
            self._vms[last.id] = last
            self._seeker.seek(last)
            return None
        if moid in vms:
            before = vms[VmId(moid)]
            return Change(before, None) if before is not None else None
        for index in self._indexes.values():
            if moid in index:
                return Change(index.pop(moid), None)
        return None

    def _is_told(self, vm: VmId) -> bool:
        return vm in self._vms and vm not in self._kept

    def _is_gone(self, vm: VmId) -> None:
        self._kept.discard(vm)
        self._tell(self._vms.pop(vm, None), None, frozenset())

    def _replace(self, moid: str, paths: set[str], vms: Mapping[VmId, VirtualMachine | None]) -> Change | None:
        if moid in vms:
            self._kept.discard(VmId(moid))
            return Change(vms[VmId(moid)], self._vms[VmId(moid)], frozenset(paths))
        told = self._told.others[moid]
        value = build_value(told.kind, moid, told, self._datacenter_of)
        if value is None:
            return None
        index = self._indexes[type(value)]
        before = index.get(moid)
        index[moid] = value
        return Change(before, value, frozenset(paths))

    def _datacenter_of(self, folder: str | None) -> DatacenterId | None:
        for _ in range(64):
            told = self._told.others.get(folder) if folder is not None else None
            if folder is None or told is None:
                return None
            if told.kind == "Datacenter":
                return DatacenterId(folder)
            folder = told.get("parent")
        return None

    def _tell(self, before: Object | None, after: Object | None, paths: frozenset[str]) -> None:
        if before == after:
            return
        change = Change(before, after, paths)
        for subscriber in list(self._subscribers):
            subscriber(change)


def _same(now: Mapping[Any, Any], before: Mapping[Any, Any], moid: str) -> bool:
    return now.same(moid, before) if isinstance(now, FoldedById) else now[moid] == before.get(moid)


_ORDER: tuple[type[Any], ...] = (Datacenter, Cluster, Host, Datastore, Dvs, Network, VirtualMachine)
"""What others refer to comes first."""
_BELOW_FOLDERS = (
    "ComputeResource",
    "ClusterComputeResource",
    "DistributedVirtualSwitch",
    "VmwareDistributedVirtualSwitch",
)
