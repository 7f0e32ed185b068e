"""The ports of one distributed switch, stored, and found by what clients and the simulator ask for.

DVPorts are no managed objects: no property shows them, only FetchDVPorts and events do. They are frozen values in a
table that changes inside commits only (an undone commit undoes them too). Every question has an index: group, host,
connected, free; so that a switch with fifty thousand ports answers for one host or one group at that host's or group's
cost.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class PortState:
    """What the host last said of a port."""

    link_up: bool
    blocked: bool
    vlans: tuple[tuple[int, int], ...]
    """Ranges; ``((0, 0),)`` is untagged."""
    trunk: bool
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DvPort:
    """One port. ``vm`` and ``nic_key``, or ``pnic`` of ``proxy_host`` for an uplink, are connected to it."""

    key: str
    group: DistributedVirtualPortgroup
    changed: datetime
    """Of its connection or state."""
    name: str = ""
    description: str = ""
    scope: tuple[ManagedEntity, ...] = ()
    override: Any = None
    """VMwareDVSPortSetting with only those policies that differ from the group's, or None. Never changed in place."""
    config_version: int = 0
    vm: VirtualMachine | None = None
    nic_key: int = 0
    pnic: str = ""
    cookie: int = 0
    proxy_host: HostSystem | None = None
    """The host whose proxy switch has the port."""
    in_force: Any = None
    """Whole setting that the proxy host still has, because it was away when vCenter got another one; else None."""
    state: PortState | None = None
    conflict_with: str = ""
    """Key of the port that this one stands in for."""

    @property
    def connected(self) -> bool:
        """Whether anything is connected."""
        return self.vm is not None or self.pnic != ""

    @property
    def order(self) -> tuple[int, str]:
        """By number."""
        return order(self.key)


def order(key: str) -> tuple[int, str]:
    """Sorts keys by number."""
    return len(key), key


class PortTable:
    """All ports of a switch, by key."""

    __slots__ = ("_free", "_groups", "_hosts", "_queued", "_used", "ports")

    def __init__(self) -> None:
        self.ports: dict[str, DvPort] = {}
        self._groups: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._used: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._hosts: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._free: defaultdict[str, list[tuple[tuple[int, str], str]]] = defaultdict(list)
        self._queued: set[str] = set()

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, key: str) -> DvPort | None:
        """The port, or None."""
        return self.ports.get(key)

    def count(self, group: DistributedVirtualPortgroup | None = None) -> int:
        """Ports of a group, or of the switch."""
        return len(self.ports) if group is None else len(self._groups.get(group.moid, ()))

    def free_count(self, group: DistributedVirtualPortgroup) -> int:
        """Ports of the group that nothing is connected to."""
        return self.count(group) - len(self._used.get(group.moid, ()))

    def of_group(self, group: DistributedVirtualPortgroup) -> list[str]:
        """Keys of the group's ports, lowest first."""
        return sorted(self._groups.get(group.moid, ()), key=order)

    def used_in(self, groups: Iterable[DistributedVirtualPortgroup]) -> Iterator[DvPort]:
        """Ports of these groups that something is connected to, group by group."""
        for group in groups:
            for key in sorted(self._used.get(group.moid, ()), key=order):
                yield self.ports[key]

    def on_host(self, host: HostSystem) -> list[DvPort]:
        """Ports that the host's proxy switch has, lowest first."""
        return [self.ports[key] for key in sorted(self._hosts.get(host.moid, ()), key=order)]

    def count_on(self, host: HostSystem) -> int:
        """How many those are."""
        return len(self._hosts.get(host.moid, ()))

    def lowest_free(self, group: DistributedVirtualPortgroup) -> str:
        """The free port with the lowest number, or an empty string."""
        heap = self._free[group.moid]
        while heap:
            key = heap[0][1]
            port = self.ports.get(key)
            if port is not None and port.group is group and not port.connected:
                return key
            heapq.heappop(heap)
            self._queued.discard(key)
        return ""

    def highest_free(self, group: DistributedVirtualPortgroup, count: int) -> tuple[str, ...]:
        """Up to ``count`` free ports, those with the highest numbers."""
        used = self._used.get(group.moid, {})
        free = [key for key in self._groups.get(group.moid, ()) if key not in used]
        return tuple(heapq.nlargest(count, free, key=order))

    # -- changing, inside a commit ------------------------------------------------------------------------------

    def put(self, tx: Transaction, port: DvPort) -> DvPort:
        """Store a new port or a new version of one."""
        old = self.ports.get(port.key)
        self._store(port.key, port)
        tx.undo(lambda: self._store(port.key, old))
        return port

    def remove(self, tx: Transaction, key: str) -> None:
        """Forget a port."""
        old = self.ports[key]
        self._store(key, None)
        tx.undo(lambda: self._store(key, old))

    def restore(self, port: DvPort) -> None:
        """Store a port of a table that is not in a world yet."""
        self._store(port.key, port)

    def _store(self, key: str, port: DvPort | None) -> None:
        old = self.ports.pop(key, None)
        if old is not None:
            if port is None or port.group is not old.group:
                del self._groups[old.group.moid][key]
            if old.connected:
                self._used[old.group.moid].pop(key, None)
            if old.proxy_host is not None:
                self._hosts[old.proxy_host.moid].pop(key, None)
        if port is None:
            return
        self.ports[key] = port
        self._groups[port.group.moid][key] = None
        if port.connected:
            self._used[port.group.moid][key] = None
        elif key not in self._queued or old is None or old.group is not port.group:
            self._queued.add(key)
            heapq.heappush(self._free[port.group.moid], (order(key), key))
        if port.proxy_host is not None:
            self._hosts[port.proxy_host.moid][key] = None
