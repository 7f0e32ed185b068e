"""What Contrail has, kept up to date by notifications and by reading everything again whenever some may be missing.

Notifications only mark objects; marked ones are read again in bulk, a moment later so that a burst costs one request.
After every gap (first connection, reconnection, broker away) the whole set is listed, *after* the queue is bound, and
compared with what we had. While there is no broker the lists are repeated as polls, at most a tenth of the time.
Notifications of our own writes are not read again if the writer has folded the result in.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.notifications import Notifications
from contrail_vsphere.contrail.snapshot import Snapshot, Subscriber
from contrail_vsphere.contrail.values import READINGS
from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.model.contrail import (
    ContrailChange,
    ContrailObject,
    ContrailVm,
    InstanceIp,
    Project,
    SecurityGroup,
    VirtualNetwork,
    Vmi,
)
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.wire.contrail.messages import Notification
from contrail_vsphere.wire.contrail.names import dashed

log = logging.getLogger(__name__)

RETRY = Backoff(first=1.0, most=30.0)
SHARE = 10.0
"""A poll that took t seconds is followed by at least SHARE * t of rest."""
STALE = 3.0
"""Polls that may fail before the snapshot counts as old."""
REMEMBERED = 20_000
"""Request ids of folded writes that are kept."""
RESOLUTION = 0.001
"""Seconds: a timer may ring so much before its time, and then what it was set for is due."""
BATCH = 500
"""Marked objects per request."""
_CHILDREN_OF_PROJECTS = frozenset({"virtual-network", "virtual-machine-interface", "security-group"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects are followed."""

    projects: frozenset[UUID] = frozenset()
    """Networks, interfaces and security groups of these projects only; empty: of all."""
    kinds: tuple[str, ...] = tuple(READINGS)
    """Dashed types."""

    def wants(self, value: ContrailObject) -> bool:
        """Whether an object of a followed type is followed."""
        if not self.projects or not isinstance(value, VirtualNetwork | Vmi | SecurityGroup):
            return True
        return value.parent_uuid in self.projects


EVERYTHING = Selection()


class ContrailInventory:
    """Indexes of Contrail's objects by uuid. Start it, await ``ready``, then read or subscribe.

    ``notifications`` None: by polling alone. Times in seconds: ``tick`` from a mark to its reading, ``resync`` between
    full readings while notifications come, ``poll`` between those while none come.
    """

    def __init__(
        self,
        api: ConfigApi,
        notifications: Notifications | None,
        *,
        selection: Selection = EVERYTHING,
        tick: float = 0.1,
        resync: float = 600.0,
        poll: float = 10.0,
        random: random_module.Random | None = None,
    ) -> None:
        self._api = api
        self._source = notifications
        self._selection = selection
        self._tick, self._resync, self._poll = tick, resync, poll
        self._random = random or random_module.Random()
        self._snapshot = Snapshot(selection.kinds, wanted=selection.wants)
        self._marks: dict[str, dict[UUID, set[str]]] = {kind: {} for kind in selection.kinds}
        """Objects to read again, and the requests that changed them ("" for anything else)."""
        self._folded: OrderedDict[str, None] = OrderedDict()
        self._marked, self._wake, self._ready = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._round = asyncio.Event()
        """Set after every round of whole readings."""
        self._connected = False
        self._gap = 0
        """Counts the moments at which notifications may have been missed."""
        self._read = {kind: _Reading() for kind in selection.kinds}
        self._failures = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.error = ""
        """Why the last reading failed, or why no notifications come; empty when all is well."""
        self.resyncs = 0
        """Times the whole of one type was read."""

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def projects(self) -> Mapping[ProjectId, Project]:
        """All projects."""
        return cast("Mapping[ProjectId, Project]", self._snapshot.of("project"))

    @property
    def networks(self) -> Mapping[VnId, VirtualNetwork]:
        """The selected virtual networks."""
        return cast("Mapping[VnId, VirtualNetwork]", self._snapshot.of("virtual-network"))

    @property
    def security_groups(self) -> Mapping[SecurityGroupId, SecurityGroup]:
        """The selected security groups."""
        return cast("Mapping[SecurityGroupId, SecurityGroup]", self._snapshot.of("security-group"))

    @property
    def vms(self) -> Mapping[VirtualMachineId, ContrailVm]:
        """All virtual machines: they have no project."""
        return cast("Mapping[VirtualMachineId, ContrailVm]", self._snapshot.of("virtual-machine"))

    @property
    def vmis(self) -> Mapping[VmiId, Vmi]:
        """The selected interfaces."""
        return cast("Mapping[VmiId, Vmi]", self._snapshot.of("virtual-machine-interface"))

    @property
    def instance_ips(self) -> Mapping[IipId, InstanceIp]:
        """All instance IPs: they have no project."""
        return cast("Mapping[IipId, InstanceIp]", self._snapshot.of("instance-ip"))

    def addresses_of(self, vmi: VmiId) -> Iterable[InstanceIp]:
        """Instance IPs that refer to an interface, and perhaps others: looks through all of them."""
        return cast("Iterable[InstanceIp]", self._snapshot.mentioning("instance-ip", vmi))

    @property
    def unreadable(self) -> Mapping[UUID, str]:
        """Objects that could not be understood, and why."""
        return self._snapshot.unreadable

    @property
    def healthy(self) -> bool:
        """The last reading succeeded, and notifications come if they should."""
        return self._ready.is_set() and not self._failures and (self._connected or self._source is None)

    @property
    def complete(self) -> bool:
        """The snapshot is whole and fresh: what is not in it does not exist. Nothing is deleted without this."""
        if not self._ready.is_set() or self._failures:
            return False
        now = asyncio.get_running_loop().time()
        return all(
            reading.gap == self._gap and (self._connected or now - reading.at <= STALE * reading.interval)
            for reading in self._read.values()
        )

    async def ready(self) -> None:
        """Return once everything was read."""
        await self._ready.wait()

    async def caught_up(self) -> None:
        """Return once everything that was true when this was called is known; polls read again for it."""
        asked = asyncio.get_running_loop().time()
        if not self._ready.is_set():
            await self._ready.wait()
        elif not self._connected:
            self.read_again()
            while any(reading.at < asked for reading in self._read.values()):
                self._round.clear()
                await self._round.wait()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for every change from now on; returns the way to stop."""
        return self._snapshot.subscribe(subscriber)

    def fold(self, change: ContrailChange, *, request_id: str = "") -> None:
        """Take in what the reply to a write told; its notification then costs no reading."""
        self._snapshot.fold(change)
        if request_id:
            self._folded[request_id] = None
            if len(self._folded) > REMEMBERED:
                self._folded.popitem(last=False)

    def mark(self, kind: str, uuids: Iterable[UUID]) -> None:
        """Read these again soon: somebody has reason to doubt what is known of them."""
        for uuid in uuids:
            self._marks[dashed(kind)].setdefault(uuid, set()).add("")
        self._marked.set()

    def read_again(self) -> None:
        """Read everything again soon."""
        for reading in self._read.values():
            reading.due = float("-inf")
        self._wake.set()

    # -- following ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read and follow. With notifications, reading waits for them, or for the word that none will come."""
        if self._tasks:
            return
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._reread())]
        if self._source is None:
            self.read_again()
        else:
            self._tasks.append(asyncio.create_task(self._source.run(self)))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Stop following; what is known stays readable. Raises what had ended the following, if anything had."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def connected(self) -> None:
        """From the source: notifications come from now on, earlier ones may be missing."""
        self._connected = True
        self._gap += 1
        self.read_again()

    def lost(self, reason: str) -> None:
        """From the source: none come. Polls take over."""
        self.error = reason
        if self._connected or not self._gap:
            self._connected = False
            self._gap += 1
            now = asyncio.get_running_loop().time()
            for reading in self._read.values():
                reading.due = now + (self._poll if self._ready.is_set() else 0.0)
            self._wake.set()

    def notified(self, notification: Notification) -> None:
        """From the source: an object changed."""
        marks = self._marks.get(dashed(notification.type))
        if marks is None or notification.operation == "UPDATE-IMPLICIT":
            return
        try:
            uuid = UUID(notification.uuid)
        except ValueError:
            return
        marks.setdefault(uuid, set()).add(notification.request_id)
        self._marked.set()

    async def _follow(self) -> None:
        """Read what is due, whole types at a time."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            soon = loop.time() + RESOLUTION
            due = [kind for kind in self._selection.kinds if self._read[kind].due <= soon]
            if not due:
                await _wait(self._wake, until=min(reading.due for reading in self._read.values()))
                continue
            try:
                for kind in due:
                    await self._read_whole(kind)
            except ContrailVsphereError as error:
                await self._failed(error)
                continue
            self._failures = 0
            self._round.set()
            if all(reading.gap >= 0 for reading in self._read.values()):
                self._ready.set()
            if self._connected or self._source is None:
                self.error = ""

    async def _read_whole(self, kind: str) -> None:
        loop, reading, gap = asyncio.get_running_loop(), self._read[kind], self._gap
        reading.due = float("inf")  # unless somebody asks anew meanwhile
        began = loop.time()
        seen: set[UUID] = set()
        try:
            with self._snapshot.reading() as number:
                async for page in self._api.list(kind, fields=READINGS[kind].fields, parent_ids=self._parents(kind)):
                    seen |= self._snapshot.take(kind, page, number=number)
                self._snapshot.sweep(kind, seen, number=number)
        except ContrailVsphereError:
            reading.due = began
            raise
        reading.gap, reading.at = gap, began
        reading.interval = self._resync if self._connected else max(self._poll, SHARE * (loop.time() - began))
        reading.due = min(reading.due, loop.time() + reading.interval)
        self.resyncs += 1

    def _parents(self, kind: str) -> Sequence[UUID]:
        return sorted(self._selection.projects) if kind in _CHILDREN_OF_PROJECTS else ()

    async def _reread(self) -> None:
        """Read marked objects again."""
        await self._ready.wait()
        while True:
            await self._marked.wait()
            await asyncio.sleep(self._tick)
            self._marked.clear()
            for kind in self._selection.kinds:
                uuids = self._take_marks(kind)
                try:
                    for first in range(0, len(uuids), BATCH):
                        await self._read_some(kind, uuids[first : first + BATCH])
                except ContrailVsphereError as error:
                    self.mark(kind, uuids)
                    await self._failed(error)
                    break
                if uuids:
                    self._failures = 0

    def _take_marks(self, kind: str) -> list[UUID]:
        marks, self._marks[kind] = self._marks[kind], {}
        return [uuid for uuid, requests in marks.items() if not requests <= self._folded.keys()]

    async def _read_some(self, kind: str, uuids: Sequence[UUID]) -> None:
        with self._snapshot.reading() as number:
            rows: list[dict[str, Any]] = await self._api.collect(kind, fields=READINGS[kind].fields, uuids=uuids)
            seen = self._snapshot.take(kind, rows, number=number)
            self._snapshot.gone(kind, [uuid for uuid in uuids if uuid not in seen], number=number)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that should never end did: nothing is complete any more, and ``stop`` raises why."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures += 1
            self.error = f"following Contrail ended: {error!r}"
            log.error("following Contrail ended", exc_info=error)

    async def _failed(self, error: ContrailVsphereError) -> None:
        self._failures += 1
        self.error = str(error)
        log.info("Contrail could not be read: %s", error)
        await asyncio.sleep(RETRY.delay(self._failures, self._random))


@dataclass(slots=True)
class _Reading:
    """The last whole reading of a type."""

    gap: int = -1
    """It was complete since this gap; -1: there was none."""
    at: float = float("-inf")
    """Loop time at which it began."""
    due: float = float("inf")
    interval: float = 0.0


async def _wait(event: asyncio.Event, *, until: float) -> None:
    """Until the event is set or that loop time is reached."""
    try:
        async with asyncio.timeout_at(until if until != float("inf") else None):
            await event.wait()
    except TimeoutError:
        return
