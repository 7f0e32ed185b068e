"""Several plugins that stand for election in one process, on virtual time, without ZooKeeper."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from plugin_stand import WRITES, PluginStand

from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Record
from contrail_vsphere.model.errors import Conflict
from contrail_vsphere.vcenter_plugin.plugin import EVENTS, VCenterPlugin
from contrail_vsphere.vsphere.told import folded_vms
from contrail_vsphere.vsphere.vcenter import VCenter


class Election:
    """One leads; ``freeze`` lets another begin while the first one has not heard."""

    def __init__(self) -> None:
        self.epoch = 0
        self.queue: list[Member] = []

    def elect(self) -> None:
        if self.queue and not self.queue[0].leads:
            self.epoch += 1
            self.queue[0].begin(self.epoch)

    def freeze(self) -> Member:
        """The first one is given up, and does not know; the next one leads."""
        frozen = self.queue.pop(0)
        self.elect()
        return frozen


class Member:
    """A ``Leader``, an async context manager as the candidacies of ``Reigns`` are."""

    def __init__(self, election: Election) -> None:
        self.election = election
        self.epoch = 0
        self._leads, self._over = asyncio.Event(), asyncio.Event()
        self.refused = 0

    async def __aenter__(self) -> Member:
        self.election.queue.append(self)
        self.election.elect()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self in self.election.queue:
            self.election.queue.remove(self)
        self.election.elect()

    @property
    def leads(self) -> bool:
        return self._leads.is_set()

    is_leader = leads

    def begin(self, epoch: int) -> None:
        self.epoch = epoch
        self._leads.set()

    def hears(self) -> None:
        """It thaws and is told."""
        self._over.set()

    async def wait_until_leader(self) -> int:
        await self._leads.wait()
        return self.epoch

    async def lost(self) -> None:
        await self._over.wait()

    async def confirm(self) -> int:
        await asyncio.sleep(0.002)
        if self.election.epoch != self.epoch:
            self.refused += 1
            raise Conflict(f"epoch {self.election.epoch} has begun")
        return self.epoch


class SharedJournal:
    """What ``engine.journal_zookeeper`` is to a plugin: what is durable is everybody's, and only the leader's is."""

    def __init__(self, shared: dict[tuple[str, str], Record], *, election: Election, epoch: int, now: Any) -> None:
        self._shared, self._election, self._epoch, self._now = shared, election, epoch, now
        self._records = dict(shared)
        self._dirty: set[tuple[str, str]] = set()

    def get(self, kind: str, key: str) -> Record | None:
        return self._records.get((kind, key))

    def items(self, kind: str) -> tuple[Record, ...]:
        return tuple(self._records[name] for name in sorted(self._records) if name[0] == kind)

    def each(self, kind: str) -> Iterator[Record]:
        return iter(self.items(kind))

    def put(self, kind: str, key: str, value: Any, *, expect: int | None = None) -> int:
        before = self.get(kind, key)
        version = 1 if before is None else before.version + 1
        self._records[kind, key] = Record(kind, key, version, json.loads(json.dumps(value)), self._now())
        self._dirty.add((kind, key))
        return version

    def delete(self, kind: str, key: str, *, expect: int | None = None) -> bool:
        self._dirty.add((kind, key))
        return self._records.pop((kind, key), None) is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    async def durable(self) -> None:
        await asyncio.sleep(0.003)
        if self._dirty and self._election.epoch != self._epoch:
            raise Conflict(f"epoch {self._epoch} is over")
        for name in self._dirty:
            if name in self._records:
                self._shared[name] = self._records[name]
            else:
                self._shared.pop(name, None)
        self._dirty.clear()


class ElectedStand(PluginStand):
    """``members``: names, in the order in which they stand. ``stop`` ends one as a crash does."""

    def __init__(self, directory: Path, *members: str, **options: Any) -> None:
        super().__init__(directory, **options)
        self.names = members
        self.election = Election()
        self.records: dict[tuple[str, str], Record] = {}
        self.members: dict[str, Reigns[VCenterPlugin]] = {}
        self.plugins: dict[str, VCenterPlugin] = {}
        self.doors: dict[str, tuple[VCenter, ConfigApi]] = {}
        self._stacks: dict[str, AsyncExitStack] = {}

    async def resume(self) -> None:
        for name in self.names:
            await self.begin(name)
        await self.until(lambda: self.reigning is not None)

    async def crash(self) -> None:
        for name in tuple(self.members):
            await self.stop(name)

    async def begin(self, name: str) -> None:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            client = VCenter(*self._access(), now=self.now, random=random.Random(name), vms=folded_vms)
            await stack.enter_async_context(client)
            api = ConfigApi([self.contrail.ready["url"]], random=random.Random(name), rate=100_000)
            await stack.enter_async_context(api)
            inventory = ContrailInventory(api, BusNotifications(self.contrail.bus), random=random.Random(name))
            self.doors[name] = (client, api)
            client.inventory.start()
            client.events.start(EVENTS)
            inventory.start()
            stack.push_async_callback(inventory.stop)

            async def make(leader: Any, epoch: int) -> VCenterPlugin:
                journal = SharedJournal(self.records, election=self.election, epoch=epoch, now=self.now)
                self.plugins[name] = VCenterPlugin(
                    vcenter=client, contrail=inventory, api=api, agents=VRouterAgentClient(http),
                    introspect=Introspect(http), directory=self.directory_of_hosts, journal=journal, leader=leader,
                    health=HealthBook(self.now), now=self.now, random=random.Random(name), options=self.options,
                )  # fmt: skip
                return self.plugins[name]

            reigns = Reigns(
                stand=lambda: Member(self.election), make=make, ended=lambda: None, random=random.Random(name)
            )
            reigns.start()
            stack.push_async_callback(reigns.stop)
            self.members[name] = reigns
            self._stacks[name] = stack.pop_all()

    async def stop(self, name: str) -> None:
        """It is gone; what it had begun is not finished."""
        reigns = self.members.pop(name)
        plugin = self.plugins.pop(name, None)
        if plugin is not None:
            await plugin.stop(0.0)
        await reigns.stop()
        await self._stacks.pop(name).aclose()

    def sent(self, name: str) -> dict[str, int]:
        """Writes that one has sent so far, to vCenter and Contrail."""
        client, api = self.doors[name]
        found = {method: client.calls[method] for method in WRITES}
        for (verb, kind), number in api.calls.items():
            if verb not in ("list", "read", "fqname-to-id"):
                found[f"{verb} {kind}"] = number
        return found

    @property
    def reigning(self) -> str | None:
        return next((name for name, reigns in self.members.items() if reigns.leads), None)

    @property
    def plugin(self) -> VCenterPlugin:
        assert self.reigning is not None
        return self.members[self.reigning].acting

    @plugin.setter
    def plugin(self, _value: object) -> None:
        raise AttributeError("plugins come by election")

    def served(self, vm: Any) -> bool:
        ports = self.ports(vm)
        plugged = [each for each in self.plugged(vm.host).values() if each.mac == vm.nics[0].mac]
        return (
            len(ports) == 1 and self.is_open(ports[0]) and [each.rx_vlan for each in plugged] == [self.vlan(ports[0])]
        )

    def describe(self) -> str:
        return "\n".join(f"{name}: leads {each.leads}, {each.reason}" for name, each in self.members.items())
