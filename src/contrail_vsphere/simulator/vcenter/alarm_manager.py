"""AlarmManager: definitions of alarms, and which of them are triggered on which objects.

An alarm with event expressions is triggered, and calmed, by the events of a commit, in that commit: on the object that
the event is about, if the alarm is defined there or above. What is triggered shows on that object and on all above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.types import conforms
from contrail_vsphere.simulator.vcenter import alarm as rules
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.alarm import ROOT, SEVERITY, Alarm, named
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, found
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call
    from contrail_vsphere.simulator.core.world import Transaction, World

DEFAULTS = (
    ("alarm.HostConnectionStateAlarm", "Host connection and power state", vim.HostSystem, "notResponding"),
    ("alarm.HostConnectionFailureAlarm", "Host connection failure", vim.HostSystem, "disconnected"),
    ("alarm.VmConnectionStateAlarm", "Virtual machine connection state", vim.VirtualMachine, "inaccessible"),
)
"""System name, name, type, and the connection state that would turn it red."""
TYPES: Mapping[str, Any] = {"entityTypeHost": vim.HostSystem, "entityTypeVm": vim.VirtualMachine}
"""AlarmFilterSpec's words for objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How an alarm stands on an object; without one nobody knows (gray)."""

    status: str
    since: datetime
    event: Any = None
    """The event that made it so."""
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None

    @property
    def triggered(self) -> bool:
        return self.status in {"yellow", "red"}


Which = Callable[[Alarm, ManagedEntity, State], bool]


@dataclass(slots=True, eq=False, kw_only=True)
class AlarmManager(Entity):
    """States by the ids of alarm and object."""

    wsdl: ClassVar[str] = "AlarmManager"

    states: Mapping[tuple[str, str], State] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World) -> AlarmManager | None:
        """The world's own, when it has one."""
        return next(world.of_type(cls), None)

    # -- what an object shows -----------------------------------------------------------------------------------

    def declared(self, entity: ManagedEntity) -> list[Any]:
        """AlarmStates of all alarms that the object, or one below it, can trigger."""
        return [self._value(item, entity) for item in self.world.of_type(Alarm) if item.concerns(entity)]

    def triggered(self, entity: ManagedEntity) -> list[Any]:
        """AlarmStates of what is triggered on the object or below it."""
        shown = []
        for (alarm, moid), state in self.states.items():
            place: Any = self.world.get(moid)
            if state.triggered and (place is entity or any(above is entity for above in place.ancestors())):
                shown.append(self._value(self.world.objects[alarm], place))
        return shown

    def _value(self, alarm: Any, entity: ManagedEntity) -> Any:
        state = self.states.get((alarm.moid, entity.moid))
        return data_object(
            vim.alarm.AlarmState,
            key=f"{alarm.moid}.{entity.moid}",
            entity=entity,
            alarm=alarm,
            overallStatus=state.status if state is not None else "gray",
            time=state.since if state is not None else alarm.modified_at,
            acknowledged=bool(state and state.acknowledged_by),
            acknowledgedByUser=(state.acknowledged_by or None) if state is not None else None,
            acknowledgedTime=state.acknowledged_at if state is not None else None,
            eventKey=state.event.key if state is not None and state.event is not None else None,
            disabled=False,
        )

    # -- what events do -----------------------------------------------------------------------------------------

    def follow(self) -> None:
        """From now on every commit's events count."""
        self.world.finish(self._finish)

    def _finish(self, tx: Transaction) -> None:
        gone = {entity.moid for entity, kind, _ in tx.entries if kind == "leave"}
        if gone:
            for alarm in [item for item in self.world.of_type(Alarm) if item.place in gone]:
                tx.remove(alarm)
                gone.add(alarm.moid)
            tx.set(self, states={key: state for key, state in self.states.items() if not gone & set(key)})
        if not tx.events:
            return
        alarms = [item for item in self.world.of_type(Alarm) if item.enabled and any(rules.expressions(item.spec))]
        for event in tx.events if alarms else ():
            entity = rules.subject(self.world, event)
            if entity is None:
                continue
            for alarm in alarms:
                status = rules.status_after(alarm.spec, event, entity) if alarm.covers(entity) else None
                if status is not None:
                    self._turn(tx, alarm, entity, State(status=status, since=self.world.clock.now(), event=event))

    def _turn(self, tx: Transaction, alarm: Alarm, entity: ManagedEntity, state: State) -> None:
        before = self.states.get((alarm.moid, entity.moid))
        old = before.status if before is not None else "gray"
        if old == state.status:
            return
        tx.set(self, states={**self.states, (alarm.moid, entity.moid): state})
        self._show(tx, entity)
        tx.event(
            data_object(
                vim.event.AlarmStatusChangedEvent,
                userName="",
                alarm=alarm.named(),
                source=named(alarm.entity),
                entity=named(entity),
                **{"from": old},
                to=state.status,
                fullFormattedMessage=f"Alarm '{alarm.name}' on {entity.name} changed from {old} to {state.status}",
            )
        )

    def forget(self, tx: Transaction, which: Which) -> list[tuple[Alarm, ManagedEntity, State]]:
        """Inside a commit: drop states; returns those that are gone."""
        objects: Mapping[str, Any] = self.world.objects
        kept = [(objects[alarm], objects[moid], state) for (alarm, moid), state in self.states.items()]
        dropped = [item for item in kept if which(*item)]
        lost = {(alarm.moid, entity.moid) for alarm, entity, _ in dropped}
        tx.set(self, states={key: state for key, state in self.states.items() if key not in lost})
        for _, entity, _ in dropped:
            self._show(tx, entity)
        return dropped

    def _show(self, tx: Transaction, entity: ManagedEntity) -> None:
        """The worst of its own alarms is the object's overall status; updates of the lists are rarer than that."""
        found = [state.status for (_, moid), state in self.states.items() if moid == entity.moid and state.triggered]
        tx.set(entity, status=max(found, key=SEVERITY.index, default="green"))
        if Switches.of(self.world).alarm_updates:
            for place in (entity, *entity.ancestors()):
                tx.touch(place, "triggeredAlarmState", "declaredAlarmState")

    # -- API ----------------------------------------------------------------------------------------------------

    @managed_property("defaultExpression")
    def _default_expression(self) -> list[Any]:
        return []

    @operation(
        "CreateAlarm", privilege="System.View", note="state and metric expressions are kept, but trigger nothing"
    )
    def CreateAlarm(self, call: Call, entity: Any, spec: Any) -> Alarm:
        """Defined on an object, for it and all below; actions are kept and never done."""
        place = found(self, entity, ManagedEntity)
        authorization.check(call, "Alarm.Create", place)
        rules.check(self.world, spec)
        now = self.world.clock.now()
        alarm = Alarm(
            world=self.world,
            moid=self.world.new_id(Alarm.prefix),
            place=place.moid,
            spec=spec,
            modified_at=now,
            modified_by=call.user,
        )
        alarm.created = data_object(
            vim.event.AlarmCreatedEvent,
            userName="",
            alarm=alarm.named(),
            entity=named(place),
            fullFormattedMessage=f"Created alarm '{alarm.name}' on {place.name}",
        )
        with self.world.commit(call.user) as tx:
            tx.add(alarm)
            tx.event(alarm.created)
        return alarm

    @operation("GetAlarm")
    def GetAlarm(self, call: Call, entity: Any = None) -> list[Alarm]:
        """Those defined on an object; all without one."""
        place = found(self, entity, ManagedEntity) if entity is not None else None
        return [item for item in self.world.of_type(Alarm) if place is None or item.place == place.moid]

    @operation("GetAlarmState", privilege="System.Read")
    def GetAlarmState(self, call: Call, entity: Any) -> list[Any]:
        """Of the object itself, for alarms that have been triggered there at some time."""
        place = found(self, entity, ManagedEntity)
        return [self._value(self.world.objects[alarm], place) for alarm, moid in self.states if moid == place.moid]

    @operation("AreAlarmActionsEnabled", privilege="System.Read")
    def AreAlarmActionsEnabled(self, call: Call, entity: Any) -> bool:
        """As ``alarmActionsEnabled`` of the object says."""
        return bool(found(self, entity, ManagedEntity).read("alarmActionsEnabled"))

    @operation("AcknowledgeAlarm", privilege="System.View")
    def AcknowledgeAlarm(self, call: Call, alarm: Any, entity: Any) -> None:
        """Somebody has seen it; where nothing is triggered, or it is acknowledged already, nothing happens."""
        known, place = found(self, alarm, Alarm), found(self, entity, ManagedEntity)
        authorization.check(call, "Alarm.Acknowledge", place)
        state = self.states.get((known.moid, place.moid))
        if state is None or not state.triggered or state.acknowledged_by:
            return
        seen = replace(state, acknowledged_by=call.user, acknowledged_at=self.world.clock.now())
        with self.world.commit(call.user) as tx:
            tx.set(self, states={**self.states, (known.moid, place.moid): seen})
            self._show(tx, place)
            tx.event(
                data_object(
                    vim.event.AlarmAcknowledgedEvent,
                    userName="",
                    alarm=known.named(),
                    source=named(known.entity),
                    entity=named(place),
                    fullFormattedMessage=f"Acknowledged alarm '{known.name}' on {place.name}",
                )
            )

    @operation("ClearTriggeredAlarms")
    def ClearTriggeredAlarms(self, call: Call, filter: Any) -> None:
        """Forget what is triggered, by status and type of object; only event alarms ever are."""
        if filter.typeTrigger not in {None, "triggerTypeAll", "triggerTypeEvent"}:
            return
        wanted, kind = set(filter.status or ()) or {"yellow", "red"}, TYPES.get(filter.typeEntity or "")

        def fits(_alarm: Alarm, entity: ManagedEntity, state: State) -> bool:
            return state.triggered and state.status in wanted and (kind is None or conforms(entity, kind))

        with self.world.commit(call.user) as tx:
            for alarm, entity, state in self.forget(tx, fits):
                tx.event(
                    data_object(
                        vim.event.AlarmClearedEvent,
                        userName="",
                        alarm=alarm.named(),
                        source=named(alarm.entity),
                        entity=named(entity),
                        **{"from": state.status},
                        fullFormattedMessage=f"Cleared alarm '{alarm.name}' on {entity.name}",
                    )
                )


def add_default_alarms(tx: Transaction) -> None:
    """Inside a commit: the definitions that every vCenter begins with, on the root folder that is still to come."""
    world = tx.world
    for system_name, name, kind, red in DEFAULTS:
        expression = data_object(
            vim.alarm.StateAlarmExpression,
            operator="isEqual",
            type=kind,
            statePath="runtime.connectionState",
            red=red,
        )
        spec = data_object(
            vim.alarm.AlarmSpec,
            name=name,
            systemName=system_name,
            description=name,
            enabled=True,
            expression=data_object(vim.alarm.OrAlarmExpression, expression=[expression]),
            setting=data_object(vim.alarm.AlarmSetting, toleranceRange=0, reportingFrequency=300),
        )
        moid = world.new_id(Alarm.prefix)
        tx.add(Alarm(world=world, moid=moid, place=ROOT, spec=spec, modified_at=world.clock.now()))
