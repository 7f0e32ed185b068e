"""The DVPorts of our port groups as last read, and which of them must be read again before anything is decided.

DVPorts are not part of any property stream. Everything that may have changed one (an event, a card, a move, a write of
ours that failed) makes it stale; a plan for a stale port begins with reading it, and reads of one moment share a call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.model.dvport import DvPort, DvPortEdit
from contrail_vsphere.model.folded import Folding
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId
from contrail_vsphere.vcenter_plugin.doors import PortDoor

Place = tuple[DvsId, str]
FOLDING = Folding(DvPort, key="key", shared=("dvs", "group", "host"))


class PortBook:
    """By switch and port key. ``on_change`` hears of every port whose reading differs from the last one."""

    def __init__(self, door: PortDoor) -> None:
        self._door = door
        self._ports: dict[DvsId, dict[str, bytes]] = {}
        """Folded, by port key."""
        self._doubted: set[Place] = set()
        """Known ports that must be read again."""
        self._absent: set[Place] = set()
        """Read since the last doubt, and not there."""
        self._reads: Batcher[DvsId, str, None] = Batcher(self._read, size=1000, age=0.05, idle=0.0)
        self.on_change: Callable[[DvPort | None, DvPort | None], None] = lambda _before, _after: None

    def get(self, dvs: DvsId, key: str) -> DvPort | None:
        """As last read; None if it was not read or does not exist."""
        row = self._ports.get(dvs, {}).get(key)
        return FOLDING.unfold(row, key) if row is not None else None

    def is_fresh(self, dvs: DvsId, key: str) -> bool:
        """Whether what ``get`` says holds as far as anybody has heard."""
        place = dvs, key
        return place in self._absent or (key in self._ports.get(dvs, {}) and place not in self._doubted)

    def ports(self) -> Iterator[DvPort]:
        """All that were read."""
        rows = [item for ports in self._ports.values() for item in ports.items()]
        return (FOLDING.unfold(row, key) for key, row in rows)

    def doubt(self, dvs: DvsId, key: str) -> None:
        """It may have changed."""
        self._absent.discard((dvs, key))
        if key in self._ports.get(dvs, {}):
            self._doubted.add((dvs, key))

    async def refetch(self, dvs: DvsId, key: str) -> None:
        """Read it, together with whatever else is read at this moment."""
        await self._reads.submit(dvs, key)

    async def fetch_groups(
        self, dvs: DvsId, portions: Iterable[Collection[NetworkId]], *, hosts: Iterable[HostId] = ()
    ) -> None:
        """Read all connected ports of port groups, portion by portion; others of them that are known are in doubt."""
        chosen, wanted = frozenset(hosts), set[NetworkId]()
        here = set()
        for portion in portions:
            wanted.update(portion)
            for port in await self._door.of_groups(dvs, portion, hosts=chosen):
                here.add(port.key)
                self._take(port)
        for key, row in self._ports.get(dvs, {}).items():
            if key not in here and FOLDING.unfold(row, key).group in wanted:
                self._doubted.add((dvs, key))

    async def at_other_host(self, dvs: DvsId, groups: Iterable[NetworkId], host: HostId) -> tuple[DvPort, ...]:
        """Connected ports of port groups on a host that another plugin serves, as they are now; not kept."""
        return tuple(await self._door.of_groups(dvs, frozenset(groups), hosts=(host,)))

    def fold(self, dvs: DvsId, edit: DvPortEdit) -> None:
        """What a write of ours made of a port; its version is only known after the next reading."""
        before = self.get(dvs, edit.key)
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
            self._absent.add((dvs, key))
            before = self.get(dvs, key)
            if before is not None:
                del self._ports[dvs][key]
                self._doubted.discard((dvs, key))
                self.on_change(before, None)
        return [None] * len(keys)

    def _take(self, port: DvPort) -> None:
        place, row = (port.dvs, port.key), FOLDING.fold(port)
        self._doubted.discard(place)
        self._absent.discard(place)
        ports = self._ports.setdefault(port.dvs, {})
        if ports.get(port.key) == row:
            return
        before = self.get(*place)
        ports[sys.intern(port.key)] = row  # the card in the inventory has the same text
        if before is None or replace(before, version="") != replace(port, version=""):
            self.on_change(before, port)
