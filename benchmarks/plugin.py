"""What the vCenter plugin asks of vCenter, Contrail and VRouterAgents: requests counted by the other sides.

Plugin and simulators run in one process on virtual time, over real sockets; so the CPU time shown is that of all sides
together, an upper bound of ours, and the counts do not depend on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import looptime

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient
from contrail_vsphere.demo.estate import Estate
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.engine.leader import AlwaysLeader
from contrail_vsphere.model.protocols import HostEntry
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.vcenter_plugin.plugin import EVENTS, VCenterPlugin
from contrail_vsphere.vsphere.endpoint import Endpoint, PasswordLogin
from contrail_vsphere.vsphere.told import folded_vms
from contrail_vsphere.vsphere.vcenter import VCenter

WRITES = (
    "ReconfigureDVPort_Task", "AddDVPortgroup_Task", "CreateDVPortgroup_Task", "ReconfigureDVPortgroup_Task",
    "Rename_Task", "Destroy_Task", "UpdatePorts",
)  # fmt: skip
"""The calls by which the plugin changes vCenter; all others only read."""
LISTS = ("list", "bulk-list", "list-bulk-collection")
READ_VERBS = (*LISTS, "read", "fqname-to-id", "fq-name-to-id", "id-to-fqname", "homepage")
PATIENCE = 600.0
"""Virtual seconds in which everything must be in place."""
NETWORK, PREFIX = "bench", "10.64.0.0/10"
ONE_AIM = {"vcenter": 1, "contrail": 4, "agents": 1}
"""Requests for one VM with one card on a network that is known."""
BURST_AIM = 20
"""Reconfigure tasks for a burst of 2,000 VMs on one switch."""


class Site:
    """The three worlds, and the plugin between them."""

    def __init__(self, *, hosts: int, vms: int) -> None:
        self.vcenter = VCenterSimulator(timing=Timing.instant(), hosts=hosts, vms=vms, guests=False)
        self.contrail = ContrailSimulator()
        self.plugin: VCenterPlugin
        self.api: ConfigApi
        self.estate: Estate

    @contextlib.asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[Site]:
        """All of it; the plugin acts from the start."""
        async with contextlib.AsyncExitStack() as stack:
            await self.vcenter.start()
            stack.push_async_callback(self.vcenter.stop)
            await stack.enter_async_context(self.contrail)
            fleet = self.vcenter.vrouters
            stack.push_async_callback(fleet.stop)
            for host in self.vcenter.scenario.hosts():
                await fleet.add(host.moid, controllers=("127.0.0.1",), connect_after=0.0)
            await asyncio.sleep(1)
            self.estate = await stack.enter_async_context(Estate(*self._access()))
            await self._start_plugin(directory, stack)
            yield self

    async def _start_plugin(self, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        now = self.vcenter.world.clock.now
        http = await stack.enter_async_context(aiohttp.ClientSession())
        client = await stack.enter_async_context(VCenter(*self._access(), now=now, random=Random(1), vms=folded_vms))
        self.api = await stack.enter_async_context(
            ConfigApi([self.contrail.ready["url"]], random=Random(2), rate=100_000)
        )
        inventory = ContrailInventory(self.api, BusNotifications(self.contrail.bus), random=Random(3))
        client.inventory.start()
        client.events.start(EVENTS)
        inventory.start()
        stack.push_async_callback(inventory.stop)
        journal = stack.enter_context(contextlib.closing(Journal(directory / "plugin.db", now=now)))
        self.plugin = VCenterPlugin(
            vcenter=client, contrail=inventory, api=self.api, agents=VRouterAgentClient(http),
            introspect=Introspect(http), directory=self._hosts, journal=journal, leader=AlwaysLeader(),
            health=HealthBook(now), now=now, random=Random(4),
        )  # fmt: skip
        await self.plugin.start()
        stack.push_async_callback(self.plugin.stop)

    def _access(self) -> tuple[Endpoint, PasswordLogin]:
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        return Endpoint(host, int(port), thumbprint=ready["thumbprint"]), PasswordLogin(
            ready["username"], ready["password"]
        )

    def _hosts(self) -> list[HostEntry]:
        fleet = self.vcenter.vrouters
        hosts = self.vcenter.scenario.hosts()
        return [HostEntry(host.moid, host.name, agent_address=fleet.address_of(host.moid)) for host in hosts]

    # -- counting ---------------------------------------------------------------------------------------------------

    def counts(self) -> Counter[tuple[str, str]]:
        """(world, call) so far, ours and the users'."""
        found = Counter({("vcenter", name): number for name, number in self.vcenter.calls.items()})
        found.update({("contrail", f"{verb} {kind}"): number for (verb, kind), number in self.contrail.calls.items()})
        found.update({("agents", name): number for name, number in self.vcenter.vrouters.calls.items()})
        return found

    def writes(self, spent: Counter[tuple[str, str]]) -> dict[str, int]:
        """Writes by world."""
        return {
            "vcenter": sum(number for (world, call), number in spent.items() if world == "vcenter" and call in WRITES),
            "contrail": sum(
                number
                for (world, call), number in spent.items()
                if world == "contrail" and call.split()[0] not in READ_VERBS
            ),
            "agents": sum(
                number for (world, call), number in spent.items() if world == "agents" and "Snh_" not in call
            ),
        }

    def objects(self, spent: Counter[tuple[str, str]]) -> int:
        """Requests for single objects of Contrail; lists are pages of many."""
        return sum(
            number for (world, call), number in spent.items() if world == "contrail" and call.split()[0] not in LISTS
        )

    async def settled(self, active: int) -> None:
        """Until so many ports are active and nothing is due. SystemExit when it takes too long."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            found = sum(port.state == "ACTIVE" for port in self.plugin.controller.ports())
            if found == active and self.plugin.controller.idle:
                return
            if loop.time() - begun > PATIENCE:
                raise SystemExit(f"{found} of {active} ports are active after {PATIENCE:g} virtual seconds")
            await asyncio.sleep(0.5)


async def measure(*, hosts: int, vms: int, burst: int, directory: Path) -> dict[str, Any]:
    """One VM, a burst, the rest, and then nothing."""
    site = Site(hosts=hosts, vms=vms)
    loop = asyncio.get_running_loop()
    async with site.running(directory):
        site.contrail.scenario.create_network(NETWORK, PREFIX)
        while NETWORK not in site.estate.groups():  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        group, tenants = site.estate.groups()[NETWORK], site.estate.tenants()
        found: dict[str, Any] = {"hosts": hosts, "vms": vms, "burst_vms": burst}
        begun = 0
        for name, count in (("one", 1), ("burst", burst), ("rest", vms - burst - 1)):
            before, used, then = site.counts(), time.process_time(), loop.time()
            await site.estate.place(tenants[begun : begun + count], [group])
            begun += count
            await site.settled(begun)
            spent = site.counts() - before
            found[name] = {
                "writes": site.writes(spent), "objects": site.objects(spent), "seconds": loop.time() - then,
                "cpu": time.process_time() - used, "tasks": spent[("vcenter", "ReconfigureDVPort_Task")],
            }  # fmt: skip
        before, used = site.counts(), time.process_time()
        site.plugin.contrail.read_again()
        await site.plugin.resync()
        await asyncio.sleep(30)
        await site.settled(vms)
        spent = site.counts() - before
        found["resync"] = {
            "writes": site.writes(spent), "cpu": time.process_time() - used,
            "reads": {f"{world} {call}": number for (world, call), number in sorted(spent.items())},
        }  # fmt: skip
        times = sorted(site.plugin.applier.tally.plug_seconds)
        found["plug_ms"] = {"p50": times[len(times) // 2] * 1000, "p99": times[int(len(times) * 0.99)] * 1000}
        found["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return found


def missed(found: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    faults = []
    one = found["one"]
    counted = {"vcenter": one["tasks"], "contrail": one["objects"], "agents": one["writes"]["agents"]}
    if counted != ONE_AIM:
        faults.append(f"one VM with one card costs {counted}; the aim is {ONE_AIM}")
    if found["burst"]["tasks"] > BURST_AIM:
        faults.append(
            f"a burst of {found['burst_vms']} VMs takes {found['burst']['tasks']} tasks; the aim is {BURST_AIM}"
        )
    if any(found["resync"]["writes"].values()):
        faults.append(f"a resync of {found['vms']} VMs writes {found['resync']['writes']}")
    return faults


def shown(found: dict[str, Any]) -> list[str]:
    """For people."""
    lines = [f"\nvCenter plugin, {found['vms']} VMs on {found['hosts']} hosts, all sides in one process"]
    for name, words in (
        ("one", "one VM, one card"),
        ("burst", f"burst of {found['burst_vms']} VMs"),
        ("rest", "the rest"),
    ):
        part = found[name]
        lines.append(
            f"  {words}: {part['tasks']} ReconfigureDVPort_Task, {part['objects']} requests to Contrail,"
            f" {part['writes']['agents']} to VRouterAgents; {part['cpu']:.2f} s CPU"
        )
    reads = ", ".join(f"{name} {number}" for name, number in found["resync"]["reads"].items())
    writes = sum(found["resync"]["writes"].values())
    lines.append(f"  resync: {writes} writes, {found['resync']['cpu']:.2f} s CPU; read: {reads}")
    return lines


def main() -> int:
    """``python -m benchmarks.plugin HOSTS VMS BURST`` prints one JSON object."""
    hosts, vms, burst = (int(word) for word in sys.argv[1:4])
    loop = looptime.new_event_loop(start=0.0)
    with tempfile.TemporaryDirectory() as directory, contextlib.closing(loop):
        found = loop.run_until_complete(measure(hosts=hosts, vms=vms, burst=burst, directory=Path(directory)))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
