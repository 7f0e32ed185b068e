"""Events: the history of everything that was posted, and the questions one may ask about it.

Events reach the history only through commits (``tx.event``), with the state change they tell of, so none is ever seen
before its commit. The history is bounded; history collectors (``event_collector``) are cursors over it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import Committed, Transaction, World
from contrail_vsphere.simulator.vcenter.event_pages import page
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import properties_of
from contrail_vsphere.wire.soap.types import vim, vmodl
from contrail_vsphere.wire.soap.values import build

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call

HISTORY = 50_000
"""Events kept; older ones cannot be read any more."""

MAX_PAGE = 1000
MAX_COLLECTORS = 32


def vm_event(cls: Any, vm: Any, /, **fields: Any) -> Any:
    """An event about a VM: datacenter, compute resource, host and vm arguments filled in."""
    return inventory_event(cls, vm, **fields)


def host_event(cls: Any, host: Any, /, **fields: Any) -> Any:
    """An event about a host: datacenter, compute resource and host arguments filled in."""
    return inventory_event(cls, host, **fields)


def eam_event(
    type_id: str,
    *,
    message: str = "",
    severity: str = "info",
    entity: Any = None,
    object_id: str = "",
    object_type: str = "",
    object_name: str = "",
    **arguments: str,
) -> Any:
    """An EventEx with that ``eventTypeId``; ``entity`` (a host, VM, cluster) fills the inventory arguments."""
    fields = {
        "eventTypeId": type_id,
        "severity": severity,
        "message": message or type_id,
        "fullFormattedMessage": message or type_id,
        "objectId": object_id or None,
        "objectType": object_type or None,
        "objectName": object_name or None,
        "arguments": [build(vmodl.KeyAnyValue, key=key, value=value) for key, value in arguments.items()],
    }
    if entity is None:
        return build(vim.event.EventEx, **fields)
    return inventory_event(vim.event.EventEx, entity, **fields)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event and the objects it pertains to, worked out when it was posted (they may be gone later)."""

    event: Any
    direct: frozenset[str]
    above: frozenset[str]
    """Ancestors of the direct ones."""


@dataclass(slots=True, eq=False, kw_only=True)
class EventManager(Entity):
    """The history and its questions."""

    wsdl: ClassVar[str] = "EventManager"
    volatile: ClassVar[frozenset[str]] = frozenset({"latestEvent"})

    limit: int = HISTORY
    _events: list[Recorded] = field(default_factory=list, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    _first: int = 0
    """Position of ``_events[0]`` since the beginning; a position never changes its meaning."""

    @classmethod
    def create(cls, world: World, *, moid: str = "EventManager") -> EventManager:
        """Make it and let it follow the world's commits."""
        manager = cls(world=world, moid=moid)
        world.finish(manager._show_latest)
        world.observe(manager._record)
        return manager

    # -- history ------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """Position behind the newest event."""
        return self._first + len(self._events)

    def between(self, start: int, end: int) -> Iterator[tuple[int, Recorded]]:
        """Events at positions from ``start`` up to ``end``, oldest first; those no longer kept are left out."""
        for position in range(max(start, self._first), min(end, self.end)):
            yield position, self._events[position - self._first]

    def backwards(self, before: int) -> Iterator[tuple[int, Recorded]]:
        """Events before that position, newest first."""
        for position in range(min(before, self.end) - 1, self._first - 1, -1):
            yield position, self._events[position - self._first]

    def latest(self) -> Any:
        """The newest event, or None."""
        return self._events[-1].event if self._events else None

    def of_type(self, name: str) -> list[Any]:
        """Kept events with that class name (``VmPoweredOnEvent``) or eventTypeId, oldest first; for tests."""
        return [item.event for item in self._events if name in type_ids(item.event)]

    def _show_latest(self, tx: Transaction) -> None:
        when = Switches.of(self.world).latest_event
        if tx.events and when == "prompt":
            tx.touch(self, "latestEvent")
        elif tx.events and when == "late" and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.world.service(Timing).latest_page, self._show_late)

    def _show_late(self) -> None:
        self._timer = None
        with self.world.commit() as tx:
            tx.touch(self, "latestEvent")

    def _record(self, done: Committed) -> None:
        for event in done.events:
            if not event.fullFormattedMessage:
                event.fullFormattedMessage = default_message(event)
            direct = frozenset(_arguments(event))
            self._events.append(Recorded(event, direct, frozenset(_ancestors(self.world, direct))))
        if len(self._events) > self.limit + self.limit // 8:
            surplus = len(self._events) - self.limit
            del self._events[:surplus]
            self._first += surplus

    # -- API ----------------------------------------------------------------------------------------------------

    @managed_property("latestEvent")
    def latest_event(self) -> Any:
        return self.latest()

    @managed_property("maxCollector")
    def max_collector(self) -> int:
        return MAX_COLLECTORS

    @managed_property("description")
    def description(self) -> Any:
        """Categories, and an entry for every event class of the API."""
        return _description()

    @operation("QueryEvents", note="eventViewSpec is not looked at")
    def query_events(self, call: Call, filter: Any, eventViewSpec: Any = None) -> list[Any]:
        """Oldest first, at most ``filter.maxCount`` (1000 without it), the newest of those that match."""
        wanted = EventFilter(self.world, filter)
        count = min(filter.maxCount or MAX_PAGE, MAX_PAGE)
        behind = ((position, item) for position, item in self.backwards(self.end) if wanted.matches(item))
        found, _ = page(behind, count, world=self.world, session=call.session)
        return found[::-1]

    @operation("CreateCollectorForEvents")
    def create_collector(self, call: Call, filter: Any) -> Entity:
        """A cursor over the events that the filter selects; it lives as long as the session."""
        from contrail_vsphere.simulator.vcenter.event_collector import EventHistoryCollector

        return EventHistoryCollector.create(call, self, EventFilter(self.world, filter))

    @operation("PostEvent")
    def post_event(self, call: Call, eventToPost: Any, taskInfo: Any = None) -> None:
        """Post an event; those of extensions are EventEx or ExtendedEvent values."""
        if eventToPost is None:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="eventToPost"))
        chain = taskInfo.eventChainId if taskInfo is not None else None
        eventToPost.userName = ""
        with self.world.commit(call.user, chain=chain or None) as tx:
            tx.event(eventToPost)

    @operation("LogUserEvent")
    def log_user_event(self, call: Call, entity: Any, msg: str) -> None:
        """Post a GeneralUserEvent about an object."""
        found = self.world.get(entity._moId)
        if found is None:
            raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=entity))
        with self.world.commit(call.user) as tx:
            tx.event(inventory_event(vim.event.GeneralUserEvent, found, message=msg, fullFormattedMessage=msg))  # type: ignore[arg-type]

    @operation("RetrieveArgumentDescription")
    def retrieve_argument_description(self, call: Call, eventTypeId: str) -> list[Any]:
        """Fields of the event class; an EventEx type has none that we know."""
        found = _event_classes().get(eventTypeId.rpartition(".")[2])
        if found is None:
            return []
        kind = vim.event.EventDescription.EventArgDesc
        return [build(kind, name=prop.name, type=prop.type.__name__) for prop in properties_of(found)]


class EventFilter:
    """``EventFilterSpec`` made ready for asking; empty fields select everything."""

    def __init__(self, world: World, spec: Any) -> None:
        if spec is None:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="filter"))
        self.spec = spec
        self._classes = tuple(spec.type or ())
        self._type_ids = frozenset(spec.eventTypeId or ())
        self._categories = frozenset(spec.category or ())
        self._chain = spec.eventChainId
        self._begin = spec.time.beginTime if spec.time is not None else None
        self._end = spec.time.endTime if spec.time is not None else None
        self._users = frozenset(spec.userName.userList or ()) if spec.userName is not None else frozenset()
        self._system = bool(spec.userName is not None and spec.userName.systemUser)
        self._entity = spec.entity.entity._moId if spec.entity is not None else ""
        self._recursion = str(spec.entity.recursion) if spec.entity is not None else "self"
        if self._entity and world.get(self._entity) is None:
            raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=spec.entity.entity))

    def matches(self, recorded: Recorded) -> bool:
        """Whether the filter selects that event."""
        event = recorded.event
        if self._type_ids and not (self._type_ids & type_ids(event)):
            return False
        if self._classes and not isinstance(event, self._classes):
            return False
        if self._chain and event.chainId != self._chain:
            return False
        if (self._begin and event.createdTime < self._begin) or (self._end and event.createdTime > self._end):
            return False
        if (self._users or self._system) and not (
            event.userName in self._users or (self._system and not event.userName)
        ):
            return False
        if self._categories and category(event) not in self._categories:
            return False
        return not self._entity or self._pertains(recorded)

    def _pertains(self, recorded: Recorded) -> bool:
        direct, above = self._entity in recorded.direct, self._entity in recorded.above
        if self._recursion == "self":
            return direct
        return above and not direct if self._recursion == "children" else above or direct


def category(event: Any) -> str:
    """``info``, ``warning``, ``error`` or ``user``."""
    severity = getattr(event, "severity", None)
    if severity:
        return str(severity)
    return _class_category(_class(event))


def _class(event: Any) -> Any:
    return type(event)


@functools.lru_cache(maxsize=2048)
def _class_category(cls: Any) -> str:
    name = cls.__name__
    if any(word in name for word in ("Failed", "Failure", "Error", "NotEnough", "Conflict", "Lost", "CannotComplete")):
        return "error"
    if any(word in name for word in ("Warning", "Disconnected", "Incompatible", "OutOfSync")):
        return "warning"
    return "user" if "User" in name else "info"


def type_ids(event: Any) -> frozenset[str]:
    """Under which ids an event is found: ``vim.event.VmPoweredOnEvent``, the bare name, and an EventEx's own id."""
    own = getattr(event, "eventTypeId", None)
    names = _class_ids(_class(event))
    return names | {own} if own else names


@functools.lru_cache(maxsize=2048)
def _class_ids(cls: Any) -> frozenset[str]:
    return frozenset((cls.__name__, VmomiSupport.GetWsdlName(cls)))


@functools.lru_cache(maxsize=2048)
def _words(cls: Any) -> str:
    name = VmomiSupport.GetWsdlName(cls).removesuffix("Event")
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip().capitalize()


def default_message(event: Any) -> str:
    """A sentence for an event posted without one."""
    subject = next((getattr(event, name) for name in _ARGUMENTS if getattr(event, name, None) is not None), None)
    text = str(getattr(event, "message", "") or "") or _words(_class(event))
    return f"{text} on {subject.name}" if subject is not None else text


_ARGUMENTS = ("vm", "host", "ds", "net", "dvs", "computeResource", "datacenter")


def _arguments(event: Any) -> Iterable[str]:
    """Ids of the objects an event names."""
    for name in _ARGUMENTS:
        argument = getattr(event, name, None)
        if argument is None:
            continue
        for value in argument.__dict__.values():
            if isinstance(value, VmomiSupport.ManagedObject):
                yield value._moId
    # an object's own argument that is none of the above (a folder, a resource pool)
    for name in ("folder", "resourcePool", "parent", "alarm", "source"):
        reference = getattr(getattr(event, name, None), name, None)
        if isinstance(reference, VmomiSupport.ManagedObject):
            yield reference._moId
    object_id = getattr(event, "objectId", None)
    if object_id:
        yield str(object_id)


def _ancestors(world: World, moids: Iterable[str]) -> Iterator[str]:
    for moid in moids:
        entity: Any = world.get(moid)
        above = getattr(entity, "parent", None)
        while above is not None:
            yield above.moid
            above = getattr(above, "parent", None)


@functools.lru_cache(maxsize=1)
def _event_classes() -> dict[str, Any]:
    """Wire name -> class, of every event of the API."""
    names = [name for name in VmomiSupport._dataDefMap if name.startswith("vim.event.") and name.endswith("Event")]
    classes = [VmomiSupport.GetVmodlType(name) for name in names]
    return {VmomiSupport.GetWsdlName(cls): cls for cls in classes if issubclass(cls, vim.event.Event)}


@functools.lru_cache(maxsize=1)
def _description() -> Any:
    categories = [
        build(vim.ElementDescription, key=key, label=key.capitalize(), summary=key)
        for key in ("info", "warning", "error", "user")
    ]
    details = []
    for name, cls in sorted(_event_classes().items()):
        text = _words(cls)
        details.append(
            build(
                vim.event.EventDescription.EventDetail,
                key=name,
                description=text,
                category=_class_category(cls),
                formatOnDatacenter=text,
                formatOnComputeResource=text,
                formatOnHost=text,
                formatOnVm=text,
                fullFormat=text,
            )
        )
    return build(vim.event.EventDescription, category=categories, eventInfo=details, enumeratedTypes=[])
