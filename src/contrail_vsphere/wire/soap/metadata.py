"""Methods, parameters and property paths of the vSphere API, from pyVmomi's type tables.

pyVmomi keeps them as lazily loaded objects behind a lock; here they are looked up once and kept as plain values, so
that codec, client and simulator share one table and none of them touches pyVmomi's internals on a hot path.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.wire.soap.types import managed_class
from contrail_vsphere.wire.soap.versions import EAM, VERSIONS, VIM, version_id, version_of

__all__ = [
    "EAM",
    "VERSIONS",
    "VIM",
    "Method",
    "Parameter",
    "fetch_method",
    "find_method",
    "is_optional",
    "method_of",
    "namespace_of",
    "properties_of",
    "property_type",
    "version_id",
    "version_of",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a method, or a property of a data object."""

    name: str
    type: Any
    """pyVmomi class: DataObject, ManagedObject, Enum, Array or a scalar; ``object`` is xsd:anyType."""
    flags: int
    version: str

    @property
    def optional(self) -> bool:
        """May be left out."""
        return bool(self.flags & VmomiSupport.F_OPTIONAL)

    @property
    def many(self) -> bool:
        """An array: its elements are repeated on the wire."""
        return issubclass(self.type, list)


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of a managed object type; compared by identity, there is one value per method."""

    namespace: str
    name: str
    """On the wire, e.g. ``PowerOnVM_Task``; unique in its namespace."""
    info: Any
    """pyVmomi's own record; None for Fetch."""
    params: tuple[Parameter, ...]
    result: Any
    """Declared type of ``returnval``; NoneType for void. A ``*_Task`` method returns a Task."""
    result_optional: bool
    version: str
    by_name: dict[str, Parameter]

    @property
    def fetch(self) -> bool:
        """Property access (``Fetch``): not in the WSDL, its result travels with an explicit type."""
        return self.info is None


def is_optional(flags: int) -> bool:
    """Whether a pyVmomi property with these flags may be unset."""
    return bool(flags & VmomiSupport.F_OPTIONAL)


@functools.lru_cache(maxsize=8192)
def namespace_of(version: str) -> str:
    """XML namespace of what came with that version, e.g. ``urn:vim25``."""
    return str(VmomiSupport.GetInternedWsdlNamespace(version))


@functools.lru_cache(maxsize=16384)
def properties_of(cls: Any) -> tuple[Parameter, ...]:
    """All properties of a data object type, base class first: the order in which they travel."""
    return tuple(Parameter(info.name, info.type, info.flags, info.version) for info in cls._GetPropertyList())


@functools.lru_cache(maxsize=8192)
def find_method(namespace: str, wire_name: str) -> Method | None:
    """The method of that name on the wire, or None; EAM's names (``Update``) are unique only within urn:eam."""
    try:
        found = VmomiSupport.GetWsdlMethod(namespace, wire_name)
    except KeyError:
        return None
    return _method(found.info)


def wire_names(namespace: str) -> frozenset[str]:
    """Of all methods of a namespace."""
    # pyVmomi keeps the map to itself, and has no other list.
    return frozenset(name for where, name in VmomiSupport._wsdlMethodMap if where == namespace)


@functools.lru_cache(maxsize=8192)
def _method(info: Any) -> Method:
    params = tuple(Parameter(param.name, param.type, param.flags, param.version) for param in info.params)
    return Method(
        namespace=namespace_of(info.version),
        name=info.wsdlName,
        info=info,
        params=params,
        result=info.result,
        result_optional=is_optional(info.resultFlags),
        version=info.version,
        by_name={param.name: param for param in params},
    )


def method_of(cls_or_obj: Any, name: str) -> Method:
    """The method a managed object (or class) has under its wire or its Python name; KeyError when it has none."""
    return _method_of(cls_or_obj if isinstance(cls_or_obj, type) else type(cls_or_obj), name)


@functools.lru_cache(maxsize=8192)
def _method_of(cls: type, name: str) -> Method:
    for base in cls.__mro__:
        infos = vars(base).get("_methodInfo", {})
        if name in infos:
            return method_from_info(infos[name])
        for info in infos.values():
            if info.wsdlName == name:
                return method_from_info(info)
    raise KeyError(f"{cls.__name__} has no method {name}")


def method_from_info(info: Any) -> Method:
    """The one Method value for pyVmomi's record."""
    return find_method(namespace_of(info.version), info.wsdlName) or _method(info)


@functools.lru_cache(maxsize=8192)
def fetch_method(cls: Any, path: str) -> Method:
    """``Fetch`` of one property of a managed object type: how pyVmomi reads attributes. KeyError if it has none."""
    declared = _property_type(cls, path)
    namespace = namespace_of(cls._version)
    prop = Parameter("prop", str, 0, VmomiSupport.BASE_VERSION)
    return Method(
        namespace=namespace,
        name="Fetch",
        info=None,
        params=(prop,),
        result=declared,
        result_optional=True,
        version=VmomiSupport.BASE_VERSION,
        by_name={"prop": prop},
    )


def property_type(wsdl: str, path: str, namespace: str = VIM) -> Any:
    """Declared type of a property path (``config.hardware.device[4000].backing``) of a managed object type.

    Indexing an array by key gives its item type. A name that only subclasses of the declared type have is found there
    (``config.defaultPortConfig.vlan``: only a VMware switch's setting has it). KeyError when there is no such path.
    """
    return _property_type(managed_class(wsdl, namespace), path)


_STEP = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_]*)|\[[^\]]*\]")


@functools.lru_cache(maxsize=16384)
def _property_type(cls: Any, path: str) -> Any:
    current, position = cls, 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise KeyError(path)
        position = step.end()
        if step.group(1) is None:
            if not issubclass(current, list):
                raise KeyError(path)
            current = current.Item
        else:
            current = _declared(current, step.group(1), path)
    if not path:
        raise KeyError(path)
    return current


def _declared(cls: Any, name: str, path: str) -> Any:
    try:
        return cls._GetPropertyInfo(name).type
    except AttributeError:
        pass
    if not issubclass(cls, VmomiSupport.DataObject):
        raise KeyError(path)
    types = {info[1] for kind in _descendants(cls.__name__) for info in kind[4] or () if info[0] == name}
    if not types:
        raise KeyError(path)
    return VmomiSupport.GetVmodlType(types.pop()) if len(types) == 1 else object


@functools.lru_cache(maxsize=1)
def _children() -> dict[str, list[Any]]:
    children: dict[str, list[Any]] = defaultdict(list)
    for definition in VmomiSupport._dataDefMap.values():
        children[definition[2]].append(definition)
    return children


def _descendants(vmodl_name: str) -> list[Any]:
    found, waiting = [], [vmodl_name]
    while waiting:
        below = _children().get(waiting.pop(), [])
        found.extend(below)
        waiting.extend(definition[0] for definition in below)
    return found
