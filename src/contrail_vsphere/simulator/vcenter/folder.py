"""Folders: the inventory tree, and where new objects are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity


@dataclass(slots=True, eq=False, kw_only=True)
class Folder(ManagedEntity):
    """A folder; ``child_type`` lists the wire names of what may be in it."""

    wsdl: ClassVar[str] = "Folder"
    prefix: ClassVar[str] = "group-v"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"children": ("childEntity",)}

    child_type: tuple[str, ...] = ()
    children: tuple[ManagedEntity, ...] = ()
