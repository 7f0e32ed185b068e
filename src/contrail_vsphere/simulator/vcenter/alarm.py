"""Alarm: one definition on an object, for it and what lies below; and what an event makes of it.

Only event expressions are evaluated: state and metric expressions are kept and shown, but trigger nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.types import conforms
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.event_manager import type_ids
from contrail_vsphere.simulator.vcenter.inventory_events import changes
from contrail_vsphere.simulator.vcenter.managed_entity import LONGEST_NAME, ManagedEntity, fault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call
    from contrail_vsphere.simulator.core.world import World

SEVERITY: Final = ("green", "gray", "yellow", "red")
"""Mildest first."""
ROOT: Final = "group-d1"
CONTAINERS: Final = frozenset({"Folder", "Datacenter", "ComputeResource", "ClusterComputeResource", "ResourcePool"})

_COMPARE: Final[Mapping[str, Callable[[str, str], bool]]] = MappingProxyType(
    {
        "equals": str.__eq__,
        "notEqualTo": str.__ne__,
        "startsWith": str.startswith,
        "doesNotStartWith": lambda found, given: not found.startswith(given),
        "endsWith": str.endswith,
        "doesNotEndWith": lambda found, given: not found.endswith(given),
    }
)
"""Operators of EventAlarmExpressionComparison."""
_PLACES: Final = (
    ("vm", "vm"),
    ("host", "host"),
    ("ds", "datastore"),
    ("net", "network"),
    ("dvs", "dvs"),
    ("computeResource", "computeResource"),
    ("datacenter", "datacenter"),
)
"""Arguments of an event, the nearest first, and the field of each that refers to the object."""


@dataclass(slots=True, eq=False, kw_only=True)
class Alarm(Entity):
    """``spec`` is a whole AlarmSpec, replaced and never changed in place."""

    wsdl: ClassVar[str] = "Alarm"
    prefix: ClassVar[str] = "alarm-"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"spec": ("info",), "modified_at": ("info",)}

    place: str
    """Id of the object that it is defined on."""
    spec: Any
    modified_at: datetime
    modified_by: str = ""
    created: Any = None
    """The AlarmCreatedEvent; None for the alarms that every vCenter begins with."""

    @property
    def name(self) -> str:
        return str(self.spec.name)

    @property
    def entity(self) -> ManagedEntity:
        """The object that it is defined on."""
        found = self.world.objects[self.place]
        assert isinstance(found, ManagedEntity)  # noqa: S101 - the alarm goes with it
        return found

    @property
    def enabled(self) -> bool:
        return bool(self.spec.enabled)

    def covers(self, entity: ManagedEntity) -> bool:
        """Whether it is defined on the object or above it."""
        return entity.moid == self.place or any(above.moid == self.place for above in entity.ancestors())

    def concerns(self, entity: ManagedEntity) -> bool:
        """Whether the object, or one below it, can trigger it."""
        kinds = [_kind(item) for item in self.spec.expression.expression]
        if not self.covers(entity):
            return False
        return entity.wsdl in CONTAINERS or any(kind is None or conforms(entity, kind) for kind in kinds)

    def named(self) -> Any:
        """AlarmEventArgument."""
        return data_object(vim.event.AlarmEventArgument, name=self.name, alarm=self)

    @managed_property("info")
    def _info(self) -> Any:
        return data_object(
            vim.alarm.AlarmInfo,
            **self.spec.__dict__,
            key=self.moid,
            alarm=self,
            entity=self.entity,
            lastModifiedTime=self.modified_at,
            lastModifiedUser=self.modified_by,
            creationEventId=self.created.key if self.created is not None else 0,
        )

    @managed_property("value")
    def _value(self) -> list[Any]:
        return []

    @managed_property("availableField")
    def _available_field(self) -> list[Any]:
        return []

    @operation("ReconfigureAlarm", privilege="System.View")
    def ReconfigureAlarm(self, call: Call, spec: Any) -> None:
        """Replace the definition; what it had triggered is forgotten, and events from now on count."""
        from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager

        authorization.check(call, "Alarm.Edit", self.entity)
        check(self.world, spec, besides=self)
        with self.world.commit(call.user) as tx:
            tx.set(self, spec=spec, modified_at=self.world.clock.now(), modified_by=call.user)
            if (manager := AlarmManager.of(self.world)) is not None:
                manager.forget(tx, lambda alarm, _entity, _state: alarm is self)
            tx.event(self._told(vim.event.AlarmReconfiguredEvent, "Reconfigured", configChanges=changes("spec")))

    @operation("RemoveAlarm", privilege="System.View")
    def RemoveAlarm(self, call: Call) -> None:
        """With whatever it had triggered."""
        from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager

        authorization.check(call, "Alarm.Delete", self.entity)
        with self.world.commit(call.user) as tx:
            if (manager := AlarmManager.of(self.world)) is not None:
                manager.forget(tx, lambda alarm, _entity, _state: alarm is self)
            tx.event(self._told(vim.event.AlarmRemovedEvent, "Removed"))
            tx.remove(self)

    def _told(self, kind: Any, what: str, **fields: Any) -> Any:
        return data_object(
            kind,
            userName="",
            alarm=self.named(),
            entity=named(self.entity),
            fullFormattedMessage=f"{what} alarm '{self.name}' on {self.entity.name}",
            **fields,
        )


def named(entity: ManagedEntity) -> Any:
    """As events about alarms name an object, of whatever type it is."""
    return data_object(vim.event.ManagedEntityEventArgument, name=entity.name, entity=entity)


def check(world: World, spec: Any, *, besides: Alarm | None = None) -> None:
    """Raise InvalidName, DuplicateName or InvalidArgument for a spec that no alarm can have."""
    name = str(spec.name or "")
    if not name or len(name) > LONGEST_NAME:
        raise fault(vim.fault.InvalidName, f"The name '{name}' is invalid.", name=name)
    other = next((item for item in world.of_type(Alarm) if item.name == name and item is not besides), None)
    if other is not None:
        raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=other.ref)
    whole = spec.expression
    if not isinstance(whole, vim.alarm.OrAlarmExpression | vim.alarm.AndAlarmExpression) or not whole.expression:
        raise _invalid("expression", "An alarm needs an OrAlarmExpression or AndAlarmExpression.")
    for item in expressions(spec):
        if item.eventType is None:
            raise _invalid("expression.eventType", "An event expression needs the type of its event.")
        unknown = next((one.operator for one in item.comparisons or () if one.operator not in _COMPARE), None)
        if unknown is not None:
            raise _invalid("expression.comparisons.operator", f"There is no operator {unknown}.")


def _invalid(field: str, message: str) -> Any:
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty=field)


def expressions(spec: Any) -> Iterator[Any]:
    """EventAlarmExpressions of a spec."""
    return (item for item in spec.expression.expression if isinstance(item, vim.alarm.EventAlarmExpression))


def _kind(expression: Any) -> Any:
    """The type of object that an expression is for; None for all."""
    return getattr(expression, "objectType", None) or getattr(expression, "type", None)


def subject(world: World, event: Any) -> ManagedEntity | None:
    """The object that an event is about: that of ``objectId``, else the nearest that it names, else the root folder."""
    ids = [getattr(event, "objectId", None)]
    for name, reference in _PLACES:
        place = getattr(event, name, None)
        ids.append(getattr(place, reference)._moId if place is not None else None)
    found = (world.get(str(moid)) for moid in (*ids, ROOT) if moid)
    return next((item for item in found if isinstance(item, ManagedEntity)), None)


def status_after(spec: Any, event: Any, entity: ManagedEntity) -> str | None:
    """What an event about an object makes of an alarm: the worst status among the expressions that it fits."""
    met = [str(item.status) for item in expressions(spec) if item.status and _fits(item, event, entity)]
    return max(met, key=SEVERITY.index, default=None)


def _fits(expression: Any, event: Any, entity: ManagedEntity) -> bool:
    if expression.eventTypeId:
        if expression.eventTypeId not in type_ids(event):
            return False
    elif not isinstance(event, expression.eventType):
        return False
    if expression.objectType is not None and not conforms(entity, expression.objectType):
        return False
    return all(
        _COMPARE[item.operator](_attribute(event, item.attributeName), str(item.value))
        for item in expression.comparisons or ()
    )


def _attribute(event: Any, name: str) -> str:
    """A field of the event, or an argument of an EventEx."""
    arguments: Iterable[Any] = getattr(event, "arguments", None) or ()
    given = {item.key: item.value for item in arguments}
    value = given.get(name) if name in given else getattr(event, name, None)
    return "" if value is None else str(getattr(value, "name", value))
