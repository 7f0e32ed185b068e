"""Neutron with ``vmware_dvs``: what an operation costs vCenter, and what a slow vCenter costs Neutron's API: nothing.

Real Neutron on a real MariaDB, a worker as a process, a simulated vCenter in this process; so calls are counted by the
other side. Port creation is measured while vCenter answers at once, after five seconds, and not at all: only the ratios
count, for the machine is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from contrail_vsphere.demo.neutron_lab import NeutronLab, end, ini, obstacles
from contrail_vsphere.demo.neutron_site import NeutronSite
from contrail_vsphere.demo.neutron_story import connect
from contrail_vsphere.vsphere.filtered_ports import PORTS_PER_TASK

HOST, BOOKED_HOST = "compute-vC1", "compute-vC2"
"""Ports of vC2 are booked by key."""
CARDS_PER_VM = 8
RATIO_AIM = 1.5
"""Most times longer that a port creation takes while vCenter is slow or away."""
SAMPLES, BLOCK = 60, 6
"""Port creations for each state of vCenter; so many, then the next state: a machine that is busy for a while is busy
for all of them."""
FOLLOWING = ("WaitForUpdatesEx", "ModifyListView", "CurrentTime", "RetrievePropertiesEx")
NOISE = (*FOLLOWING, "ReconfigVM_Task", "CreateFilter")
"""Following vCenter, and our own plugging of cards."""
READ, WRITE = "FetchDVPorts", "ReconfigureDVPort_Task"
SESSION = ("Login", "Logout", "RetrieveServiceContent", "CreatePropertyCollector", "CreateContainerView",
           "CreateListView", "DestroyPropertyCollector", "DestroyView")  # fmt: skip
"""Of a worker that comes or goes."""
BEST: dict[str, dict[str, int]] = {
    "create network": {"AddDVPortgroup_Task": 1},
    "rename network": {"ReconfigureDVPortgroup_Task": 1},
    "change of a network that no switch knows": {},
    "delete network": {"Destroy_Task": 1},
    "bind port": {},
    "bind port by key": {WRITE: 1},
    "port admin state": {WRITE: 1},
    "delete port": {WRITE: 1},
    "nothing, half a minute": {},
    "worker start": {"CreateFilter": 2, READ: 1},
}
"""What an operation costs at best: one task for what is written. A worker that starts reads the DVPorts of a switch in
one call and follows the inventory and its tasks with a filter each; that of tasks comes with its first task."""


class Bench:
    """Two vCenters, a worker each; what is counted is of the first, unless ports by key are meant."""

    def __init__(self, lab: NeutronLab, site: NeutronSite, booked: NeutronSite, ports: int) -> None:
        self.lab, self.site, self.booked, self.count = lab, site, booked, ports
        self.api: Any = None
        self.plain: Any = None
        """A security group whose rules name no other: a port more in it concerns no other port."""

    async def run(self) -> dict[str, Any]:
        await self.lab.database()
        self.lab.write({
            "vmware_dvs": {"vcenters": "vC1, vC2", "cloud_id": "bench"},
            "vmware_dvs:vC1": {"host_map": f"{HOST}:cluster-0", "switch_map": "physnet1:dvs0"},
            "vmware_dvs:vC2": {"host_map": f"{BOOKED_HOST}:cluster-0", "switch_map": "physnet1:dvs0",
                               "binding_mode": "key"},
        })  # fmt: skip
        await self.lab.migrate()
        await self.lab.api()
        self.api = await asyncio.to_thread(connect, self.lab.url)
        self.plain = await self.ask("create_security_group", name="plain", project_id="bench")
        worker = await self.worker(self.site)
        await self.worker(self.booked)
        found: dict[str, Any] = {"calls": await self.operations(), "many": await self.many()}
        await end(worker)
        _, found["calls"]["worker start"] = await self.counted(self._started, without=FOLLOWING)
        found["port_create"] = await self.latency()
        return found

    async def worker(self, site: NeutronSite) -> asyncio.subprocess.Process:
        """Start one, with a settings file of its own."""
        settings, secret = (self.lab.directory / f"{site.name}.{kind}" for kind in ("ini", "password"))
        secret.write_text(site.ready["password"] + "\n")
        settings.write_text(ini({"ml2_vmware": {
            "vcenter": site.name, "vsphere_hostname": site.host, "host_port": str(site.port),
            "vsphere_login": site.ready["username"], "vsphere_password_file": str(secret),
            "ca_file": site.ready["ca_file"],
        }}))  # fmt: skip
        return await self.lab.worker(site.name, settings)

    async def _started(self) -> None:
        before = self.site.calls(()).get(READ, 0)
        await self.worker(self.site)
        await self.until(lambda: self.site.calls(()).get(READ, 0) > before)

    async def ask(self, method: str, *arguments: Any, **fields: Any) -> Any:
        return await asyncio.to_thread(getattr(self.api, method), *arguments, **fields)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(900):
            while True:
                found = holds()
                if not isinstance(found, bool):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.1)

    async def quiet(self) -> None:
        """Until neither vCenter was asked anything of interest for three seconds."""
        before = None
        while before != (now := [site.calls(NOISE) for site in (self.site, self.booked)]):
            before = now
            await asyncio.sleep(3)

    async def counted(
        self, work: Callable[[], Awaitable[Any]], *, site: NeutronSite | None = None, without: tuple[str, ...] = NOISE
    ) -> tuple[Any, dict[str, int]]:
        """What the work gave, and the calls it led to."""
        place = site or self.site
        await self.quiet()
        before = place.calls(without)
        made = await work()
        await asyncio.sleep(1)
        await self.quiet()
        after = place.calls(without)
        spent = {name: number - before.get(name, 0) for name, number in after.items()}
        return made, {name: number for name, number in spent.items() if number and name not in SESSION}

    async def _network(self, name: str, cidr: str) -> Any:
        made = await self.ask("create_network", name=name, project_id="bench")
        await self.ask("create_subnet", network_id=made.id, cidr=cidr, ip_version=4, project_id="bench")
        await self.until(lambda: self.site.group_of(made.id) is not None)
        return made

    async def operations(self) -> dict[str, dict[str, int]]:
        counts = {}
        await self._network("warm", "10.6.0.0/24")  # the worker has logged in and looked at everything
        network, counts["create network"] = await self.counted(lambda: self._network("one", "10.8.0.0/24"))
        _, counts["rename network"] = await self.counted(lambda: self.ask("update_network", network, name="two"))
        _, counts["change of a network that no switch knows"] = await self.counted(
            lambda: self.ask("update_network", network, is_shared=True)
        )
        port, counts["bind port"] = await self.counted(lambda: self._bound(network, HOST))
        await self._bound(network, BOOKED_HOST)  # the pool grows now, and not with the next one
        booked, counts["bind port by key"] = await self.counted(
            lambda: self._bound(network, BOOKED_HOST), site=self.booked
        )
        if "dvs_port_key" not in booked.binding_vif_details:
            raise SystemExit("the port was not booked by key")
        await self.site.plug("one", "one", port.mac_address, "", port.binding_vif_details)

        async def active() -> bool:
            return bool((await self.ask("get_port", port.id)).status == "ACTIVE")

        await self.until(active)
        _, counts["port admin state"] = await self.counted(
            lambda: self.ask("update_port", port.id, is_admin_state_up=False)
        )
        _, counts["delete port"] = await self.counted(lambda: self.ask("delete_port", port.id))
        await self.site.unplug("one", "one")
        for each in await asyncio.to_thread(lambda: list(self.api.ports(network_id=network.id))):
            await self.ask("delete_port", each.id)
        _, counts["delete network"] = await self.counted(lambda: self.ask("delete_network", network.id))
        _, counts["nothing, half a minute"] = await self.counted(lambda: asyncio.sleep(30), without=FOLLOWING[:3])
        return counts

    async def _bound(self, network: Any, host: str) -> Any:
        return await self.ask(
            "create_port", network_id=network.id, project_id="bench", device_owner="compute:nova", binding_host_id=host,
            security_group_ids=[self.plain.id],
        )  # fmt: skip

    async def many(self) -> dict[str, Any]:
        """A rule of a security group that so many ports have."""
        network = await self._network("many", "10.9.0.0/20")
        group = await self.ask("create_security_group", name="many", project_id="bench")
        body = {"network_id": network.id, "project_id": "bench", "device_owner": "compute:nova",
                "binding:host_id": HOST, "security_groups": [group.id]}  # fmt: skip
        ports: list[Any] = []
        while len(ports) < self.count:
            batch = min(100, self.count - len(ports))
            ports += await asyncio.to_thread(lambda: list(self.api.create_ports([body] * batch)))  # noqa: B023
        for number, port in enumerate(ports):
            await self.site.plug(
                f"vm{number // CARDS_PER_VM}", str(number), port.mac_address, "", port.binding_vif_details
            )

        async def active() -> bool:
            return await asyncio.to_thread(lambda: all(each.status == "ACTIVE" for each in self.api.ports(**mine)))

        mine = {"network_id": network.id, "device_owner": "compute:nova"}
        await self.until(lambda: self.site.named_ports() >= self.count)
        await self.until(active)
        rules = self.site.rules_in_force(network.id)

        async def change() -> float:
            began = time.perf_counter()
            await self.ask(
                "create_security_group_rule", security_group_id=group.id, direction="ingress", ether_type="IPv4",
                protocol="tcp", port_range_min=80, port_range_max=80, project_id="bench",
            )  # fmt: skip
            await self.until(lambda: self.site.rules_in_force(network.id) > rules)
            return time.perf_counter() - began

        seconds, calls = await self.counted(change)
        return {"ports": self.count, "calls": calls, "seconds": seconds}

    async def latency(self) -> dict[str, float]:
        """Median seconds of a port creation on a bound host, and how many were measured."""
        network = await self._network("timed", "10.16.0.0/22")
        times: dict[str, list[float]] = {"at once": [], "5 s": [], "never": []}
        await self._creations(network, 2)
        for _ in range(SAMPLES // BLOCK):
            for name, delay in (("at once", 0.0), ("5 s", 5.0), ("never", -1.0)):
                fault = self.site.slow(delay)
                times[name] += await self._creations(network, BLOCK)
                self.site.well(fault)
        return {name: statistics.median(each) for name, each in times.items()} | {"samples": SAMPLES}

    async def _creations(self, network: Any, count: int) -> list[float]:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            port = await self._bound(network, HOST)
            times.append(time.perf_counter() - began)
            if port.binding_vif_type != "dvs":
                raise SystemExit(f"the port was bound as {port.binding_vif_type}")
        return times


def missed(found: dict[str, Any]) -> list[str]:
    """Aims that were not reached, in words."""
    if "skipped" in found:
        return []
    faults = []
    for operation, ours, best in rows(found):
        for call, number in ours.items():
            if number > best.get(call, 0):
                faults.append(f"{operation}: {number} {call}, the best is {best.get(call, 0)}")
    times = found["port_create"]
    for name in ("5 s", "never"):
        if times[name] / times["at once"] > RATIO_AIM:
            faults.append(f"port creation takes {times[name] / times['at once']:.2f} times as long ({name})")
    return faults


def rows(found: dict[str, Any]) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """Operation, the calls it took, and those it takes at best."""
    many = found["many"]
    tasks = math.ceil(many["ports"] / PORTS_PER_TASK)
    return [
        *((operation, found["calls"][operation], best) for operation, best in BEST.items()),
        (f"security group rule, {many['ports']} ports", many["calls"], {WRITE: tasks}),
    ]


def shown(found: dict[str, Any]) -> list[str]:
    """For people."""
    if "skipped" in found:
        return [f"\nNeutron: not measured: {found['skipped']}"]
    lines = ["\nNeutron: calls of vCenter for an operation, beyond following its changes"]
    table = [
        (operation, _words(ours), _words(best), "best" if _reaches(ours, best) else "more than best")
        for operation, ours, best in rows(found)
    ]
    head = ("operation", "ours", "best", "verdict")
    widths = [max(len(row[at]) for row in (head, *table)) for at in range(3)]
    for row in (head, *table):
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=False))
        lines.append(f"  {'  '.join(cells)}  {row[3]}")
    many, times = found["many"], found["port_create"]
    lines.append(f"  the rule is in force on {many['ports']} ports after {many['seconds']:.1f} s")
    base = times["at once"]
    lines.append(
        f"  a port is created in {base * 1000:.0f} ms; while vCenter answers after 5 s in {times['5 s'] / base:.2f} of"
        f" that, while it does not answer in {times['never'] / base:.2f} (medians of {times['samples']:.0f})"
    )
    return lines


def _reaches(ours: dict[str, int], best: dict[str, int]) -> bool:
    return all(number <= best.get(call, 0) for call, number in ours.items())


def _words(calls: dict[str, int]) -> str:
    return ", ".join(f"{name} {calls[name]}" for name in sorted(calls)) or "none"


async def measure(ports: int) -> dict[str, Any]:
    """Whatever ends this, such as SIGTERM or Ctrl-C: the database, Neutron and the workers end with it."""
    found = obstacles()
    if found:
        return {"skipped": "; ".join(found)}
    directory = Path(tempfile.mkdtemp(prefix="neutron-bench-"))
    try:
        vms = ports // CARDS_PER_VM + 4
        async with NeutronSite("vC1", vms=vms) as site, NeutronSite("vC2") as booked, NeutronLab(directory) as lab:
            return await Bench(lab, site, booked, ports).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(ports: int) -> int:
    """Print what was found, as JSON."""

    async def ended_in_order() -> dict[str, Any]:
        work = asyncio.create_task(measure(ports))
        stopped = asyncio.Event()

        def stop() -> None:
            # A second signal would end the ending, and leave processes behind.
            if not stopped.is_set():
                stopped.set()
                work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        return await work

    with contextlib.suppress(asyncio.CancelledError):
        print(json.dumps(asyncio.run(ended_in_order())))
        return 0
    return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
