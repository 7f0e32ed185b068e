"""Faults as data: which call on which object, what happens, how often.

Rules are looked up at two places: the server asks before it runs an operation, and the simulator's own machinery asks
at named inner points (``guest.boot``, ``eam.deploy`` ...). A rule can be written in Python or sent as JSON to the
control port; either way it is the same ``FaultRule``.
"""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.fault_points import check_point
from contrail_vsphere.wire.soap.encode import encode_fault
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import EAM, VERSIONS, VIM, properties_of
from contrail_vsphere.wire.soap.values import build


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """What to match (empty matches anything; names may use ``*`` and ``?``) and what then happens.

    Effects combine: ``delay`` comes first (simulated seconds), then one of ``drop``, ``http_status``, ``fault``;
    ``truncate`` lets the call succeed and cuts the reply after that many bytes.
    """

    method: str = ""
    """Wire name of an API method. A rule with neither method nor point matches every API call and no point."""
    point: str = ""
    """Name of an inner point of the simulator."""
    type: str = ""
    """Wire name of the object's type."""
    moid: str = ""
    """Managed object id of the object."""
    name: str = ""
    """Name of the object."""
    user: str = ""
    """Who calls."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Further facts: parameters of the call, or what the inner point offers, compared as text."""

    fault: str = ""
    """Wire name of a fault type, e.g. ``TaskInProgress``."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The fault's own fields, by wire name."""
    message: str = ""
    """Text of the fault, or body of the HTTP answer."""
    http_status: int = 0
    """Answer with this status instead of SOAP."""
    delay: float = 0.0
    """Simulated seconds to wait first."""
    drop: bool = False
    """Close the connection without an answer. The operation has not run."""
    drop_reply: bool = False
    """Run the operation, then close the connection without an answer."""
    truncate: int = -1
    """Cut the reply after that many bytes; -1 for not at all."""

    skip: int = 0
    """Let that many matches pass first."""
    times: int | None = None
    """Act that often, then no more; None for always."""
    probability: float = 1.0
    """Of acting on a match, 0 to 1."""


class Subject(Protocol):
    """The object a call or a point is about; its ``name``, if it has one, is looked at too."""

    @property
    def wsdl(self) -> str:
        """Name of its type."""

    @property
    def moid(self) -> str:
        """Its id."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a matched rule does to this one call or step."""

    rule: FaultRule

    def exception(self) -> SoapFault | None:
        """The fault to raise, if the rule has one."""
        return make_fault(self.rule.fault, self.rule.fields, self.rule.message) if self.rule.fault else None

    async def apply(self, clock: Clock) -> None:
        """Wait the rule's delay, then raise its fault; what only the server can do (drop, status) is left to it."""
        if self.rule.delay:
            await clock.sleep(self.rule.delay)
        exception = self.exception()
        if exception is not None:
            raise exception


def make_fault(name: str, fields: Mapping[str, Any] | None = None, message: str = "") -> SoapFault:
    """A fault by its wire name (``urn:vim25`` first, then ``urn:eam``).

    References among the fields may be given as ids; required ones that are not given become ``unknown``. KeyError for a
    fault that the API does not have, TypeError for a field it does not have or a required value that is missing.
    """
    for namespace in (VIM, EAM):
        try:
            kind = VmomiSupport.GetWsdlType(namespace, name)
        except KeyError:
            continue
        given = dict(fields or {})
        for prop in properties_of(kind):
            if issubclass(prop.type, VmomiSupport.ManagedObject) and (prop.name in given or not prop.optional):
                value = given.get(prop.name, "unknown")
                given[prop.name] = prop.type(value) if isinstance(value, str) else value
        fault = SoapFault(build(kind, **given), message or f"{name} (injected)")
        encode_fault(fault, version=VERSIONS[namespace].newest, namespace=namespace)
        return fault
    raise KeyError(name)


@dataclass(slots=True)
class _Active:
    key: int
    rule: FaultRule
    matched: int = 0
    acted: int = 0


class FaultBook:
    """The rules in force, oldest first; the first one that acts wins."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._rules: dict[int, _Active] = {}
        self._keys = itertools.count(1)

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force; returns its key. Raises what ``make_fault`` and ``check_point`` raise."""
        check_point(rule.point)
        if rule.fault:
            make_fault(rule.fault, rule.fields)
        key = next(self._keys)
        self._rules[key] = _Active(key, rule)
        return key

    def remove(self, key: int) -> None:
        """Take a rule out; nothing happens when it is gone already."""
        self._rules.pop(key, None)

    def clear(self) -> None:
        """Take all rules out."""
        self._rules.clear()

    def rules(self) -> dict[int, tuple[FaultRule, int]]:
        """Key -> rule and how often it acted."""
        return {key: (active.rule, active.acted) for key, active in self._rules.items()}

    def check(self, *, method: str, entity: Subject | None, user: str = "", args: Mapping[str, Any]) -> Effect | None:
        """Asked by the server before an operation runs."""
        if not self._rules:
            return None
        return self._first(method=method, point="", entity=entity, user=user, facts=args)

    def point(self, name: str, entity: Subject | None = None, **facts: Any) -> Effect | None:
        """Asked at an inner point: ``if effect := faults.point("guest.boot", vm): await effect.apply(clock)``."""
        if not self._rules:
            return None
        return self._first(method="", point=name, entity=entity, user="", facts=facts)

    def _first(
        self, *, method: str, point: str, entity: Subject | None, user: str, facts: Mapping[str, Any]
    ) -> Effect | None:
        for active in list(self._rules.values()):
            rule = active.rule
            if not _matches(rule, method=method, point=point, entity=entity, user=user, facts=facts):
                continue
            active.matched += 1
            if active.matched <= rule.skip or (rule.times is not None and active.acted >= rule.times):
                continue
            if rule.probability < 1.0 and self._random.random() >= rule.probability:
                continue
            active.acted += 1
            return Effect(rule)
        return None


def _matches(
    rule: FaultRule, *, method: str, point: str, entity: Subject | None, user: str, facts: Mapping[str, Any]
) -> bool:
    if point:
        if not rule.point or not fnmatch.fnmatchcase(point, rule.point):
            return False
    elif rule.point or (rule.method and not fnmatch.fnmatchcase(method, rule.method)):
        return False
    wanted = (
        (rule.type, entity.wsdl if entity is not None else ""),
        (rule.moid, entity.moid if entity is not None else ""),
        (rule.name, str(getattr(entity, "name", ""))),
        (rule.user, user),
        *((pattern, _text(facts.get(key))) for key, pattern in rule.where.items()),
    )
    return all(not pattern or fnmatch.fnmatchcase(value, pattern) for pattern, value in wanted)


def _text(value: Any) -> str:
    """Objects compare by their id."""
    if value is None:
        return ""
    return str(getattr(value, "_moId", None) or getattr(value, "moid", None) or value)
