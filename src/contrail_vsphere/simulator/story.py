"""Scenario files: what happens to a simulated data centre, in TOML.

    [[step]]
    at = 10                       # simulated seconds since the beginning; left out: as soon as its turn comes
    do = "power_off"              # a verb of Scenario ...
    with = { vm = "vm-0001" }     # ... and its arguments; objects by name or id
    fails = "InvalidPowerState"   # optional: the fault it must end with
    background = true             # optional: the next step does not wait until this one is done

    [[step]]
    fault = { method = "PowerOnVM_Task", fault = "TaskInProgress", times = 2 }   # the fields of FaultRule

    [[step]]
    wait = { object = "esx-01", type = "HostSystem", state = { in_maintenance = true } }
    within = 600                  # simulated seconds; without it 3600

Steps are taken in their order; a file is checked as a whole before the first one. ``wait`` looks at the state that
``scenario.snapshot()`` shows (objects by name or id), or with ``gone = true`` for the object to be absent.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contrail_vsphere.simulator.scenario  # noqa: F401 - its methods are the verbs a file may name
from contrail_vsphere.model.errors import UsageError
from contrail_vsphere.simulator.core.fault_points import check_point
from contrail_vsphere.simulator.core.faults import FaultRule, make_fault
from contrail_vsphere.simulator.verbs import VERBS

PATIENCE = 3600.0
"""Simulated seconds that a wait takes at most when its step does not say."""

_COMMON = frozenset({"at"})
_KEYS: Mapping[str, frozenset[str]] = {
    "do": _COMMON | {"do", "with", "fails", "background"},
    "fault": _COMMON | {"fault"},
    "wait": _COMMON | {"wait", "within"},
}
_WAIT_KEYS = frozenset({"object", "type", "state", "gone"})


class ScenarioError(UsageError):
    """A scenario file is wrong; ``problems`` has a line for each thing."""

    def __init__(self, where: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        more = f"; and {len(self.problems) - 1} more" if len(self.problems) > 1 else ""
        super().__init__(f"{where}: {self.problems[0]}{more}")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a ``wait`` step waits for."""

    object: str
    type: str = ""
    """Wire name of the object's type; empty: any."""
    state: Mapping[str, Any] = field(default_factory=dict)
    gone: bool = False

    def __str__(self) -> str:
        if self.gone:
            return f"{self.object} is gone"
        return f"{self.object} has " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in self.state.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: a verb (``do``), a fault rule, or a condition."""

    at: float | None = None
    do: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fails: str = ""
    background: bool = False
    fault: FaultRule | None = None
    wait: Condition | None = None
    within: float = PATIENCE

    def __str__(self) -> str:
        if self.do:
            given = ", ".join(f"{name}={json.dumps(value)}" for name, value in self.arguments.items())
            return f"{self.do}({given})"
        return f"wait until {self.wait}" if self.wait is not None else "fault rule"


@dataclass(frozen=True, slots=True)
class Story:
    """A scenario file that has been checked."""

    steps: tuple[Step, ...]
    name: str = ""


def load(path: Path) -> Story:
    """Read a scenario file. Raises ScenarioError for everything that is wrong with it."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(str(path), [f"cannot be read: {error}"]) from error
    return parse(text, where=str(path))


def parse(text: str, *, where: str = "scenario") -> Story:
    """The steps of a scenario. Raises ScenarioError for everything that is wrong with it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(where, [str(error)]) from error
    problems = [f"unknown key {_near(key, ('step', 'name'))}" for key in document if key not in ("step", "name")]
    tables = document.get("step", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ScenarioError(where, [*problems, "steps are written as [[step]]"])
    steps, before = [], 0.0
    for number, table in enumerate(tables, 1):
        found, step = _step(table)
        if step is not None and step.at is not None:
            if step.at < before:
                found.append(f"at = {step.at:g} is before that of an earlier step ({before:g})")
            before = max(before, step.at)
        problems += [f"step {number}: {problem}" for problem in found]
        if step is not None:
            steps.append(step)
    if problems:
        raise ScenarioError(where, problems)
    return Story(tuple(steps), str(document.get("name", "")))


def _step(table: Mapping[str, Any]) -> tuple[list[str], Step | None]:
    kinds = [kind for kind in _KEYS if kind in table]
    if len(kinds) != 1:
        return ["a step has exactly one of do, fault and wait"], None
    kind = kinds[0]
    problems = [f"unknown key {_near(key, _KEYS[kind])}" for key in table if key not in _KEYS[kind]]
    at = table.get("at")
    if at is not None and (not _number(at) or at < 0):
        problems.append("at must be a number of seconds, not negative")
        at = None
    found, step = {"do": _verb, "fault": _fault, "wait": _wait}[kind](table, float(at) if at is not None else None)
    return problems + found, step


def _verb(table: Mapping[str, Any], at: float | None) -> tuple[list[str], Step | None]:
    name, arguments = table["do"], table.get("with", {})
    if not isinstance(name, str) or name not in VERBS:
        return [f"there is no verb {_near(str(name), VERBS)}"], None
    if not isinstance(arguments, dict):
        return [f"with must be a table of {name}'s arguments"], None
    problems = VERBS[name].problems(arguments)
    fails, background = table.get("fails", ""), table.get("background", False)
    if not isinstance(fails, str):
        problems.append("fails must be the name of a fault")
    if not isinstance(background, bool):
        problems.append("background must be true or false")
    if VERBS[name].keys is not None and not problems:
        problems += _rule_problems(arguments)[0]
    return problems, Step(at=at, do=name, arguments=arguments, fails=str(fails), background=bool(background))


def _fault(table: Mapping[str, Any], at: float | None) -> tuple[list[str], Step | None]:
    if not isinstance(table["fault"], dict):
        return ["fault must be a table of a fault rule's fields"], None
    problems, rule = _rule_problems(table["fault"])
    return problems, Step(at=at, fault=rule)


def _rule_problems(fields: Mapping[str, Any]) -> tuple[list[str], FaultRule | None]:
    known = FaultRule.__dataclass_fields__
    problems = [f"a fault rule has no field {_near(name, known)}" for name in fields if name not in known]
    for name, value in fields.items():
        default = known[name].default if name in known else None
        if isinstance(default, str | bool) and not isinstance(value, type(default)):
            problems.append(f"{name} must be {'a string' if isinstance(default, str) else 'true or false'}")
        elif isinstance(default, int | float) and not isinstance(default, bool) and not _number(value):
            problems.append(f"{name} must be a number")
        elif name in ("fields", "where") and not isinstance(value, dict):
            problems.append(f"{name} must be a table")
    if problems:
        return problems, None
    rule = FaultRule(**fields)
    try:
        check_point(rule.point)
        if rule.fault:
            make_fault(rule.fault, rule.fields)
    except KeyError:
        return [f"the API has no fault {rule.fault}"], None
    except LookupError as error:
        return [str(error)], None
    except TypeError as error:
        return [f"the fault {rule.fault} cannot be made: {error}"], None
    return [], rule


def _wait(table: Mapping[str, Any], at: float | None) -> tuple[list[str], Step | None]:
    given, within = table["wait"], table.get("within", PATIENCE)
    if not isinstance(given, dict):
        return ["wait must be a table with object and state"], None
    problems = [f"wait has no key {_near(key, _WAIT_KEYS)}" for key in given if key not in _WAIT_KEYS]
    if not isinstance(given.get("object"), str):
        problems.append("wait needs the name or id of an object")
    state, gone = given.get("state", {}), given.get("gone", False)
    if not isinstance(state, dict):
        problems.append("state must be a table")
    elif bool(state) is (gone is True):
        problems.append("wait needs either a state or gone = true")
    if not _number(within) or within <= 0:
        problems.append("within must be a number of seconds above zero")
    if problems:
        return problems, None
    condition = Condition(given["object"], str(given.get("type", "")), state, gone is True)
    return [], Step(at=at, wait=condition, within=float(within))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"{name}; did you mean {close[0]}?" if close else name


# -- writing --------------------------------------------------------------------------------------------------------


def render(step: Step) -> str:
    """The step as it stands in a file, with an empty line behind it."""
    lines = ["[[step]]"]
    if step.at is not None:
        lines.append(f"at = {_toml(round(step.at, 6))}")
    if step.do:
        lines.append(f"do = {_toml(step.do)}")
        if step.arguments:
            lines.append(f"with = {_toml(step.arguments)}")
        if step.fails:
            lines.append(f"fails = {_toml(step.fails)}")
        if step.background:
            lines.append("background = true")
    elif step.fault is not None:
        defaults = FaultRule()
        changed = {
            name: getattr(step.fault, name)
            for name in FaultRule.__dataclass_fields__
            if getattr(step.fault, name) != getattr(defaults, name)
        }
        lines.append(f"fault = {_toml(changed)}")
    elif step.wait is not None:
        shown = {"object": step.wait.object, "type": step.wait.type, "state": step.wait.state, "gone": step.wait.gone}
        lines.append(f"wait = {_toml({name: value for name, value in shown.items() if value})}")
        lines.append(f"within = {_toml(step.within)}")
    return "\n".join(lines) + "\n\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """A TOML value; inline tables, so that a step stays readable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves alone; lone surrogates cannot be written at all.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot stand in a scenario file")
