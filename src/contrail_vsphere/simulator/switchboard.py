"""The named switches of the simulated vCenter, by name and as text: for options, scenario files and the control port.

What a switch means stands at its attribute in ``eam.switches``, ``vcenter.switches`` and ``vcenter.service_switches``;
names here begin with their part (``eam.maintenance_status``, ``dvs.write_while_off``, ``vc.gzip``). Tuples are given
with commas between.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import sys
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from contrail_vsphere.model.errors import UsageError
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.eam.switches import Switches as EamSwitches
from contrail_vsphere.simulator.open_questions import OPEN_QUESTIONS
from contrail_vsphere.simulator.vcenter.service_switches import Switches as ServiceSwitches
from contrail_vsphere.simulator.vcenter.switches import Switches as DvsSwitches

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World

PARTS: Final[Mapping[str, type[Any]]] = {"eam": EamSwitches, "dvs": DvsSwitches, "vc": ServiceSwitches}
"""First part of a switch's name -> the class that has it."""


def names() -> list[str]:
    """All switches."""
    return [f"{part}.{field.name}" for part, kind in PARTS.items() for field in dataclasses.fields(kind)]


def parse(settings: Iterable[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each, as name and value. UsageError for a name or value that does not exist."""
    found = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"{setting!r} is no switch", hint="write NAME=VALUE, as eam.maintenance_status=green")
        found[name] = value_of(name, text)
    return found


def value_of(name: str, text: str) -> Any:
    """The value that a text stands for. UsageError names the nearest switch, or what the switch takes."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        raise UsageError(f"there is no switch {name}", hint=f"did you mean {near[0]}?" if near else "see the reference")
    part, _, attribute = name.partition(".")
    kind = _types(PARTS[part])[attribute]
    given: Any = None if text in {"None", "none"} else text
    if typing.get_origin(kind) is tuple:
        given = tuple(item.strip() for item in text.split(","))
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=False)).validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{name} cannot be {text}: {first['msg']}", hint=f"it takes {words(kind)}") from error


def positions(world: World) -> dict[str, Any]:
    """Name -> how each stands."""
    now = {
        "eam": world.service(EamService).switches,
        "dvs": DvsSwitches.of(world),
        "vc": ServiceSwitches.of(world),
    }
    return {name: getattr(now[name.partition(".")[0]], name.partition(".")[2]) for name in names()}


def turn(world: World, settings: Mapping[str, Any]) -> None:
    """Put switches into other positions; they count from then on."""
    for part in PARTS:
        mine = {name.partition(".")[2]: value for name, value in settings.items() if name.startswith(f"{part}.")}
        if mine and part == "eam":
            service = world.service(EamService)
            service.switches = dataclasses.replace(service.switches, **mine)
        elif mine and part == "dvs":
            dataclasses.replace(DvsSwitches.of(world), **mine).install(world)
        elif mine:
            dataclasses.replace(ServiceSwitches.of(world), **mine).install(world)


@dataclasses.dataclass(frozen=True, slots=True)
class Described:
    """A switch for a reader."""

    name: str
    takes: str
    default: str
    meaning: str


def describe(prefix: str, kind: type[Any]) -> list[Described]:
    """Every switch of a class, its meaning read from the text under the attribute."""
    meanings = _meanings(kind)
    types = _types(kind)
    return [
        Described(
            name=f"{prefix}.{field.name}",
            takes=words(types[field.name]),
            default=str(field.default),
            meaning=meanings.get(field.name, ""),
        )
        for field in dataclasses.fields(kind)
    ]


def words(kind: Any) -> str:
    """What a switch takes, in words."""
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(str(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"{len(typing.get_args(kind))} words"
    plain = {bool: "true, false", int: "a number", float: "a number", str: "text", type(None): "none"}
    if kind in plain:
        return plain[kind]
    return ", ".join(words(part) for part in typing.get_args(kind))


def markdown(others: Mapping[str, type[Any]]) -> str:
    """The page of all switches; ``others`` are those of further simulators, set from Python only."""
    lines = [
        "# The simulators' switches",
        "",
        "What nobody knows for sure of the real things is a named switch; a client must survive every position. In the",
        "vCenter simulator: `simulate vcenter --switch NAME=VALUE`, `simulate control switch NAME VALUE` on a running",
        "one, `set_switch` in a scenario file, `VCenterSimulator(switches={...})` in Python.",
        "Generated from the code by `make docs`; do not edit.",
        "",
    ]
    for prefix, kind in {**PARTS, **others}.items():
        doc = (sys.modules[kind.__module__].__doc__ or "").strip().partition("\n")[0]
        lines += [f"## `{prefix}`", "", doc, "", "| switch | takes | default | means |", "|---|---|---|---|"]
        for item in describe(prefix, kind):
            lines.append(f"| `{item.name}` | {item.takes} | `{item.default}` | {item.meaning} |")
        lines.append("")
    return "\n".join([*lines, *_questions()])


def _questions() -> list[str]:
    lines = [
        "## What is not known",
        "",
        "What would have to be tried on a real vCenter, and the switches that stand for the answers.",
        "",
        "| about | question | switches |",
        "|---|---|---|",
    ]
    for item in OPEN_QUESTIONS:
        answer = ", ".join(f"`{name}`" for name in item.switches) or item.instead
        lines.append(f"| {item.subject} | {item.question} | {answer} |")
    return [*lines, ""]


def _types(kind: type[Any]) -> dict[str, Any]:
    module = sys.modules[kind.__module__]
    known = {**vars(typing), **vars(module)}
    return typing.get_type_hints(kind, globalns=known)


def _meanings(kind: type[Any]) -> dict[str, str]:
    body = typing.cast("ast.ClassDef", ast.parse(inspect.getsource(kind)).body[0]).body
    found = {}
    for item, after in itertools.pairwise(body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[item.target.id] = " ".join(str(after.value.value).split()).replace("|", "\\|")
    return found
