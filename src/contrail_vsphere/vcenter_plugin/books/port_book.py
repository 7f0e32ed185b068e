"""The DVPorts of our port groups as last read, and which of them must be read again before anything is decided.

DVPorts are not part of any property stream. Everything that may have changed one (an event, a card, a move, a write of
ours that failed) makes it stale; a plan for a stale port begins with reading it, and reads of one moment share a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.model.dvport import DvPort, DvPortEdit
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId
from contrail_vsphere.vcenter_plugin.doors import PortDoor

Place = tuple[DvsId, str]


class PortBook:
    """By switch and port key. ``on_change`` hears of every port whose reading differs from the last one."""

    def __init__(self, door: PortDoor) -> None:
        self._door = door
        self._ports: dict[Place, DvPort] = {}
        self._known: set[Place] = set()
        """Read since the last doubt, including those that do not exist."""
        self._reads: Batcher[DvsId, str, None] = Batcher(self._read, size=1000, age=0.05, idle=0.0)
        self.on_change: Callable[[DvPort | None, DvPort | None], None] = lambda _before, _after: None

    def get(self, dvs: DvsId, key: str) -> DvPort | None:
        """As last read; None if it was not read or does not exist."""
        return self._ports.get((dvs, key))

    def is_fresh(self, dvs: DvsId, key: str) -> bool:
        """Whether what ``get`` says holds as far as anybody has heard."""
        return (dvs, key) in self._known

    def ports(self) -> Iterator[DvPort]:
        """All that were read."""
        return iter(tuple(self._ports.values()))

    def doubt(self, dvs: DvsId, key: str) -> None:
        """It may have changed."""
        self._known.discard((dvs, key))

    def doubt_all(self) -> None:
        """Anything may have changed."""
        self._known.clear()

    async def refetch(self, dvs: DvsId, key: str) -> None:
        """Read it, together with whatever else is read at this moment."""
        await self._reads.submit(dvs, key)

    async def fetch_groups(self, dvs: DvsId, groups: Iterable[NetworkId], *, hosts: Iterable[HostId] = ()) -> None:
        """Read all connected ports of port groups; ports of them that were known and are not connected are in doubt."""
        wanted, chosen = frozenset(groups), frozenset(hosts)
        found = await self._door.of_groups(dvs, wanted, hosts=chosen)
        here = {(dvs, port.key) for port in found}
        for place, port in tuple(self._ports.items()):
            if place not in here and port.dvs == dvs and port.group in wanted:
                self._known.discard(place)
        for port in found:
            self._take(port)

    def fold(self, dvs: DvsId, edit: DvPortEdit) -> None:
        """What a write of ours made of a port; its version is only known after the next reading."""
        before = self._ports.get((dvs, edit.key))
        if before is not None:
            self._take(replace(before, vlan=edit.vlan, blocked=edit.blocked, version=""))

    async def close(self) -> None:
        """Take no more reads."""
        await self._reads.close(1.0)

    async def _read(self, dvs: DvsId, keys: tuple[str, ...]) -> list[None]:
        wanted = list(dict.fromkeys(keys))
        found = {port.key: port for port in await self._door.of_keys(dvs, wanted)}
        for key in wanted:
            port = found.get(key)
            if port is not None:
                self._take(port)
                continue
            self._known.add((dvs, key))
            before = self._ports.pop((dvs, key), None)
            if before is not None:
                self.on_change(before, None)
        return [None] * len(keys)

    def _take(self, port: DvPort) -> None:
        place = (port.dvs, port.key)
        before = self._ports.get(place)
        self._ports[place] = port
        self._known.add(place)
        if before is None or replace(before, version="") != replace(port, version=""):
            self.on_change(before, port)
