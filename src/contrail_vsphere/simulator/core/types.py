"""Which simulated object is of which API type, subclasses included."""

from __future__ import annotations

import functools
from typing import Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.wire.soap.types import managed_class, vim


@functools.lru_cache(maxsize=8192)
def _conforms(wsdl: str, namespace: str, wanted: Any) -> bool:
    return issubclass(managed_class(wsdl, namespace), wanted)


def conforms(entity: Entity, wanted: Any) -> bool:
    """Whether the object is of that pyVmomi managed object class or one derived from it."""
    return _conforms(entity.wsdl, entity.namespace, wanted)


def is_managed_entity(entity: Entity) -> bool:
    """Whether the object is part of the inventory (views contain nothing else)."""
    return conforms(entity, vim.ManagedEntity)
