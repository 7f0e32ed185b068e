"""What the simulated vCenter itself is good for: how soon it is there, what its ports and updates cost, calls a second.

Every number is the server's: its own CPU time (from /proc), or the time until an answer is there with a client that
does next to nothing. Where vcsim is found, it stands beside ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.sides import address
from contrail_vsphere.simulator import tls
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import managed_class

START_AIM = 5.0
"""Seconds until 1,000 hosts with 50,000 VMs answer."""
LATENCY_AIM = 0.01
"""Seconds, at the median, from a change to the update of a client that follows 10,000 VMs."""
CALLS_AIM = {"calls": 3_200, "calls16": 10_500}
"""Small calls a second, over one connection and over 16, for each second of the server's CPU."""
WARM_AIM = 10.0
"""Times the CPU of sending the same bytes over TLS, for the NIC properties of every VM when they were read before."""
BATCH = 500


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def connected(ready: dict[str, Any]) -> VCenter:
    host, port = address(ready)
    endpoint = Endpoint(host, port, ca_file=ready["ca_file"])
    return VCenter(endpoint, PasswordLogin(ready["username"], ready["password"]))


# -- ports ------------------------------------------------------------------------------------------------------------


async def ports(ready: dict[str, Any], pid: int, count: int) -> dict[str, float]:
    """CPU of the server: make a group of that many ports, fetch them all, one, and write VLANs in batches."""
    from pyVmomi import vim

    found: dict[str, float] = {}

    @contextlib.contextmanager
    def noted(name: str) -> Iterator[None]:
        before = cpu_of(pid)
        yield
        found[name] = cpu_of(pid) - before

    policy = vim.dvs.VmwareDistributedVirtualSwitch.VMwarePortgroupPolicy(
        vlanOverrideAllowed=True,
        blockOverrideAllowed=True,
        portConfigResetAtDisconnect=True,
        shapingOverrideAllowed=False,
        vendorConfigOverrideAllowed=False,
        livePortMovingAllowed=False,
        uplinkTeamingOverrideAllowed=False,
        securityPolicyOverrideAllowed=False,
    )
    setting, port = vim.dvs.VmwareDistributedVirtualSwitch, vim.dvs.DistributedVirtualPort
    async with connected(ready) as vcenter:
        dvs = (await rows(vcenter, "VmwareDistributedVirtualSwitch"))[0]
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name="bench", numPorts=count, type="earlyBinding", policy=policy
        )
        with noted(f"create a group of {count} ports"):
            group = await vcenter.run_task(dvs, "CreateDVPortgroup_Task", spec=spec)
        inside = vim.dvs.PortCriteria(portgroupKey=[group._moId], inside=True)
        keys = await vcenter.call(dvs, "FetchDVPortKeys", criteria=inside)
        for name, criteria in (
            (f"FetchDVPorts of {BATCH}", vim.dvs.PortCriteria(portKey=keys[:BATCH])),
            ("FetchDVPorts of one, 100 times", vim.dvs.PortCriteria(portKey=keys[:1])),
        ):
            with noted(name):
                for _ in range(100 if "times" in name else 1):
                    await vcenter.call(dvs, "FetchDVPorts", criteria=criteria)
        with noted(f"FetchDVPorts of all {count}"):
            await vcenter.call(dvs, "FetchDVPorts", criteria=inside)
        batches = [keys[at : at + BATCH] for at in range(0, min(count, 10_000), BATCH)]
        with noted(f"ReconfigureDVPort of {len(batches) * BATCH} ports by {BATCH}"):
            for number, batch in enumerate(batches):
                vlan = setting.VlanIdSpec(inherited=False, vlanId=1 + number)
                specs = [
                    port.ConfigSpec(operation="edit", key=key, setting=setting.VmwarePortConfigPolicy(vlan=vlan))
                    for key in batch
                ]
                await vcenter.run_task(dvs, "ReconfigureDVPort_Task", port=specs)
    return found


async def rows(vcenter: VCenter, kind: str) -> list[Any]:
    """References of all objects of a type."""
    return [
        managed_class(row.type)(row.id) async for page in vcenter.reader.of_type(kind, {"name": "text"}) for row in page
    ]


# -- updates ----------------------------------------------------------------------------------------------------------


async def latency(ready: dict[str, Any], times: int) -> list[float]:
    """Seconds from asking for a folder to the update about it, of a client that follows every VM and folder."""
    from contrail_vsphere.vsphere import property_collector as pc

    async with connected(ready) as watcher, connected(ready) as user:
        paths = {"VirtualMachine": ("name", "runtime.powerState", "config.hardware.device"), "Folder": ("name",)}
        content = watcher.content
        view = await watcher.call(
            content.viewManager,
            "CreateContainerView",
            **pc.container_view_args(content.rootFolder, list(paths)),
        )
        collector = content.propertyCollector
        await watcher.call(collector, "CreateFilter", spec=pc.of_view(view, paths), partialUpdates=False)
        version = ""
        while True:
            told = await watcher.call(collector, "WaitForUpdatesEx", version=version)
            version = told.version
            if not told.truncated:
                break
        found = []
        for number in range(times):
            waiting = asyncio.ensure_future(watcher.call(collector, "WaitForUpdatesEx", version=version))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            made = asyncio.ensure_future(
                user.call(content.rootFolder, "CreateFolder", name=f"bench-{os.getpid()}-{number}")
            )
            told = await waiting
            found.append(time.perf_counter() - began)
            await made
            version = told.version
    return found


# -- vcsim ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def vcsim() -> Iterator[dict[str, Any] | None]:
    """A running vcsim with three hosts and four VMs; None where there is none."""
    built = Path(__file__).parents[1] / ".tools" / "bin" / "vcsim"
    binary = os.environ.get("VCSIM_BIN") or (str(built) if built.exists() else shutil.which("vcsim"))
    if not binary:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        identity = tls.make_identity(Path(directory), "127.0.0.1")
        chain = str(Path(directory) / "server.pem")
        process = subprocess.Popen(
            [binary, "-cert", chain, "-key", chain],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            url = json.loads(line)["url"]
            yield {
                "url": url,
                "ca_file": str(identity.ca_file),
                "username": "user",
                "password": "pass",
                "pid": process.pid,
            }
        finally:
            process.communicate(timeout=30)


def shown(found: dict[str, Any]) -> list[str]:
    """Lines to print."""
    lines = [
        "\nthe simulated vCenter",
        f"  1,000 hosts and 50,000 VMs answer after {found['start']:.2f} s, {found['start_cpu']:.2f} s of CPU"
        f" (aim {START_AIM:g})",
        f"  update of a client that follows {found['vms']} VMs: median {found['latency'] * 1e3:.2f} ms,"
        f" 95 of 100 within {found['latency_95'] * 1e3:.2f} ms (aim {LATENCY_AIM * 1e3:g})",
        f"  NIC properties of {found['vms']} VMs, read before: {found['warm']['bytes'] / 1e6:.1f} MB in"
        f" {found['warm']['wall']:.2f} s, {found['warm']['cpu']:.2f} s of its CPU;"
        f" as many bytes from a bare TLS server {found['transfer']['wall']:.2f} s, {found['transfer']['cpu']:.2f} s",
        *(f"  {name}: {cpu:.2f} s of its CPU" for name, cpu in found["ports"].items()),
    ]
    for name, works in found["calls"].items():
        for work, side in works.items():
            aim = f" (aim {1e6 / CALLS_AIM[work]:.0f})" if name == "ours" else ""
            lines.append(
                f"  small calls to {name} over {'16 TLS connections' if work == 'calls16' else 'one'}:"
                f" {side['rate']:.0f} a second, {side['cpu'] * 1e6:.0f} us of its CPU each{aim}"
            )
    if "vcsim" not in found["calls"]:
        lines.append("  vcsim: not found (`make tools` builds it)")
    return lines


def missed(found: dict[str, Any]) -> list[str]:
    """Aims that were not met. CPU counts where there is one, so that a busy machine does not."""
    faults = []
    if found["start_cpu"] > START_AIM:
        faults.append(f"the large inventory takes {found['start_cpu']:.1f} s of CPU; the aim is {START_AIM:g} s")
    ratio = found["warm"]["cpu"] / max(found["transfer"]["cpu"], 0.01)
    if ratio > WARM_AIM:
        faults.append(f"a warm read costs {ratio:.1f} times the CPU of the transfer; the aim is {WARM_AIM:g}")
    for work, aim in CALLS_AIM.items():
        served = 1 / found["calls"]["ours"][work]["cpu"]
        if served < aim:
            faults.append(f"{served:.0f} small calls in a second of the server's CPU ({work}); the aim is {aim}")
    if found["latency"] > LATENCY_AIM:
        faults.append(f"updates take {found['latency'] * 1e3:.1f} ms; the aim is {LATENCY_AIM * 1e3:g} ms")
    return faults


def summary(times: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"latency": statistics.median(times), "latency_95": statistics.quantiles(times, n=20)[-1]}
