"""Making pyVmomi values cheaply.

A pyVmomi constructor checks every field and costs ten times what copying a blank value costs; a projection of one VM
makes fifty of them. The field names are still checked against the type's table, once per combination.
"""

from __future__ import annotations

import functools
from typing import Any

from contrail_vsphere.simulator.core.entity import Entity


@functools.lru_cache(maxsize=2048)
def _blank(cls: Any) -> dict[str, Any]:
    return dict(cls().__dict__)


@functools.lru_cache(maxsize=8192)
def _check_names(cls: Any, names: tuple[str, ...]) -> None:
    unknown = set(names) - set(_blank(cls))
    if unknown:
        raise AttributeError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")


def data_object(cls: Any, /, **fields: Any) -> Any:
    """A value of pyVmomi data type ``cls`` with these fields; entities become references. Treat it as immutable.

    Raises AttributeError for a field the type does not have; types of the fields are not checked.
    """
    _check_names(cls, tuple(fields))
    value = cls.__new__(cls)
    state = value.__dict__
    state.update(_blank(cls))
    for name, field in fields.items():
        if isinstance(field, Entity):
            state[name] = field.ref
        elif isinstance(field, tuple):
            state[name] = [item.ref if isinstance(item, Entity) else item for item in field]
        else:
            state[name] = field
    return value


def merged(base: Any, patch: Any) -> Any:
    """``base`` with every field that ``patch`` sets put over it: the partial semantics of DVS reconfiguration.

    Nested values of the same type merge field by field, values of another type and non-empty arrays replace.
    """
    kind: Any = type(base)
    if base is None or not isinstance(base, type(patch)):
        return patch
    changed = {}
    for name in _blank(kind):
        new = getattr(patch, name, None)
        if new is None or (isinstance(new, list) and not new):
            continue
        old = getattr(base, name)
        changed[name] = merged(old, new) if _is_data(new) and _is_data(old) else new
    return data_object(kind, **{**base.__dict__, **changed})


def _is_data(value: Any) -> bool:
    """References have property tables too."""
    return hasattr(value, "_propInfo") and not hasattr(value, "_moId")


def same(one: Any, other: Any) -> bool:
    """Whether two pyVmomi values say the same (their own ``==`` is identity)."""
    if one is other:
        return True
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if type(one) is not type(other):
        return False
    if hasattr(one, "_moId"):
        return bool(one._moId == other._moId)
    if _is_data(one):
        kind: Any = type(one)
        return all(same(getattr(one, name), getattr(other, name)) for name in _blank(kind))
    return bool(one == other)
