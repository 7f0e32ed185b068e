"""Events about inventory objects, with the arguments vCenter fills in: where the object is and what it is called."""

from __future__ import annotations

import functools
from typing import Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim


def argument(entity: ManagedEntity) -> Any:
    """The ``*EventArgument`` that names this object; it outlives the object."""
    return data_object(entity.argument_class, name=entity.name, **{entity.argument_name: entity})


def inventory_event(cls: Any, entity: ManagedEntity, /, **fields: Any) -> Any:
    """An event of type ``cls`` about ``entity``: its own argument and those of the places it is in are filled in.

    ``fields`` come on top; those that are entities become event arguments.
    """
    names = _names(cls)
    known: dict[str, Any] = {"userName": "", "fullFormattedMessage": _message(cls, entity)}
    for place in entity.event_places():
        name = place.event_field or place.argument_name
        if name in names and name not in known:
            known[name] = argument(place)
    if "template" in names:
        known["template"] = bool(getattr(entity, "template", False))
    for name, value in fields.items():
        known[name] = argument(value) if isinstance(value, ManagedEntity) else value
    return data_object(cls, **known)


@functools.lru_cache(maxsize=256)
def _names(cls: Any) -> frozenset[str]:
    return frozenset(info.name for info in cls._GetPropertyList())


def _message(cls: Any, entity: ManagedEntity) -> str:
    """``VmPoweredOnEvent`` on web-1 -> ``Vm powered on: web-1``; vCenter has a message catalogue instead."""
    name = cls.__name__.rsplit(".", 1)[-1].removesuffix("Event")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return f"{words.capitalize()}: {entity.name}"


def changes(modified: str = "", added: str = "", deleted: str = "") -> Any:
    """ChangesInfoEventArgument: what a reconfiguration did, in text."""
    return data_object(
        vim.event.ChangesInfoEventArgument, modified=modified or None, added=added or None, deleted=deleted or None
    )
