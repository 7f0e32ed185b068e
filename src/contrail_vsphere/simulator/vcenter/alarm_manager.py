"""AlarmManager: the alarms of a new vCenter that concern us. They are defined; nothing is ever triggered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, found
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction

DEFAULTS = (
    ("alarm.HostConnectionStateAlarm", "Host connection and power state", "HostSystem", "notResponding"),
    ("alarm.HostConnectionFailureAlarm", "Host connection failure", "HostSystem", "disconnected"),
    ("alarm.VmConnectionStateAlarm", "Virtual machine connection state", "VirtualMachine", "inaccessible"),
)
"""System name, name, type, and the connection state that would turn it red."""


@dataclass(slots=True, eq=False, kw_only=True)
class Alarm(Entity):
    """One definition, on the root folder."""

    wsdl: ClassVar[str] = "Alarm"
    prefix: ClassVar[str] = "alarm-"

    system_name: str
    name: str
    kind: str
    red: str
    defined_at: datetime

    @managed_property("info")
    def _info(self) -> Any:
        expression = data_object(
            vim.alarm.StateAlarmExpression,
            operator="isEqual",
            type=getattr(vim, self.kind),
            statePath="runtime.connectionState",
            red=self.red,
        )
        return data_object(
            vim.alarm.AlarmInfo,
            key=self.moid,
            alarm=self.ref,
            entity=self.world.get("group-d1"),
            name=self.name,
            systemName=self.system_name,
            description=self.name,
            enabled=True,
            expression=data_object(vim.alarm.OrAlarmExpression, expression=[expression]),
            setting=data_object(vim.alarm.AlarmSetting, toleranceRange=0, reportingFrequency=300),
            lastModifiedTime=self.defined_at,
            lastModifiedUser="",
            creationEventId=0,
        )

    @managed_property("value")
    def _value(self) -> list[Any]:
        return []

    @managed_property("availableField")
    def _available_field(self) -> list[Any]:
        return []


def add_default_alarms(tx: Transaction) -> None:
    """Inside a commit: the definitions that every vCenter begins with."""
    for system_name, name, kind, red in DEFAULTS:
        moid = tx.world.new_id(Alarm.prefix)
        now = tx.world.clock.now()
        tx.add(Alarm(world=tx.world, moid=moid, system_name=system_name, name=name, kind=kind, red=red, defined_at=now))


@dataclass(slots=True, eq=False, kw_only=True)
class AlarmManager(Entity):
    """Lists the definitions."""

    wsdl: ClassVar[str] = "AlarmManager"

    @managed_property("defaultExpression")
    def _default_expression(self) -> list[Any]:
        return []

    @operation("GetAlarm")
    def get_alarm(self, call: Call, entity: Any = None) -> list[Entity]:
        """Those defined on an object; all without one."""
        place = found(self, entity, ManagedEntity) if entity is not None else None
        return list(self.world.of_type(Alarm)) if place is None or place.moid == "group-d1" else []

    @operation("GetAlarmState", privilege="System.Read", note="always empty: nothing is triggered")
    def get_alarm_state(self, call: Call, entity: Any) -> list[Any]:
        found(self, entity, ManagedEntity)
        return []

    @operation("AreAlarmActionsEnabled", privilege="System.Read")
    def are_alarm_actions_enabled(self, call: Call, entity: Any) -> bool:
        """As ``alarmActionsEnabled`` of the object says."""
        return bool(found(self, entity, ManagedEntity).read("alarmActionsEnabled"))
