"""DVPorts that wait to be booked (``binding_mode = key``): every port group of ours keeps a few that nobody uses."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from contrail_vsphere.ml2.tables.groups import KnownGroup
from contrail_vsphere.ml2.worker.database import ask
from contrail_vsphere.ml2.worker.neutron_store import NeutronStore
from contrail_vsphere.ml2.worker.plan import GroupSight
from contrail_vsphere.model.errors import Conflict, ContrailVsphereError
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.traffic_filter import FilteredPort
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts

log = logging.getLogger(__name__)

LEAST_GROWTH, GROWTH = 8, 4
"""A group that is short gets at least so many ports, or one for every so many that it has."""


class Pool:
    """``allowed`` raises when the lease is lost."""

    def __init__(self, store: NeutronStore, ports: FilteredPorts, *, free: int, allowed: Callable[[], None]) -> None:
        self._store, self._ports, self._free, self._allowed = store, ports, free, allowed

    async def keep(self, groups: Iterable[tuple[GroupSight, KnownGroup]]) -> None:
        """Offer what is idle, take back what is not, let groups grow that are short."""
        free = await ask(self._store.free_keys)
        short: dict[DvsId, list[tuple[GroupSight, KnownGroup]]] = defaultdict(list)
        for sight, known in groups:
            if len(free.get((known.dvs_uuid, known.group_key), ())) < self._free:
                short[sight.dvs].append((sight, known))
        if not short:
            return
        booked = set((await ask(self._store.bookings)).values())
        for dvs, each in short.items():
            ports = await self._ports.of_groups(dvs, [sight.group.id for sight, _ in each])
            for sight, known in each:
                mine = [port for port in ports if port.group == sight.group.id]
                idle = await self._offer(known, mine, booked, free.get((known.dvs_uuid, known.group_key), set()))
                if idle < self._free:
                    await self._grow(sight, known, mine, booked)

    async def _offer(
        self, known: KnownGroup, ports: list[FilteredPort], booked: set[tuple[str, str]], offered: set[str]
    ) -> int:
        idle = {
            port.key
            for port in ports
            if port.vm is None and not port.name and not port.filters and (known.dvs_uuid, port.key) not in booked
        }
        if offered - idle:
            await ask(self._store.withdraw, known.dvs_uuid, offered - idle)
        if idle - offered:
            await ask(self._store.offer, known, sorted(idle - offered))
        return len(idle)

    async def _grow(
        self, sight: GroupSight, known: KnownGroup, ports: list[FilteredPort], booked: set[tuple[str, str]]
    ) -> None:
        wanted = len(ports) + max(LEAST_GROWTH, len(ports) // GROWTH, self._free)
        self._allowed()
        try:
            await self._ports.grow(sight.group, wanted)
        except Conflict as error:
            log.info("port group %s grows later: %s", sight.group.name, error)
            return
        except ContrailVsphereError as error:
            log.warning("port group %s cannot grow to %d ports: %s", sight.group.name, wanted, error)
            return
        log.info("port group %s has %d ports", sight.group.name, wanted)
        await self._offer(known, list(await self._ports.of_groups(sight.dvs, [sight.group.id])), booked, set())
