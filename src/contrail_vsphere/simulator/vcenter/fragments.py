"""Property values as XML, kept until a commit touches them.

Reading the same property of ten thousand virtual machines again costs a dictionary look-up each instead of building and
writing pyVmomi values. What is kept is right only as long as every commit says which paths it changes (``Entity.shows``
and ``Transaction.touch``); with ``verify`` every hit is compared with a fresh value, and a difference is an error that
names the object and path. Tests run that way.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.paths import overlap
from contrail_vsphere.simulator.core.world import Committed, World
from contrail_vsphere.wire.soap.encode import encode_property
from contrail_vsphere.wire.soap.metadata import property_type

log = logging.getLogger(__name__)

LIMIT = 256 << 20
"""Characters kept; beyond it everything is dropped at once (a walk over all objects fills it again)."""


class StaleFragmentError(AssertionError):
    """A property changed without a commit that said so."""


class Fragments:
    """``<val ...>`` elements by object, path and version."""

    def __init__(self, world: World, *, verify: bool = False) -> None:
        self._world = world
        self._kept: dict[str, dict[tuple[str, str], str]] = {}
        self._size = 0
        self.verify = verify
        world.observe(self._forget)

    def value(self, entity: Entity, path: str, version: str) -> str:
        """The element, or an empty string when the property is unset."""
        kind: Any = type(entity)
        if not _cacheable(kind, path) or self._world.objects.get(entity.moid) is not entity:
            return encode(entity, path, version)
        kept = self._kept.setdefault(entity.moid, {})
        found = kept.get((path, version))
        if found is None:
            found = kept[path, version] = encode(entity, path, version)
            self._size += len(found)
            if self._size > LIMIT:
                self._kept.clear()
                self._size = 0
        elif self.verify:
            fresh = encode(entity, path, version)
            if fresh != found:
                raise StaleFragmentError(f"{entity.moid} {path} changed without a commit:\n{found}\n{fresh}")
        return found

    def _forget(self, done: Committed) -> None:
        for entry in done.entries:
            kept = self._kept.get(entry.entity.moid)
            if kept is None:
                continue
            if entry.kind == "leave":
                stale = list(kept)
                del self._kept[entry.entity.moid]
            else:
                stale = [key for key in kept if overlap(key[0], entry.path)]
            for key in stale:
                self._size -= len(kept.pop(key))


@functools.lru_cache(maxsize=16384)
def _cacheable(kind: Any, path: str) -> bool:
    return not any(overlap(path, volatile) for volatile in kind.volatile)


def encode(entity: Entity, path: str, version: str) -> str:
    """The ``<val ...>`` element of a property now, or an empty string when it is unset."""
    value = read(entity, path)
    if value is None:
        return ""
    declared = property_type(entity.wsdl, path, entity.namespace)
    return encode_property(declared, value, version=version)


def read(entity: Entity, path: str) -> Any:
    """A property; None when it is unset, or declared by the API and not served here."""
    try:
        return entity.read(path)
    except KeyError:
        return None
