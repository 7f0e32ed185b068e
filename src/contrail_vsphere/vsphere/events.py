"""Events of vCenter, each exactly once, across restarts of ours.

A collector is a cursor that ends with its session; the last key and time seen are kept by whoever gave ``save``, and a
new collector starts a little before that time and drops what was seen. Events are hints to look again, and words for
people: nothing may depend on having seen one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import DvsId, HostId, VmId
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.pace import Pace
from contrail_vsphere.vsphere.session import SERVICE, Session
from contrail_vsphere.vsphere.stream import Page, PropertyStream
from contrail_vsphere.vsphere.task import LOST
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, wsdl_name
from contrail_vsphere.wire.soap.values import build

log = logging.getLogger(__name__)

WAIT = 60
PAGE = 500
OVERLAP = timedelta(seconds=60)
"""How far before the last event seen a new collector starts: events of one moment may become visible late."""
LATE = timedelta(seconds=5)
"""An event that much newer than the last one cannot have a smaller key, unless vCenter counts anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as far as we judge by it."""

    key: int
    type: str
    """``eventTypeId`` of an EventEx, else the class on the wire (``VmPoweredOffEvent``)."""
    time: datetime
    user: str = ""
    message: str = ""
    vm: VmId | None = None
    vm_name: str = ""
    """As it was called then."""
    host: HostId | None = None
    chain: int = 0
    arguments: Mapping[str, str] = field(default_factory=dict)
    dvs: DvsId | None = None
    ports: tuple[str, ...] = ()
    """Keys of the switch's ports that an event names."""
    destination: HostId | None = None
    """Where a VM is being moved to (``destHost``)."""


@dataclass(frozen=True, slots=True)
class EventCursor:
    """How far the tail has come."""

    key: int
    time: datetime


def convert(event: Any) -> Event:
    """Our value of a pyVmomi Event."""
    vm, host = getattr(event, "vm", None), getattr(event, "host", None)
    dvs, destination = getattr(event, "dvs", None), getattr(event, "destHost", None)
    ports = getattr(event, "portKey", None) or ()
    arguments = {each.key: str(each.value) for each in getattr(event, "arguments", None) or ()}
    return Event(
        key=event.key,
        type=getattr(event, "eventTypeId", None) or wsdl_name(event),
        time=event.createdTime,
        user=event.userName or "",
        message=event.fullFormattedMessage or getattr(event, "message", None) or "",
        vm=VmId(vm.vm._moId) if vm is not None and vm.vm is not None else None,
        vm_name=str(vm.name or "") if vm is not None else "",
        host=HostId(host.host._moId) if host is not None and host.host is not None else None,
        chain=event.chainId or 0,
        arguments=arguments,
        dvs=DvsId(dvs.dvs._moId) if dvs is not None and dvs.dvs is not None else None,
        ports=(ports,) if isinstance(ports, str) else tuple(ports),
        destination=HostId(destination.host._moId)
        if destination is not None and destination.host is not None
        else None,
    )


class EventTail:
    """Give it types and subscribers, then start it. Only types asked for are sent by vCenter."""

    def __init__(self, session: Session, *, random: random.Random) -> None:
        self._session = session
        self._pace = Pace(random=random)
        self._types: tuple[str, ...] = ()
        self._save: Callable[[EventCursor], None] = lambda _cursor: None
        self._subscribers: list[Callable[[Event], None]] = []
        self._task: asyncio.Task[None] | None = None
        self.cursor: EventCursor | None = None

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``subscriber`` for every event, oldest first; returns the way to stop."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def start(
        self,
        types: Sequence[str] = (),
        *,
        cursor: EventCursor | None = None,
        save: Callable[[EventCursor], None] | None = None,
    ) -> None:
        """Follow events of these types (``eventTypeId``s; empty: all) after ``cursor`` (None: from now on).

        ``save`` is called after each page that was given to the subscribers.
        """
        self._types = tuple(types)
        self.cursor = cursor or self.cursor
        if save is not None:
            self._save = save
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"events {self._session.transport.endpoint.name}")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (SoapFault, ContrailVsphereError) as error:
                if isinstance(error, SoapFault) and error.kind not in LOST:
                    log.warning("events: %s", translate(error))
                await self._pace.failed()

    async def _follow(self) -> None:
        """Read on in a collector, woken by a filter on the newest event, until something fails."""
        session = self._session
        await session.ensure()
        manager = session.content.eventManager
        waker = await session.call(session.content.propertyCollector, "CreatePropertyCollector")
        spec = pc.of_objects([manager], {"EventManager": ["latestEvent"]})
        await session.call(waker, "CreateFilter", spec=spec, partialUpdates=False)
        collector = await session.call(manager, "CreateCollectorForEvents", filter=await self._filter())
        version = ""
        while True:
            await self._drain(collector)
            self._pace.succeeded()
            asked = asyncio.get_running_loop().time()
            page: Page = await session.invoke(
                waker,
                pc.WAIT,
                {"version": version, "options": pc.wait_options(seconds=WAIT)},
                deadline=WAIT + 30.0,
                sink=PropertyStream({}),
            )
            if not page.version:
                await self._pace.nothing_new(asked)
            version = page.version or version

    async def _filter(self) -> Any:
        """From a little before the cursor; without one from now on, by vCenter's clock and not by ours."""
        if self.cursor is not None:
            since = self.cursor.time - OVERLAP
        else:
            since = await self._session.call(SERVICE, "CurrentTime")
        return build(
            vim.event.EventFilterSpec,
            eventTypeId=list(self._types),
            time=build(vim.event.EventFilterSpec.ByTime, beginTime=since),
        )

    async def _drain(self, collector: Any) -> None:
        """Everything that is there now. A page may be empty although more follows: vCenter cuts before it filters."""
        while True:
            page = await self._session.call(collector, "ReadNextEvents", maxCount=PAGE)
            if not page:
                return
            last = self.cursor.key if self.cursor is not None else -1
            if self.cursor is not None and any(
                event.key <= last and event.createdTime > self.cursor.time + LATE for event in page
            ):
                log.warning("event keys went back; was vCenter restored from a backup? Counting anew")
                last = -1
            for event in sorted((convert(each) for each in page), key=lambda each: each.key):
                if event.key <= last:
                    continue
                self.cursor = EventCursor(event.key, event.time)
                for subscriber in list(self._subscribers):
                    subscriber(event)
            if self.cursor is not None:
                self._save(self.cursor)
