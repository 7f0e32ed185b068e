"""Which VMs are on their way to which host, as vCenter's events tell before the move.

Hints and no more: they let a port be plugged where its VM arrives a moment later. A move that is never heard to end is
forgotten after a while, and what was prepared for it is taken away like anything that is plugged where no VM is.
"""

from __future__ import annotations

from collections.abc import Callable

from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.vsphere.events import Event

BEGINS = ("VmBeingHotMigratedEvent", "VmBeingRelocatedEvent")
FAILS = ("VmFailedMigrateEvent", "VmRelocateFailedEvent")
"""The end of one that succeeds is seen by the VM's host."""
LONGEST = 600.0
"""Seconds."""


class Moves:
    """``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._going: dict[VmId, tuple[HostId, float]] = {}
        self._abroad: dict[VmId, tuple[HostId, frozenset[int]]] = {}

    def hear(self, event: Event) -> VmId | None:
        """Take an event in; the VM that it concerns, None if it tells of no move."""
        if event.vm is None:
            return None
        if event.type in BEGINS and event.destination is not None:
            self._going[event.vm] = (event.destination, self._clock() + LONGEST)
        elif event.type not in FAILS or self._going.pop(event.vm, None) is None:
            return None
        return event.vm

    def found(self, vm: VmId, there: HostId, vlans: frozenset[int]) -> None:
        """The VM's ports cannot have these VLANs where it goes to: others have them, or none is left there."""
        self._abroad[vm] = (there, vlans)

    def taken(self, vm: VmId, host: HostId | None) -> tuple[HostId, frozenset[int]] | None:
        """What was ``found`` where a VM that is on ``host`` now goes to."""
        going, found = self.destination(vm, host), self._abroad.get(vm)
        if going is None or found is None or going[0] != found[0]:
            self._abroad.pop(vm, None)
            return None
        return found

    def destination(self, vm: VmId, host: HostId | None) -> tuple[HostId, float] | None:
        """Where a VM that is on ``host`` now goes to, and for how many seconds more that is believed.

        None when it goes nowhere, or has arrived.
        """
        going = self._going.get(vm)
        if going is None:
            return None
        there, until = going
        if there == host or until <= self._clock():
            del self._going[vm]
            return None
        return there, until - self._clock()
