"""State of simulated objects as JSON and back: the same attributes, with marks where JSON has no word for a value.

A tuple is a JSON array, an object a mark ``{"$": id}``; values of our own (cards, disks, ports ...) carry the name of
their class, pyVmomi values travel as XML of the wire. Only classes of the simulator itself can be named in a file.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.dvs_table import PortTable
from contrail_vsphere.wire.soap.metadata import EAM, VIM
from contrail_vsphere.wire.soap.objects import value_from_text, value_to_text
from contrail_vsphere.wire.soap.types import managed_class

PACKAGE = "contrail_vsphere.simulator."
WIRE = "contrail_vsphere.wire.vib.bundle"
"""Values of the wire that are state as well: hosts have VIBs. Kept under their whole names."""
NOT_KEPT = frozenset({"recent_tasks", "busy_chain", "entering_maintenance", "standby_change", "lock"})
"""What belongs to work under way: that is not kept, so objects are at rest in a file."""


def class_name(cls: type) -> str:
    """``vcenter.devices.NicState``."""
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix(PACKAGE)


@functools.lru_cache(maxsize=512)
def class_named(name: str) -> Any:
    """The class of that name; KeyError when the simulator has none."""
    module, _, cls = name.rpartition(".")
    if not all(part.isidentifier() for part in (*module.split("."), cls)):
        raise KeyError(name)
    try:
        full = module if module == WIRE else PACKAGE + module
        found = getattr(importlib.import_module(full), cls)
    except (ImportError, AttributeError) as error:
        raise KeyError(name) from error
    if not isinstance(found, type) or found.__module__ != full:
        raise KeyError(name)
    return found


@functools.lru_cache(maxsize=512)
def _fields_of(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    """Attributes of an object that are kept."""
    dropped = {"world", "moid"} | NOT_KEPT
    found = (item for item in dataclasses.fields(cls) if item.init and not item.name.startswith("_"))
    return tuple(item for item in found if item.name not in dropped)


def default_of(item: dataclasses.Field[Any]) -> Any:
    """The default; MISSING when there is none."""
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


class Encoder:
    """``seen`` is called with every object that a value refers to."""

    def __init__(self, seen: Callable[[Entity], None]) -> None:
        self._seen = seen

    def state(self, value: Any) -> dict[str, Any]:
        """Attributes that are not what they are by default."""
        found = {}
        kind: Any = type(value)
        for item in _fields_of(kind):
            now, usual = getattr(value, item.name), default_of(item)
            if now is usual or (type(now) is type(usual) and now == usual):
                continue
            found[item.name] = self.value(now)
        return found

    def value(self, value: Any) -> Any:
        """JSON. TypeError for what cannot be kept."""
        if isinstance(value, Enum):
            return {"$enum": [class_name(type(value)), value.name]}
        if value is None or isinstance(value, str | int | float):
            return str(value) if isinstance(value, str) else value
        if isinstance(value, Entity):
            self._seen(value)
            return {"$": value.moid}
        if isinstance(value, tuple):
            return [self.value(item) for item in value]
        if isinstance(value, PortTable):
            return {"$ports": [self.value(port) for port in value.ports.values()]}
        return self._marked(value)

    def _marked(self, value: Any) -> dict[str, Any]:
        if isinstance(value, VmomiSupport.ManagedObject):
            kind: Any = type(value)
            return {"$ref": [_namespace(kind), VmomiSupport.GetWsdlName(kind), value._moId]}
        if isinstance(value, VmomiSupport.DataObject):
            namespace = _namespace(type(value))
            return {"$soap": [namespace, value_to_text(value, namespace)]}
        if isinstance(value, type) and issubclass(value, VmomiSupport.ManagedObject):
            return {"$class": [_namespace(value), VmomiSupport.GetWsdlName(value)]}
        if isinstance(value, datetime):
            return {"$time": value.isoformat()}
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, list | set | frozenset):
            items = [self.value(item) for item in value]
            return {f"${type(value).__name__}": items if isinstance(value, list) else sorted(items)}
        if isinstance(value, Mapping):
            return {"$map": [[self.value(key), self.value(item)] for key, item in value.items()]}
        if dataclasses.is_dataclass(value) and type(value).__module__.startswith((PACKAGE, WIRE)):
            return {"$value": class_name(type(value)), "of": self.state(value)}
        raise TypeError(f"a {type(value).__name__} cannot be kept")


def _namespace(cls: Any) -> str:
    return EAM if str(cls.__name__).startswith("eam.") else VIM


class Decoder:
    """``find`` gives the object of an id; KeyError for one that the file does not have."""

    def __init__(self, find: Callable[[str], Entity]) -> None:
        self._readers: dict[str, Callable[[Any], Any]] = {
            "$": find,
            "$time": datetime.fromisoformat,
            "$bytes": base64.b64decode,
            "$enum": lambda value: class_named(value[0])[value[1]],
            "$ref": lambda value: managed_class(value[1], value[0])(value[2]),
            "$class": lambda value: managed_class(value[1], value[0]),
            "$soap": lambda value: value_from_text(value[1], value[0]),
            "$list": lambda items: [self.value(item) for item in items],
            "$set": lambda items: {self.value(item) for item in items},
            "$frozenset": lambda items: frozenset(self.value(item) for item in items),
            "$map": lambda pairs: {self.value(key): self.value(item) for key, item in pairs},
            "$ports": self._ports,
        }

    def value(self, value: Any) -> Any:
        """The value that the JSON stands for. KeyError, TypeError or ValueError when it stands for none."""
        if isinstance(value, list):
            return tuple(self.value(item) for item in value)
        if not isinstance(value, dict):
            return value
        if "$value" in value:
            cls = class_named(value["$value"])
            return cls(**{name: self.value(item) for name, item in value["of"].items()})
        ((mark, content),) = value.items()
        return self._readers[mark](content)

    def fill(self, entity: Entity, state: Mapping[str, Any]) -> None:
        """Set an object's attributes from its state; those that are missing get their defaults."""
        kind: Any = type(entity)
        kept = {item.name: item for item in _fields_of(kind)}
        unknown = sorted(set(state) - set(kept))
        if unknown:
            raise KeyError(f"{type(entity).__name__}.{unknown[0]}")
        for item in dataclasses.fields(entity):
            if item.name in ("world", "moid"):
                continue
            value = self.value(state[item.name]) if item.name in state else default_of(item)
            if value is dataclasses.MISSING:
                raise KeyError(f"{type(entity).__name__}.{item.name} is missing")
            setattr(entity, item.name, value)

    def _ports(self, ports: list[Any]) -> PortTable:
        table = PortTable()
        for item in ports:
            table.restore(self.value(item))
        return table
