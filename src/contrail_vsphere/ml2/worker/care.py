"""What a plan may not do at once: port groups on switches that are too narrow, and the end of orphans."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TypeGuard

from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.desired import Wanted
from contrail_vsphere.ml2.worker.plan import CreateGroup, DestroyGroup, GroupAction
from contrail_vsphere.ml2.worker.report import PassReport
from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.model.ids import DvsId, NetworkId
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts
from contrail_vsphere.vsphere.vcenter import VCenter

log = logging.getLogger(__name__)

ORPHANS_AT_ONCE = 5
"""More port groups without a network than this and a quarter of all are not destroyed without ``repair --orphans``."""


class Care:
    """Of one session; remembers since when an orphan was seen, and how much the switches carry."""

    def __init__(self, vcenter: VCenter, ports: FilteredPorts, *, mtu_policy: str, orphan_seconds: float) -> None:
        self._vcenter, self._ports = vcenter, ports
        self._mtu_policy, self._orphan_seconds = mtu_policy, orphan_seconds
        self._since: dict[NetworkId, float] = {}
        self._mtus: dict[DvsId, int] = {}

    async def fitting(
        self,
        planned: tuple[GroupAction, ...],
        wanted: Wanted,
        carriers: Mapping[str, tuple[DvsId, ...]],
        report: PassReport,
        *,
        fresh: bool,
    ) -> tuple[GroupAction, ...]:
        """Say which networks have a larger MTU than their switch; under ``refuse`` they get no port group."""
        if fresh:
            self._mtus.clear()
        warnings, refused = [], set()
        for network in wanted.networks.values():
            if network is None:
                continue
            for dvs in {dvs for segment in network.segments for dvs in carriers.get(segment.physical_network, ())}:
                if dvs not in self._mtus:
                    self._mtus[dvs] = await self._ports.largest_mtu(dvs)
                if not 0 < self._mtus[dvs] < network.mtu:
                    continue
                name = self._vcenter.inventory.dvss[dvs].name
                words = f"network {network.id} has MTU {network.mtu} and switch {name} carries {self._mtus[dvs]}"
                warnings.append(words)
                if self._mtu_policy == "refuse":
                    refused.add((network.id, dvs))
                    hint = "raise the switch's MTU or lower the network's"
                    report.outcome.failed[journal.NETWORK, network.id] = InvalidArgument(words, hint=hint)
        report.warnings = tuple(sorted(warnings))
        return tuple(
            action
            for action in planned
            if not (isinstance(action, CreateGroup) and (action.mark.network, action.dvs) in refused)
        )

    def spared(
        self,
        planned: tuple[GroupAction, ...],
        entries: Iterable[journal.Entry],
        report: PassReport,
        *,
        groups: int,
    ) -> tuple[GroupAction, ...]:
        """Keep port groups that nobody asked to delete: for a while, and all of them when they are suspiciously many.

        Neutron's database may have been restored from yesterday's backup, or be another cloud's with our cloud's id.
        For plans of everything; no other has orphans in it.
        """
        now = asyncio.get_running_loop().time()
        orphans = {action.sight.group.id: action for action in planned if _is_orphan(action)}
        self._since = {each: self._since.get(each, now) for each in orphans}
        if any(entry.kind == journal.EVERYTHING and entry.object_id == journal.ORPHANS for entry in entries):
            return planned
        old = {each for each, since in self._since.items() if now - since >= self._orphan_seconds}
        if len(old) > max(ORPHANS_AT_ONCE, groups // 4):
            log.warning("%d of %d port groups have no network: none is destroyed", len(old), groups)
            old = set()
        kept = {each: action for each, action in orphans.items() if each not in old}
        report.orphans = tuple(sorted(action.sight.group.name for action in kept.values()))
        return tuple(each for each in planned if not _is_orphan(each) or each.sight.group.id not in kept)


def _is_orphan(action: GroupAction) -> TypeGuard[DestroyGroup]:
    return isinstance(action, DestroyGroup) and action.orphan
