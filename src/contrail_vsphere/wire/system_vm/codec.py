"""JSON of the System VM API's values, both directions. What is None is not sent; unknown fields are not looked at."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from contrail_vsphere.model.errors import ProtocolError

T = TypeVar("T")


_ADAPTERS: dict[object, TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def encode(value: Any) -> bytes:
    """A value of ``spec`` or ``state`` as the body of a request or an answer."""
    return _adapter(type(value)).dump_json(value, exclude_none=True)


def plain(value: Any) -> Any:
    """The same as Python's own objects, to stand inside another value."""
    return _adapter(type(value)).dump_python(value, mode="json", exclude_none=True)


def decode(kind: type[T], data: bytes) -> T:
    """The value of that type in a body. ProtocolError names what does not fit."""
    try:
        return cast("T", _adapter(kind).validate_json(data or b"{}"))
    except ValidationError as error:
        raise ProtocolError(_words(error)) from error


def convert(kind: type[T], value: Any) -> T:
    """The same from Python's own objects: the result of a task."""
    try:
        return cast("T", _adapter(kind).validate_python(value))
    except ValidationError as error:
        raise ProtocolError(_words(error)) from error


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}"
