"""Objects from flags, as the seed era's client took them: ``--id s1 --network.interfaces[0].name eth0 --tags tag1=dc``.

The name of a flag is a path into the JSON document; what the path is, the document's own checks decide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from contrail_vsphere.model.errors import UsageError

LISTS: Final = ("roles", "email")
"""Fields that take several values with commas between them."""
NUMBERS: Final = ("ssh_port",)
MOST: Final = 64
"""Entries of a list that a flag may name: one typing error must not make a list of millions."""
_PART: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)((?:\[[0-9]{1,4}\])*)")


def document(arguments: Sequence[str]) -> dict[str, Any]:
    """The document that the flags spell; ``UsageError`` for what is no flag with a value, or a path that clashes."""
    made: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise UsageError(f"{flag!r} is no field", hint="--NAME VALUE, or --file")
        name, has_value, value = flag[2:].partition("=")
        if not has_value:
            if not rest:
                raise UsageError(f"--{name} needs a value")
            value = rest.pop(0)
        if name == "tags":
            made["tag"] = {**made.get("tag", {}), **_pairs(value)}
        else:
            _put(made, name, _value(name, value))
    if not made.get("id"):
        raise UsageError("which object", hint="--id ID, or --file FILE")
    return made


def _pairs(text: str) -> dict[str, str]:
    pairs = dict(each.partition("=")[::2] for each in text.split(",") if each)
    if not all(pairs.values()):
        raise UsageError(f"--tags {text!r}", hint="--tags tag1=datacenter,tag2=floor")
    return pairs


def _value(name: str, text: str) -> Any:
    if name in LISTS:
        return [each.strip() for each in text.split(",") if each.strip()]
    if name in NUMBERS and text.isascii() and text.isdigit():
        return int(text)
    if text in ("true", "false", "null") or text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise UsageError(f"--{name}: the value is not JSON: {error}") from error
    return text


def _steps(name: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in name.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise UsageError(f"--{name} is no path", hint="--network.interfaces[0].name eth0")
        steps += [match[1], *(int(each) for each in re.findall(r"[0-9]+", match[2]))]
    return steps


def _put(root: dict[str, Any], name: str, value: Any) -> None:
    steps = _steps(name)
    place: Any = root
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        fitting = isinstance(place, list) if isinstance(step, int) else isinstance(place, dict)
        if not fitting:
            raise UsageError(f"--{name} does not fit the other fields")
        if isinstance(step, int):
            if step >= MOST:
                raise UsageError(f"--{name}: at most {MOST} entries; use --file")
            place.extend(None for _ in range(step + 1 - len(place)))
            if place[step] is None:
                place[step] = _empty(following)
        elif step not in place:
            place[step] = _empty(following)
        if following is None:
            place[step] = value
        place = place[step]


def _empty(following: str | int | None) -> Any:
    return None if following is None else [] if isinstance(following, int) else {}
