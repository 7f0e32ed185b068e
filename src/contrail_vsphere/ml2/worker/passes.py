"""One pass: from the names of some objects to a vCenter that has what Neutron wants of them."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.tables.groups import KnownGroup
from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.care import Care
from contrail_vsphere.ml2.worker.database import ask
from contrail_vsphere.ml2.worker.desired import Wanted, WantedPort
from contrail_vsphere.ml2.worker.firewall import Policy
from contrail_vsphere.ml2.worker.neutron_store import NeutronStore
from contrail_vsphere.ml2.worker.plan import (
    CreateGroup,
    GroupSight,
    Rules,
    SetStatus,
    plan_groups,
)
from contrail_vsphere.ml2.worker.pool import Pool
from contrail_vsphere.ml2.worker.port_memory import RememberedPorts
from contrail_vsphere.ml2.worker.report import PassReport
from contrail_vsphere.ml2.worker.sight import Sight
from contrail_vsphere.ml2.worker.wiring import Wiring
from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.inventory import Change
from contrail_vsphere.vsphere.session import cause
from contrail_vsphere.vsphere.vcenter import VCenter

log = logging.getLogger(__name__)

SEEN_WITHIN = 30.0
"""Seconds in which vCenter's updates show a port group that was made."""
REMEMBERED = 10_000
"""Deleted networks that are remembered: what was being made for one may show only after its end."""


def requested_by(entries: tuple[journal.Entry, ...]) -> str:
    """The request that a pass is for; several share their vCenter calls, and the first is named."""
    ids = list(dict.fromkeys(entry.request_id for entry in entries if entry.request_id))
    return f"{ids[0]}+{len(ids) - 1}" if len(ids) > 1 else (ids[0] if ids else "")


class Pass:
    """Bound to one session with vCenter; ``noticed`` must be told of its changes, unless there is only one pass."""

    def __init__(
        self,
        store: NeutronStore,
        vcenter: VCenter,
        *,
        allowed: Callable[[], None],
        orphan_seconds: float = 3600.0,
        free_ports: int = 8,
        deleted: dict[str, None] | None = None,
    ) -> None:
        """``deleted``: networks that Neutron deleted, in order; outlives the session."""
        self._store, self._vcenter = store, vcenter
        self._deleted = deleted if deleted is not None else {}
        self._ports = RememberedPorts(vcenter)
        self._applier = Applier(self._ports, allowed=allowed)
        self._pool = Pool(store, self._ports, free=free_ports, allowed=allowed)
        self._care = Care(vcenter, self._ports, mtu_policy=store.settings.mtu_policy, orphan_seconds=orphan_seconds)
        self._resyncs = vcenter.inventory.resyncs
        settings = store.settings
        self._rules = Rules(
            cloud=settings.cloud_id,
            filtered=settings.filtered(store.vcenter),
            booked=settings.booked(store.vcenter),
            policy=Policy(settings.ephemeral, settings.icmp_policy, settings.rules_per_port),
        )
        self._wiring = Wiring(self._ports, self._applier, self._rules)

    def noticed(self, change: Change) -> None:
        """What vCenter told, as soon as it did."""
        self._ports.noticed(change)

    async def confirm(self) -> None:
        """For a quiet moment: read what the next change would have to."""
        await self._wiring.confirm()

    async def run(
        self,
        entries: Iterable[journal.Entry],
        macs: Collection[str] = (),
        *,
        everything: bool,
        touched: Collection[str] = (),
        dry: bool = False,
    ) -> PassReport:
        """Look, plan, and unless ``dry`` do it. Raises what concerns all objects, such as Unreachable.

        ``macs``: of cards that changed; ``touched``: networks whose port groups somebody changed.
        """
        rows = tuple(entries)
        token = cause.set(requested_by(rows))
        try:
            return await self._run(rows, macs, touched, everything=everything, dry=dry)
        finally:
            cause.reset(token)

    async def _run(
        self,
        entries: tuple[journal.Entry, ...],
        macs: Collection[str],
        touched: Collection[str],
        *,
        everything: bool,
        dry: bool,
    ) -> PassReport:
        report = PassReport()
        if self._resyncs != self._vcenter.inventory.resyncs:
            self._resyncs = self._vcenter.inventory.resyncs
            self._ports.forget_all()  # a card that went and came back meanwhile is no difference
        wanted = await self._wanted(entries, macs, touched, everything=everything)
        sight = self._sight()
        carriers = self._carriers(sight, report.outcome, wanted)
        planned = plan_groups(wanted, carriers, sight.groups, self._rules)
        planned = await self._care.fitting(planned, wanted, carriers, report, fresh=everything)
        if wanted.complete:
            planned = self._care.spared(planned, entries, report, groups=len(sight.groups))
        report.group_actions = planned
        if not dry:
            await self._applier.groups(report.group_actions, report.outcome)
            sight = await self._with_new(report)
            await self._publish(wanted, sight)
        booked = await self._bookings(wanted, sight, dry=dry)
        wires = await self._wiring.planned(wanted, sight, booked)
        report.port_actions = wires.actions
        if not dry:
            if self._rules.booked:
                known = self._known(sight)
                await self._pool.keep((each, known[at]) for each in sight.groups if (at := self._at(each)) in known)
            report.port_actions = await self._wiring.done(wires, wanted, sight, booked, report.outcome)
            await self._statuses(wanted, report)
        return report

    # -- looking ------------------------------------------------------------------------------------------------

    async def _wanted(
        self, entries: tuple[journal.Entry, ...], macs: Collection[str], touched: Collection[str], *, everything: bool
    ) -> Wanted:
        if everything:
            wanted = await ask(self._store.wanted.everything)
            # A network whose row is here and that is not there was deleted: its port group is no orphan.
            self._remember({each.object_id for each in entries if each.kind == journal.NETWORK} - set(wanted.networks))
            gone = self._deleted.keys() - wanted.networks.keys()
            return replace(wanted, networks={**wanted.networks, **dict.fromkeys(gone)})
        networks = {entry.object_id for entry in entries if entry.kind == journal.NETWORK}
        ports = {entry.object_id for entry in entries if entry.kind == journal.PORT}
        ports |= await ask(self._store.wanted.ports_concerned, entries)
        ports |= {port.id for port in await ask(self._store.wanted.ports_with_macs, macs)}
        wanted = await ask(self._store.wanted.objects, networks | set(touched), ports)
        self._remember(each for each in networks if wanted.networks[each] is None)
        # A port group that somebody touched and whose network Neutron does not know is an orphan: not now.
        known = networks | self._deleted.keys()
        spared = {each for each in touched if each not in known and wanted.networks[each] is None}
        return replace(wanted, networks={at: each for at, each in wanted.networks.items() if at not in spared})

    def _remember(self, deleted: Iterable[str]) -> None:
        self._deleted.update(dict.fromkeys(deleted))
        while len(self._deleted) > REMEMBERED:
            del self._deleted[next(iter(self._deleted))]

    def _sight(self) -> Sight:
        inventory = self._vcenter.inventory
        return Sight(
            cloud=self._rules.cloud,
            dvss=inventory.dvss.values(),
            networks=inventory.networks.values(),
            vms=inventory.vms.values(),
        )

    def _carriers(self, sight: Sight, outcome: Outcome, wanted: Wanted) -> Mapping[str, tuple[DvsId, ...]]:
        """Physical network -> switches; a switch that is not there fails the networks that need it."""
        found: dict[str, set[DvsId]] = defaultdict(set)
        missing: dict[str, str] = {}
        for (vcenter, _, physnet), name in self._store.settings.placement.switches.items():
            if vcenter != self._store.vcenter:
                continue
            switches = sight.switches(name)
            if len(switches) != 1:
                missing[physnet] = f"vCenter has {len(switches)} distributed switches named {name}"
            found[physnet].update(dvs.id for dvs in switches[:1] if len(switches) == 1)
        for network in wanted.networks.values():
            for segment in network.segments if network is not None else ():
                if network is not None and segment.physical_network in missing:
                    outcome.failed[journal.NETWORK, network.id] = NotFound(
                        missing[segment.physical_network], hint="see switch_map"
                    )
        return {physnet: tuple(sorted(switches)) for physnet, switches in found.items()}

    async def _with_new(self, report: PassReport) -> Sight:
        """Wait until vCenter's updates show what was made; a group that does not come is left to the next pass."""
        wanted = {
            str(action.mark)
            for action in report.group_actions
            if isinstance(action, CreateGroup) and (journal.NETWORK, action.mark.network) not in report.outcome.failed
        }
        changed = asyncio.Event()
        stop = self._vcenter.inventory.subscribe(lambda _: changed.set())
        try:
            async with asyncio.timeout(SEEN_WITHIN):
                while True:
                    changed.clear()
                    sight = self._sight()
                    if wanted <= {str(each.mark) for each in sight.groups}:
                        return sight
                    await changed.wait()
        except TimeoutError:
            log.warning("vCenter does not show port groups that it made")
            return self._sight()
        finally:
            stop()

    async def _bookings(self, wanted: Wanted, sight: Sight, *, dry: bool) -> dict[str, tuple[DvsId, str]]:
        """Port -> the DVPort that is booked for it on its host; bookings that no binding stands for are given back."""
        if not self._rules.booked:
            return {}
        found = await ask(self._store.bookings)
        dvs_of = {dvs.uuid: dvs.id for dvs in self._vcenter.inventory.dvss.values()}
        mine = {at: where for at, where in found.items() if wanted.complete or at[0] in wanted.ports}
        bound = await ask(self._store.bound_hosts, {port_id for port_id, _ in mine})
        known = self._known(sight)
        booked: dict[str, tuple[DvsId, str]] = {}
        for (port_id, host), (uuid, key) in mine.items():
            port = wanted.ports.get(port_id)
            if (port_id, host) not in bound:
                if not dry:
                    await ask(self._store.unbook, port_id, host)
            elif port is not None and port.host == host and uuid in dvs_of:
                booked[port_id] = (dvs_of[uuid], key)
        for port_id, port in wanted.ports.items():
            card = sight.card_of(port) if port is not None else None
            if port is None or card is None or booked.get(port_id) == (card.dvs, card.port_key):
                continue
            group = self._group_of(port, known)
            if not dry and group is not None and group.group_key == card.group:
                await ask(self._store.rebook, port, group, card.port_key)
            booked[port_id] = (card.dvs, card.port_key)
        return booked

    # -- telling Neutron ----------------------------------------------------------------------------------------

    def _at(self, sight: GroupSight) -> tuple[str, str]:
        """Name of the switch and segment."""
        dvs = self._vcenter.inventory.dvss.get(sight.dvs)
        return (dvs.name if dvs is not None else "", sight.mark.segment)

    def _known(self, sight: Sight) -> dict[tuple[str, str], KnownGroup]:
        """(Switch, segment) -> the port group, as the driver is told of it."""
        dvss = self._vcenter.inventory.dvss
        return {
            self._at(each): KnownGroup(
                self._store.vcenter,
                dvss[each.dvs].name,
                each.mark.segment,
                each.mark.network,
                dvss[each.dvs].uuid,
                each.group.id,
                each.group.name,
            )
            for each in sight.groups
            if each.dvs in dvss
        }

    async def _publish(self, wanted: Wanted, sight: Sight) -> None:
        """Port groups to the driver's table, and their keys to bindings that were made without."""
        there = self._known(sight)
        known = {(each.dvs_name, each.segment_id): each for each in await ask(self._store.known_groups)}
        fresh = [group for at, group in there.items() if known.get(at) != group]
        await ask(self._store.record_groups, fresh, [at for at in known if at not in there])
        for port in wanted.ports.values():
            group = self._group_of(port, there) if port is not None else None
            if port is None or group is None:
                continue
            if (port.details.get("dvs_id"), port.details.get("pg_id")) != (group.dvs_uuid, group.group_key):
                await ask(self._store.complete_binding, port, group)

    def _group_of(self, port: WantedPort, there: Mapping[tuple[str, str], KnownGroup]) -> KnownGroup | None:
        placement = self._store.settings.placement
        site = placement.site(port.host)
        if site is None:
            return None
        names = {
            name for (vcenter, cluster, _), name in placement.switches.items()
            if vcenter == site.vcenter and cluster in ("", site.cluster)
        }  # fmt: skip
        return next(
            (group for (name, segment), group in there.items() if segment == port.segment_id and name in names), None
        )

    async def _statuses(self, wanted: Wanted, report: PassReport) -> None:
        for port_id in sorted(report.outcome.wired):
            port = wanted.ports[port_id]
            if port is not None and port.status != "ACTIVE":
                await ask(self._store.set_status, port_id, up=True, host=port.host)
            if port is not None and port.trunk is not None:
                await ask(self._store.trunk_active, port_id)
        for action in report.port_actions:
            if isinstance(action, SetStatus):
                port = wanted.ports[action.port_id]
                assert port is not None  # noqa: S101 - it was planned for
                log.info("port %s is %s: %s", action.port_id, "ACTIVE" if action.up else "DOWN", action.why)
                await ask(self._store.set_status, action.port_id, up=action.up, host=port.host)
