"""Alarm definitions of our own in vCenter, bound to the events of our extension.

An event passes by; an alarm stays on its host, VM, cluster or switch until it is over, and an administrator can have it
mailed. The definitions lie on the root folder. One is ours when it bears our name and listens to events of our
extension; what an administrator made of it (actions, how often, enabled or not) stays. What bears the name and listens
to something else is somebody else's and is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from contrail_vsphere.model.errors import AlreadyExists, NotFound
from contrail_vsphere.vsphere.reader import read_properties
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

Target = Literal["cluster", "host", "switch", "vcenter", "vm"]
Status = Literal["green", "yellow", "red"]
TARGETS: Mapping[str, Any] = MappingProxyType(
    {
        "cluster": vim.ClusterComputeResource,
        "host": vim.HostSystem,
        "switch": vim.DistributedVirtualSwitch,
        "vcenter": vim.Folder,
        "vm": vim.VirtualMachine,
    }
)
"""What an alarm can be raised on: an alarm watches objects of one type. ``vcenter`` is the root folder."""
LONGEST = 80
"""Characters of a name in vCenter."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AlarmDefinition:
    """One alarm. The events are whole ``eventTypeId``s; each turns the alarm to its colour on the object it is on."""

    name: str
    """Unique in the vCenter, at most 80 characters."""
    description: str
    target: Target
    red: tuple[str, ...] = ()
    yellow: tuple[str, ...] = ()
    green: tuple[str, ...] = ()

    @property
    def events(self) -> frozenset[tuple[str, Status]]:
        """Which event sets which colour."""
        colours: tuple[tuple[Status, tuple[str, ...]], ...] = (
            ("red", self.red), ("yellow", self.yellow), ("green", self.green),
        )  # fmt: skip
        return frozenset((event, colour) for colour, events in colours for event in events)


@dataclass(frozen=True, slots=True)
class Ensured:
    """Names of the definitions that ``Alarms.ensure`` wrote; all empty when everything was as it should be."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    """Not written: an alarm of somebody else has the name."""


@dataclass(frozen=True, slots=True)
class _Found:
    ref: Any
    info: Any
    events: frozenset[tuple[str, str]] = field(default=frozenset())
    target: Any = None


class Alarms:
    """Alarm definitions of one vCenter; every method raises errors of ``model.errors``."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    async def ensure(self, definitions: Sequence[AlarmDefinition]) -> Ensured:
        """Have them all: create what is missing, mend what differs, write nothing else.

        Needs the privileges ``Alarm.Create`` and ``Alarm.Edit`` on the root folder if there is something to write.
        """
        found = await self._by_name({each.name for each in definitions})
        created: list[str] = []
        changed: list[str] = []
        foreign: list[str] = []
        for wanted in definitions:
            have = found.get(wanted.name)
            if have is None:
                (created if await self._create(wanted) else foreign).append(wanted.name)
            elif not _is_ours(have, wanted):
                foreign.append(wanted.name)
            elif not _is_right(have, wanted):
                await self._vcenter.call(have.ref, "ReconfigureAlarm", spec=_mended(wanted, have.info))
                changed.append(wanted.name)
        return Ensured(tuple(created), tuple(changed), tuple(foreign))

    async def remove(self, definitions: Sequence[AlarmDefinition]) -> tuple[str, ...]:
        """Remove those that are there and ours; returns their names. Needs ``Alarm.Delete``."""
        found = await self._by_name({each.name for each in definitions})
        removed = []
        for definition in definitions:
            have = found.get(definition.name)
            if have is not None and _is_ours(have, definition):
                try:
                    await self._vcenter.call(have.ref, "RemoveAlarm")
                except NotFound:
                    continue
                removed.append(definition.name)
        return tuple(removed)

    async def raised(self, definitions: Sequence[AlarmDefinition]) -> Mapping[str, frozenset[str]]:
        """By name of a definition, the object ids on which it is red or yellow now."""
        found = await self._by_name({each.name for each in definitions})
        names = {found[each.name].ref._moId: each.name for each in definitions if each.name in found}
        root = self._vcenter.content.rootFolder
        states = (await self._vcenter.read(root, "triggeredAlarmState")).get("triggeredAlarmState") or ()
        raised: dict[str, set[str]] = {}
        for state in states:
            if state.alarm._moId in names and state.overallStatus in ("red", "yellow"):
                raised.setdefault(names[state.alarm._moId], set()).add(str(state.entity._moId))
        return {name: frozenset(entities) for name, entities in raised.items()}

    async def _create(self, wanted: AlarmDefinition) -> bool:
        root = self._vcenter.content.rootFolder
        try:
            await self._vcenter.call(self._vcenter.content.alarmManager, "CreateAlarm", entity=root, spec=_spec(wanted))
        except AlreadyExists:
            # Names are unique in the whole vCenter, and one below the root folder is not among those we have read.
            _LOG.warning("an alarm %r exists already somewhere in the inventory: ours is not made", wanted.name)
            return False
        return True

    async def _by_name(self, names: Iterable[str]) -> dict[str, _Found]:
        """Definitions on the root folder that bear one of these names."""
        wanted = set(names)
        root, manager = self._vcenter.content.rootFolder, self._vcenter.content.alarmManager
        refs = await self._vcenter.call(manager, "GetAlarm", entity=root) or ()
        if not refs:
            return {}
        try:
            infos = await read_properties(self._vcenter.session, refs, "info")
        except NotFound:
            # One of them was removed between the two calls.
            refs = await self._vcenter.call(manager, "GetAlarm", entity=root) or ()
            infos = await read_properties(self._vcenter.session, refs, "info")
        found = {}
        for ref in refs:
            info = infos.get(ref._moId, {}).get("info")
            if info is not None and info.name in wanted:
                expressions = _expressions(info.expression)
                events = frozenset((each.eventTypeId or "", str(each.status)) for each in expressions)
                targets = {each.objectType for each in expressions}
                found[info.name] = _Found(ref, info, events, targets.pop() if len(targets) == 1 else None)
        return found


def _expressions(expression: Any) -> list[Any]:
    """The event expressions of an alarm, if it consists of nothing else."""
    parts = list(expression.expression) if isinstance(expression, vim.alarm.OrAlarmExpression) else [expression]
    return parts if all(isinstance(part, vim.alarm.EventAlarmExpression) for part in parts) else []


def _is_ours(have: _Found, wanted: AlarmDefinition) -> bool:
    """It listens to an extension's events, and to those of ours alone."""
    owner = {event.rpartition(".")[0] for event, _ in wanted.events}
    return bool(have.events) and {event.rpartition(".")[0] for event, _ in have.events} <= owner


def _is_right(have: _Found, wanted: AlarmDefinition) -> bool:
    same = have.info.description == wanted.description and have.events == wanted.events
    return bool(same and have.target is TARGETS[wanted.target])


def _expression(wanted: AlarmDefinition) -> Any:
    return build(
        vim.alarm.OrAlarmExpression,
        expression=[
            build(
                vim.alarm.EventAlarmExpression,
                eventType=vim.event.EventEx,
                eventTypeId=event,
                objectType=TARGETS[wanted.target],
                status=colour,
            )
            for event, colour in sorted(wanted.events)
        ],
    )


def _spec(wanted: AlarmDefinition) -> Any:
    return build(
        vim.alarm.AlarmSpec,
        name=wanted.name[:LONGEST],
        description=wanted.description,
        enabled=True,
        expression=_expression(wanted),
        setting=build(vim.alarm.AlarmSetting, toleranceRange=0, reportingFrequency=0),
    )


def _mended(wanted: AlarmDefinition, info: Any) -> Any:
    """Ours, with what an administrator decided about it."""
    spec = _spec(wanted)
    spec.enabled, spec.action, spec.actionFrequency = info.enabled, info.action, info.actionFrequency
    if info.setting is not None:
        spec.setting = info.setting
    return spec
