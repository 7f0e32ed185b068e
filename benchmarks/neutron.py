"""Neutron with ``vmware_dvs``: what an operation costs vCenter, and what a slow vCenter costs Neutron's API: nothing.

Real Neutron on a real MariaDB, a worker as a process, a simulated vCenter in this process; so calls are counted by the
other side. Port creation is measured while vCenter answers at once, after five seconds, and not at all: only the ratios
count, for the machine is the same.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from contrail_vsphere.demo.neutron_lab import NeutronLab, ini, obstacles
from contrail_vsphere.demo.neutron_site import NeutronSite
from contrail_vsphere.demo.neutron_story import connect
from contrail_vsphere.vsphere.filtered_ports import PORTS_PER_TASK

HOST = "compute-vC1"
CARDS_PER_VM = 8
RATIO_AIM = 1.5
"""Most times longer that a port creation takes while vCenter is slow or away."""
SAMPLES, BLOCK = 120, 12
"""Port creations for each state of vCenter; so many, then the next state: a machine that is busy for a while is busy
for all of them."""
NOISE = ("WaitForUpdatesEx", "ModifyListView", "CurrentTime", "RetrievePropertiesEx", "ReconfigVM_Task", "CreateFilter")
"""Following vCenter, and our own plugging of cards."""
AIMS = {
    "create network": {"AddDVPortgroup_Task": 1},
    "rename network": {"ReconfigureDVPortgroup_Task": 1},
    "bind port": {},
    "port admin state": {"ReconfigureDVPort_Task": 1, "FetchDVPorts": 1},
    "delete port": {"ReconfigureDVPort_Task": 1, "FetchDVPorts": 1},
    "delete network": {"Destroy_Task": 1},
}
"""Most calls of an operation: one task for what is written, one read of the versions of the ports concerned."""


class Bench:
    """One vCenter, one worker."""

    def __init__(self, lab: NeutronLab, site: NeutronSite, ports: int) -> None:
        self.lab, self.site, self.count = lab, site, ports
        self.api: Any = None

    async def run(self) -> dict[str, Any]:
        await self.lab.database()
        self.lab.write({
            "vmware_dvs": {"vcenters": "vC1", "cloud_id": "bench"},
            "vmware_dvs:vC1": {"host_map": f"{HOST}:cluster-0", "switch_map": "physnet1:dvs0"},
            "DEFAULT": {"max_allowed_address_pair": "20"},
        })  # fmt: skip
        await self.lab.migrate()
        await self.lab.api()
        self.api = await asyncio.to_thread(connect, self.lab.url)
        settings = self.lab.directory / "vC1.ini"
        secret = self.lab.directory / "password"
        secret.write_text(self.site.ready["password"] + "\n")
        settings.write_text(ini({"ml2_vmware": {
            "vcenter": "vC1", "vsphere_hostname": self.site.host, "host_port": str(self.site.port),
            "vsphere_login": self.site.ready["username"], "vsphere_password_file": str(secret),
            "ca_file": self.site.ready["ca_file"],
        }}))  # fmt: skip
        await self.lab.worker("vC1", settings)
        found: dict[str, Any] = {"calls": await self.operations(), "many": await self.many()}
        found["port_create"] = await self.latency()
        return found

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
        """Until vCenter was asked nothing of interest for three seconds."""
        before = None
        while before != (now := self.site.calls(NOISE)):
            before = now
            await asyncio.sleep(3)

    async def counted(self, work: Callable[[], Awaitable[Any]]) -> tuple[Any, dict[str, int]]:
        await self.quiet()
        before = self.site.calls(NOISE)
        made = await work()
        await asyncio.sleep(1)
        await self.quiet()
        after = self.site.calls(NOISE)
        spent = {name: number - before.get(name, 0) for name, number in after.items()}
        return made, {name: number for name, number in spent.items() if number}

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
        fields = {"network_id": network.id, "project_id": "bench", "device_owner": "compute:nova",
                  "binding_host_id": HOST}  # fmt: skip
        port, counts["bind port"] = await self.counted(lambda: self.ask("create_port", **fields))
        await self.site.plug("one", "one", port.mac_address, "", port.binding_vif_details)

        async def active() -> bool:
            return bool((await self.ask("get_port", port.id)).status == "ACTIVE")

        await self.until(active)
        _, counts["port admin state"] = await self.counted(
            lambda: self.ask("update_port", port.id, is_admin_state_up=False)
        )
        _, counts["delete port"] = await self.counted(lambda: self.ask("delete_port", port.id))
        await self.site.unplug("one", "one")
        _, counts["delete network"] = await self.counted(lambda: self.ask("delete_network", network.id))
        return counts

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
        await self.until(lambda: self.site.named_ports() >= self.count)
        rules = self.site.rules_in_force(network.id)
        began = time.perf_counter()

        async def change() -> None:
            await self.ask(
                "create_security_group_rule", security_group_id=group.id, direction="ingress", ether_type="IPv4",
                protocol="tcp", port_range_min=80, port_range_max=80, project_id="bench",
            )  # fmt: skip
            await self.until(lambda: self.site.rules_in_force(network.id) > rules)

        _, calls = await self.counted(change)
        return {"ports": self.count, "calls": calls, "seconds": time.perf_counter() - began}

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
            port = await self.ask(
                "create_port", network_id=network.id, project_id="bench", device_owner="compute:nova",
                binding_host_id=HOST,
            )  # fmt: skip
            times.append(time.perf_counter() - began)
            if port.binding_vif_type != "dvs":
                raise SystemExit(f"the port was bound as {port.binding_vif_type}")
        return times


def missed(found: dict[str, Any]) -> list[str]:
    """Aims that were not reached, in words."""
    if "skipped" in found:
        return []
    faults = []
    for operation, most in AIMS.items():
        for call, number in found["calls"][operation].items():
            if number > most.get(call, 0):
                faults.append(f"{operation}: {number} {call}, the aim is {most.get(call, 0)}")
    many = found["many"]
    tasks = many["calls"].get("ReconfigureDVPort_Task", 0)
    if tasks > math.ceil(many["ports"] / PORTS_PER_TASK):
        faults.append(f"a rule of {many['ports']} ports: {tasks} tasks")
    times = found["port_create"]
    for name in ("5 s", "never"):
        if times[name] / times["at once"] > RATIO_AIM:
            faults.append(f"port creation takes {times[name] / times['at once']:.2f} times as long ({name})")
    return faults


def shown(found: dict[str, Any]) -> list[str]:
    """For people."""
    if "skipped" in found:
        return [f"\nNeutron: not measured: {found['skipped']}"]
    lines = ["\nNeutron: calls of vCenter for an operation, beyond following its changes"]
    for operation, calls in found["calls"].items():
        lines.append(f"  {operation:18} {', '.join(f'{name} {number}' for name, number in calls.items()) or 'none'}")
    many, times = found["many"], found["port_create"]
    calls = ", ".join(f"{name} {number}" for name, number in many["calls"].items())
    lines.append(f"  a security group rule on {many['ports']} ports: {calls}")
    base = times["at once"]
    lines.append(
        f"  a port is created in {base * 1000:.0f} ms; while vCenter answers after 5 s in {times['5 s'] / base:.2f} of"
        f" that, while it does not answer in {times['never'] / base:.2f} (medians of {times['samples']:.0f})"
    )
    return lines


async def measure(ports: int) -> dict[str, Any]:
    found = obstacles()
    if found:
        return {"skipped": "; ".join(found)}
    directory = Path(tempfile.mkdtemp(prefix="neutron-bench-"))
    try:
        vms = ports // CARDS_PER_VM + 4
        async with NeutronSite("vC1", vms=vms) as site, NeutronLab(directory) as lab:
            return await Bench(lab, site, ports).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
