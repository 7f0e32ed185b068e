"""What vCenter has told of each object so far: an update names only what changed.

VMs, of which there are most by far, are kept as their values, in the table that the inventory shows: those need nothing
but what was told of the VM. Where somebody looks at them one at a time, the table may keep them folded. The values of
other objects depend on the folders above them, and are made anew each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from contrail_vsphere.model.folded import FoldedById, Folding
from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import Nic, VirtualMachine
from contrail_vsphere.vsphere.inventory_values import BASES, PATHS, with_values
from contrail_vsphere.vsphere.stream import Row

VmTable = MutableMapping[VmId, VirtualMachine]
NewTable = Callable[[], VmTable]
"""Makes an empty table of VMs; ``dict`` for who looks at all of them often."""

_NICS = Folding(Nic, shared=("kind", "network", "dvs_uuid"))
FOLDING = Folding(
    VirtualMachine,
    key="id",
    shared=("host", "power", "connection", "heartbeat", "managed_by", "resource_pool"),
    nested={"nics": _NICS},
)


def folded_vms() -> VmTable:
    """A table in a fifth of a dict's memory; looking at a VM costs some microseconds."""
    return FoldedById(FOLDING)


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


class Reading:
    """All that was told since a filter began to tell: ``vms`` by value, everything else by path."""

    def __init__(self, vms: VmTable) -> None:
        self.vms = vms
        self.others: dict[str, Told] = {}

    def is_vm(self, row: Row) -> bool:
        """Whether a row is about a VM."""
        return row.type == "VirtualMachine" or row.id in self.vms

    def merge(self, row: Row) -> None:
        """Take one row of an answer in."""
        if row.kind == "leave":
            self.vms.pop(VmId(row.id), None)
            self.others.pop(row.id, None)
        elif self.is_vm(row):
            vm = VmId(row.id)
            known = self.vms.get(vm) if row.kind != "enter" else None
            self.vms[vm] = with_values(known or VirtualMachine(vm, ""), row.values)
        else:
            told = self.others.get(row.id) if row.kind != "enter" else None
            self.others[row.id] = Told(told.kind, {**told, **row.values}) if told else Told(row.type, row.values)


@functools.cache
def _places(kind: str) -> dict[str, int]:
    """Path -> its place among the values of a type."""
    return {path: place for place, path in enumerate(PATHS.get(kind) or PATHS.get(BASES.get(kind, ""), {}))}
