"""Checks of property values, in the order and with the texts of the config API.

Top-level properties that the API does not know are dropped silently; inside a structure an unknown field is an error.
Required fields are not enforced, a null is taken everywhere. Source: observed answers, and the server's validation of
simple and complex types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contrail_vsphere.wire.contrail.schema import Member, ResourceType, structure, wrapper


class BadValueError(ValueError):
    """A value that the API refuses; the text is the server's."""


def check_property(kind: ResourceType, name: str, value: Any) -> None:
    """Check one property of a request. BadValueError."""
    member = kind.properties[name]
    try:
        _check(name, member, value)
    except BadValueError as error:
        raise BadValueError(f"Error validating property {error}") from None
    if (name in kind.lists or name in kind.maps) and value is not None:
        inner = value.get(wrapper(kind, name)) if isinstance(value, Mapping) else None
        if inner is not None and not isinstance(inner, list):
            raise BadValueError(f"Error validating property {name} value {value}: expected a list")


def check_attribute(structure_name: str, value: Any) -> None:
    """Check the ``attr`` of a reference. BadValueError."""
    if value is not None and structure_name:
        _check_structure(structure_name, value)


def _check(name: str, member: Member, value: Any) -> None:
    if value is None:
        return
    if member.structured:
        try:
            _check_structure(member.type, value)
        except BadValueError as error:
            raise BadValueError(f"{name} value {value} is not valid: {error}") from None
    else:
        _check_simple(name, member, value)


def _check_structure(type_name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise BadValueError(f"{type_name} expected instead of {value}")
    fields = structure(type_name)
    for key, inner in value.items():
        member = fields.get(key)
        if member is None:
            raise BadValueError(f"class {type_name} does not have field {key}")
        if inner is None:
            continue
        if member.array and not isinstance(inner, list):
            raise BadValueError(f"Field {key} must be a list. Received value: {inner}")
        for item in inner if member.array else [inner]:
            if member.structured:
                if item is not None:
                    _check_structure(member.type, item)
            else:
                _check_simple(key, member, item)


def _check_simple(name: str, member: Member, value: Any) -> None:
    match member.type:
        case "boolean":
            if not isinstance(value, bool):
                raise BadValueError(f"{name}: true/false expected instead of {value}")
        case "integer" | "unsignedInt" | "unsignedLong":
            number = _integer(value)
            if number is None:
                raise BadValueError(f"{name}: integer value expected instead of {value}")
            if member.range is not None and not member.range[0] <= number <= member.range[1]:
                raise BadValueError(f"{name}: value must be between {member.range[0]} and {member.range[1]}")
        case "float":
            if not isinstance(value, int | float):
                raise BadValueError(f"{name}: float value expected instead of {value}")
        case _:
            if not isinstance(value, str):
                raise BadValueError(f"{name}: string value expected instead of {value}")
            if member.enum and value not in member.enum:
                raise BadValueError(f"{name}: value must be one of {list(member.enum)}")


def _integer(value: Any) -> int | None:
    """Numbers in texts pass, as the server converts them before it looks at the range."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
