"""Scalars as text on the wire, both ways, one table."""

from __future__ import annotations

import base64
import binascii
import functools
import math
import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import ProtocolError

_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def _escape_one(match: re.Match[str]) -> str:
    try:
        return _ESCAPES[match.group()]
    except KeyError:
        raise ValueError(f"character U+{ord(match.group()):04X} cannot travel in XML") from None


def escape(text: str) -> str:
    """Text content of an element. Raises ValueError for characters that XML 1.0 does not have."""
    return _SPECIAL.sub(_escape_one, text) if _SPECIAL.search(text) else text


def is_dynamic(cls: Any) -> bool:
    """Types that name other things of the API (TypeName, MethodName, PropertyPath); as Any they travel as strings."""
    return cls is type or cls is VmomiSupport.PropertyPath or cls is VmomiSupport.ManagedMethod


# -- to the wire ------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return escape(value)


def _boolean(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise TypeError(f"expected a bool, got {value!r}")


def _integer(value: Any) -> str:
    return str(operator.index(value) + 0)


def _real(value: Any) -> str:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "INF" if number > 0 else "-INF"
    return repr(number)


def _moment(value: Any) -> str:
    if value.tzinfo is None:
        raise TypeError(f"{value!r} has no time zone; it would travel as if it were UTC")
    return str(value.astimezone(UTC).isoformat()).replace("+00:00", "Z")


def _bytes(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def _type_name(value: Any) -> str:
    return escape(value) if isinstance(value, str) else str(VmomiSupport.GetWsdlName(value))


def _method_name(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    return escape(value.name) if isinstance(value, VmomiSupport.UnknownManagedMethod) else str(value.info.wsdlName)


def _link(value: Any) -> str:
    """A link travels as the key of the object it points to."""
    return escape(value if isinstance(value, str) else value.key)


def _choice(cls: Any) -> Callable[[Any], str]:
    known = {str(value): str(value) for value in cls.values}

    def write(value: Any) -> str:
        text = known.get(value)
        if text is not None:
            return text
        if type(value) is cls:  # a newer server's value, decoded and now sent back
            return escape(value)
        raise TypeError(f"{cls.__name__} has no value {value!r}")

    return write


@functools.lru_cache(maxsize=4096)
def writer(cls: Any) -> Callable[[Any], str]:
    """Value -> text, for a scalar type. What it gets is made to fit the declared type, or is a TypeError."""
    for kind, write in _WRITERS:
        if cls is kind:
            return write
    if issubclass(cls, VmomiSupport.Enum):
        return _choice(cls)
    if issubclass(cls, int):
        return _integer
    if issubclass(cls, float):
        return _real
    if issubclass(cls, bytes):
        return _bytes
    if issubclass(cls, datetime):
        return _moment
    if issubclass(cls, str):
        return _text
    raise TypeError(f"{cls!r} is not a scalar")


_WRITERS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (bool, _boolean),
    (type, _type_name),
    (VmomiSupport.ManagedMethod, _method_name),
    (VmomiSupport.Link, _link),
)


# -- from the wire ----------------------------------------------------------------------------------------------------


_LEAST, _MOST = -(2**63), 2**63 - 1
"""No type of the API is longer; peers are trusted to know which of their numbers have 32 bits."""


def _read_boolean(text: str) -> Any:
    word = text.strip().lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    return _empty(word, "boolean")


def _empty(text: str, kind: str) -> None:
    """Some servers write empty elements for unset properties; anything else is an error."""
    if text.strip():
        raise ProtocolError(f"{text.strip()[:80]!r} is not a {kind}")


def _read_integer(text: str) -> Any:
    try:
        number = int(text)
    except ValueError:
        return _empty(text, "number")
    return number if _LEAST <= number <= _MOST else _empty(text, "number of 64 bits")


def _read_real(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return _empty(text, "number")


def _read_moment(text: str) -> Any:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return _empty(text, "time")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _read_bytes(text: str) -> Any:
    try:
        return VmomiSupport.binary(base64.b64decode(text))
    except (binascii.Error, ValueError):
        return _empty(text, "base64 text")


def _read_type_name(text: str) -> Any:
    name = text.strip().rpartition(":")[2]
    if not name:
        return None
    try:
        return VmomiSupport.GuessWsdlType(name)
    except KeyError:
        return name


def _read_method_name(text: str) -> Any:
    name = text.strip().rpartition(":")[2]
    if not name:
        return None
    try:
        return VmomiSupport.GuessWsdlMethod(name)
    except KeyError:
        return VmomiSupport.UnknownManagedMethod(name)


def _read_choice(cls: Any) -> Callable[[str], Any]:
    known = {str(value): value for value in cls.values}

    def read(text: str) -> Any:
        value = known.get(text)
        if value is None:
            text = text.strip()
            value = known.get(text) or (cls(text) if text else None)
        return value

    return read


@functools.lru_cache(maxsize=4096)
def reader(cls: Any) -> Callable[[str], Any]:
    """Text -> value, for a scalar type; an unknown enum value stays what it is, in the enum's class.

    Empty text is None where it cannot be a value. Raises ProtocolError for text of another type. Names of unknown types
    stay strings, those of unknown methods become pyVmomi's UnknownManagedMethod.
    """
    if cls is str:
        return str
    if cls is bool:
        return _read_boolean
    if cls is int:
        return _read_integer
    if cls is type:
        return _read_type_name
    if cls is VmomiSupport.ManagedMethod:
        return _read_method_name
    if issubclass(cls, VmomiSupport.Enum):
        return _read_choice(cls)
    if issubclass(cls, int):
        return _narrow(cls, _read_integer)
    if issubclass(cls, float):
        return _read_real if cls is float else _narrow(cls, _read_real)
    if issubclass(cls, bytes):
        return _read_bytes
    if issubclass(cls, datetime):
        return _read_moment
    if issubclass(cls, str):
        read: Callable[[str], Any] = cls
        return read
    raise TypeError(f"{cls!r} is not a scalar")


def _narrow(cls: Any, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """The bindings' own ``long``, ``short`` ...: as Any a value's class decides its type on the way back."""

    def narrow(text: str) -> Any:
        value = read(text)
        return None if value is None else cls(value)

    return narrow
