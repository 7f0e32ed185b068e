"""What vCenter has told of each object so far: an update names only what changed.

VMs, of which there are most by far, are kept as their values, the same that the inventory shows: those need nothing but
what was told of the VM. The values of other objects depend on the folders above them, and are made anew each time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vsphere.inventory_values import BASES, PATHS, with_values
from contrail_vsphere.vsphere.stream import Row


class Told(Mapping[str, Any]):
    """Values of one object by path, in half of a dict's memory: the paths are those of its type.

    What is not known or not set is None.
    """

    __slots__ = ("_places", "_values", "kind")

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind = kind
        self._places = _places(kind)
        self._values = tuple(map(values.get, self._places))

    def __getitem__(self, path: str) -> Any:
        return self._values[self._places[path]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


Raw = dict[str, Told | VirtualMachine]
"""By managed object id."""


def merge(raw: Raw, row: Row) -> None:
    """Take one row of an answer in."""
    known = raw.get(row.id) if row.kind != "enter" else None
    if row.kind == "leave":
        raw.pop(row.id, None)
    elif isinstance(known, VirtualMachine) or (known is None and row.type == "VirtualMachine"):
        raw[row.id] = with_values(known or VirtualMachine(VmId(row.id), ""), row.values)
    elif known is None:
        raw[row.id] = Told(row.type, row.values)
    else:
        raw[row.id] = Told(known.kind, {**known, **row.values})


@functools.cache
def _places(kind: str) -> dict[str, int]:
    """Path -> its place among the values of a type."""
    return {path: place for place, path in enumerate(PATHS.get(kind) or PATHS.get(BASES.get(kind, ""), {}))}
