"""Making data objects without pyVmomi's constructors.

Those rebuild the property list and check every attribute, and cost some 10 us per object; a server that makes 50 of
them per virtual machine, or a decoder, cannot afford that. What is wrong in such an object shows when it is written.
"""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from pyVmomi import VmomiSupport

from contrail_vsphere.wire.soap.metadata import properties_of

T = TypeVar("T")


class Raw(str):
    """A piece of XML, tags included, given where a value is expected; it is written as it is."""

    __slots__ = ()
    # What pyVmomi's own attribute check asks of a type; it lets Raw be assigned to properties of type Any.
    _version = VmomiSupport.BASE_VERSION
    _wsdlName = "anyType"  # noqa: N815


@functools.lru_cache(maxsize=16384)
def defaults_of(cls: Any) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """What an empty object of that type holds: scalars, and (name, array class) of those that need a fresh array."""
    scalars: dict[str, Any] = {}
    arrays: list[tuple[str, Any]] = []
    for prop in properties_of(cls):
        if prop.many:
            arrays.append((prop.name, prop.type))
        else:
            scalars[prop.name] = None if prop.optional else _required_default(prop.type)
    return scalars, tuple(arrays)


def _required_default(kind: Any) -> Any:
    """As pyVmomi's constructor has it: zero, empty string, False, and None for everything else."""
    if kind is bool:
        return False
    if kind is object or issubclass(kind, VmomiSupport.Enum):
        return None
    if issubclass(kind, str):
        return ""
    if issubclass(kind, int | float):
        return kind(0)
    return None


def new(cls: type[T]) -> T:
    """An empty data object."""
    kind: Any = cls
    scalars, arrays = defaults_of(kind)
    value = cls.__new__(cls)
    state = value.__dict__
    state.update(scalars)
    for name, array in arrays:
        state[name] = array()
    return value


def build(cls: type[T], /, **fields: Any) -> T:
    """A data object with these properties, unchecked until it is written.

    Unlike pyVmomi's constructor it takes ``Raw`` fragments, simulator entities where references belong, and plain
    lists. An unknown property name is a TypeError.
    """
    value = new(cls)
    state = value.__dict__
    if not fields.keys() <= state.keys():
        raise TypeError(f"{cls.__name__} has no property {', '.join(sorted(fields.keys() - state.keys()))}")
    state.update(fields)
    return value


def reference(cls: type[T], moid: str) -> T:
    """A reference without a stub, made without pyVmomi's guarded constructor."""
    ref = cls.__new__(cls)
    ref.__dict__.update(_moId=moid, _stub=None, _serverGuid=None)
    return ref
