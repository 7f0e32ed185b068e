"""Partial updates of arrays whose elements have keys: ``config.hardware.device[4000]`` added, assigned or removed.

A client with partial updates may be told of single elements, as long as it is known what it was told of the array
before. That is remembered with the version it was told in: whoever comes back with an older version, because the
answer got lost, is told the whole array again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter.fragments import read
from contrail_vsphere.simulator.vcenter.property_wire import change
from contrail_vsphere.wire.soap.encode import encode_property
from contrail_vsphere.wire.soap.metadata import property_type
from contrail_vsphere.wire.soap.shapes import DataObject
from contrail_vsphere.wire.soap.values import Raw

Elements = dict[str, str]
"""``[4000]`` or ``["name"]`` -> the element as ``<val>``."""


@dataclass(slots=True)
class ToldArrays:
    """By filter, object and path: the version in which the array was last told, and its elements."""

    _told: dict[tuple[str, str, str], tuple[int, Elements]] = field(default_factory=dict)

    def forget(self, filter_moid: str) -> None:
        """The filter went."""
        for key in [key for key in self._told if key[0] == filter_moid]:
            del self._told[key]

    def entered(self, filter_moid: str, entity: Entity, paths: Iterable[str], *, version: int, api: str) -> None:
        """The client is told all of the object in this version."""
        for key in [key for key in self._told if key[:2] == (filter_moid, entity.moid)]:
            del self._told[key]
        for path in paths:
            now = _elements(entity, path, api)
            if now is not None:
                self._told[filter_moid, entity.moid, path] = (version, now)

    def changed(
        self, filter_moid: str, entity: Entity, path: str, *, base: int, version: int, api: str
    ) -> list[Raw] | None:
        """What to tell a client that knows version ``base``; None: the whole property."""
        key = (filter_moid, entity.moid, path)
        at, before = self._told.pop(key, (0, None))
        now = _elements(entity, path, api)
        if now is None:
            return None
        self._told[key] = (version, now)
        if before is None or at > base:
            return None
        gone = [change(path + element, "remove", "") for element in before if element not in now]
        rest = [
            change(path + element, "assign" if element in before else "add", value)
            for element, value in now.items()
            if before.get(element) != value
        ]
        return gone + rest


def _elements(entity: Entity, path: str, api: str) -> Elements | None:
    """None for anything but an array of data objects that have keys, each its own."""
    kind = _keyed(entity.wsdl, path, entity.namespace)
    if kind is None:
        return None
    value = read(entity, path)
    if not value:
        return None
    found: Elements = {}
    for item in value:
        name = f"[{item.key}]" if isinstance(item.key, int) else f'["{item.key}"]'
        found[name] = encode_property(kind, item, version=api)
    return found if len(found) == len(value) else None


@functools.lru_cache(maxsize=4096)
def _keyed(wsdl: str, path: str, namespace: str) -> Any:
    """Type of the elements, for a path to an array of values with keys."""
    try:
        declared = property_type(wsdl, path, namespace)
    except KeyError:
        return None
    if not issubclass(declared, list) or not issubclass(declared.Item, DataObject):
        return None
    names = {info.name for info in declared.Item._GetPropertyList()}
    return declared.Item if "key" in names else None
