"""The state of every port as its VM's last pass has left it, for people, metrics and whoever waits for a host.

Which ports a host still owes is asked for each host of a thousand, and how many ports are in which state by whoever
watches; so both are kept, not searched for. States are kept folded, those of a VM in one row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contrail_vsphere.model.folded import Folding
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.identity import PortId

SETTLED = ("ACTIVE", "ACTIVE_OFF")


@dataclass(frozen=True, slots=True)
class PortState:
    """What status shows of a port."""

    id: PortId
    state: str
    reason: str
    since: datetime
    vm: str
    host: HostId | None


FOLDING = Folding(PortState, shared=("state", "host"))


class PortStates:
    """By VM (instance UUID)."""

    def __init__(self) -> None:
        self._states: dict[int, bytes] = {}
        self._unsettled: dict[HostId, set[UUID]] = {}
        """VMs with a port on the host that is neither active nor off."""
        self.counts: Counter[str] = Counter()
        """Ports by state."""

    def __iter__(self) -> Iterator[PortState]:
        """All, by VM."""
        return (state for row in tuple(self._states.values()) for state in FOLDING.unfold_all(row))

    def of(self, machine: UUID) -> tuple[PortState, ...]:
        """Those of a VM."""
        row = self._states.get(machine.int)
        return FOLDING.unfold_all(row) if row is not None else ()

    def put(self, machine: UUID, states: Collection[PortState]) -> None:
        """Its states now; none: it is gone."""
        known = self.of(machine)
        self.counts.subtract(state.state for state in known)
        self.counts.update(state.state for state in states)
        for state in known:
            if state.host is not None and state.host in self._unsettled:
                self._unsettled[state.host].discard(machine)
        if states:
            self._states[machine.int] = FOLDING.fold_all(states)
        else:
            self._states.pop(machine.int, None)
        for state in states:
            if state.host is not None and state.state not in SETTLED:
                self._unsettled.setdefault(state.host, set()).add(machine)

    def unsettled(self, host: HostId) -> tuple[PortState, ...]:
        """Ports on a host that are neither active nor off."""
        return tuple(
            state
            for machine in self._unsettled.get(host, ())
            for state in self.of(machine)
            if state.host == host and state.state not in SETTLED
        )
