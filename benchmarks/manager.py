"""What the ContrailVM Manager asks of vCenter: counts of calls, which do not depend on the machine.

By EAM, or by vLCM's System VMs on a vCenter 9 whose clusters are managed by images. The whole service, the simulated
vCenter and its guests run in one process on virtual time, over TLS sockets; so the CPU time shown is that of both sides
together, an upper bound of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import looptime

from contrail_vsphere.app.contrailvm import ContrailVmService
from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.config.load import load
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.rollout.upgrades import UpgradeWish
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

Keeper = Literal["eam", "vlcm"]
"""Who keeps the ContrailVMs."""
KEY = "net.juniper.contrail.vm-manager"
SETTLE = 300.0
"""Virtual seconds after the last host became green in which follow-up reads may still run."""
STEADY = 600.0
"""Virtual seconds over which the steady state is counted."""
CYCLE = 30.0
"""Virtual seconds between two polls of EAM, or of vLCM."""
DEADLINE = 3600.0
"""Virtual seconds in which every host must be green."""
UPGRADE_DEADLINE = 6 * 3600.0
"""Virtual seconds in which every host must be upgraded."""
UPGRADE_AIM = 1.0
"""Seconds of CPU for each host of an upgrade at most, of both sides and the guests together."""

SETTINGS = """\
[vcenter.bench]
host = "127.0.0.1"
port = {port}
username = "{username}"
password_file = "vcenter.password"
ca_file = "{ca}"
tunnel_host = "127.0.0.1"
tunnel_port = {tunnel}
{rest}
[manager]
data_dir = "data"
extension_key = "{key}"
[publish]
listen = "127.0.0.1:{publish}"
[bootstrap]
listen = "127.0.0.1:{bootstrap}"
[control]
listen = "127.0.0.1:{control}"
[log]
level = "error"
"""

REST = """\
rest_username = "{username}"
rest_password_file = "vcenter.password"
"""

DEPLOYMENT = """\
[deployment.bench]
clusters = {clusters}
package = "{version}"
datastores = ["nfs-shared"]
[deployment.bench.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.bench.guest]
controllers = ["127.0.0.1"]
[deployment.bench.rollout]
concurrency = 4
"""


def _settings(directory: Path, ready: dict[str, Any], keeper: Keeper) -> Settings:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    publish, bootstrap, control = (each.getsockname()[1] for each in held)
    for each in held:
        each.close()
    password = directory / "vcenter.password"
    password.touch(mode=0o600)
    password.write_text(ready["password"])
    file = directory / "settings.toml"
    file.write_text(
        SETTINGS.format(
            port=ready["url"].removesuffix("/sdk").rpartition(":")[2],
            username=ready["username"],
            ca=ready["ca_file"],
            tunnel=ready["tunnel"].rpartition(":")[2],
            rest=REST.format(username=ready["username"]) if keeper == "vlcm" else "",
            key=KEY,
            publish=publish,
            bootstrap=bootstrap,
            control=control,
        )
    )
    return load(file, {})


async def _package(settings: Settings, directory: Path, version: str) -> None:
    data = DataDirectory(settings.manager.data_dir, now=lambda: datetime.now(UTC))
    await data.packages().add(make_demo_package(directory / f"build-{version}", version=version))


class Meter:
    """Calls of the service, CPU and virtual time since it was made."""

    def __init__(self, service: ContrailVmService) -> None:
        self._service = service
        self._calls, self._used, self.begun = service.calls, time.process_time(), asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        """Virtual ones."""
        return asyncio.get_running_loop().time() - self.begun

    def read(self) -> dict[str, Any]:
        """What was used so far."""
        calls = dict(self._service.calls - self._calls)
        return {"calls": calls, "cpu": time.process_time() - self._used, "seconds": self.seconds}


async def vcenter_in_view(manager: ContrailVmManager) -> None:
    """Wait until the manager has read what it judges by."""
    while manager.blind():  # noqa: ASYNC110 - virtual time costs nothing
        await asyncio.sleep(1.0)


async def _deployed(service: ContrailVmService, clusters: int) -> dict[str, Any]:
    """Every host is given its ContrailVM."""
    meter, manager = Meter(service), service.manager
    await vcenter_in_view(manager)
    names = json.dumps([f"C{number}" for number in range(clusters)])
    manager.operator.apply_deployments(DEPLOYMENT.format(clusters=names, version="1.0.0"))
    while not (manager.converged() and manager.status().deployments):
        if meter.seconds > DEADLINE:
            raise SystemExit(f"not all green after {DEADLINE:g} virtual seconds")
        await asyncio.sleep(5.0)
    return meter.read()


async def _counted(service: ContrailVmService, seconds: float) -> dict[str, Any]:
    meter = Meter(service)
    await asyncio.sleep(seconds)
    return meter.read()


async def _upgraded(service: ContrailVmService) -> dict[str, Any]:
    """Every host is given another ContrailVM, with the rollout as most would leave it."""
    meter, manager = Meter(service), service.manager
    await manager.operator.upgrades.upgrade(UpgradeWish("bench", to="1.1.0"), by="bench")
    while manager.notebook.rollouts["bench"].active:
        if meter.seconds > UPGRADE_DEADLINE:
            raise SystemExit(f"not all upgraded after {UPGRADE_DEADLINE:g} virtual seconds")
        await asyncio.sleep(5.0)
    built = {each.version for each in manager.hosts()}
    if built != {"1.1.0"}:
        raise SystemExit(f"after the upgrade hosts run {built}")
    return meter.read()


def missed(found: dict[str, Any]) -> list[str]:
    """The aims that were missed."""
    if "upgrade" not in found:
        return []
    share = found["upgrade"]["cpu"] / found["hosts"]
    return [f"{share:.2f} s CPU for each host of an upgrade; the aim is {UPGRADE_AIM:g}"] * (share > UPGRADE_AIM)


def shown(found: dict[str, Any]) -> list[str]:
    """What was measured, for people."""
    hosts, clusters = found["hosts"], found["clusters"]
    keeper = {"eam": "EAM", "vlcm": "System VMs (vLCM)"}[found["keeper"]]
    lines = []
    for name in [each for each in ("deploy", "steady", "upgrade") if each in found]:
        part = found[name]
        calls = sum(part["calls"].values())
        share = f"{calls / hosts:.1f} a host"
        if name == "steady":
            share = f"{calls / part['seconds'] * CYCLE:.1f} in {CYCLE:g} s"
        lines.append(
            f"\nContrailVM Manager by {keeper}, {hosts} hosts in {clusters} clusters, {name}: {part['seconds']:.0f}"
            f" virtual s, {calls} calls of vCenter ({share}), {part['cpu']:.1f} s CPU of both sides and all guests"
        )
        most = sorted(part["calls"].items(), key=lambda each: -each[1])[:8]
        lines.append("  " + ", ".join(f"{call} {number}" for call, number in most))
    if "upgrade" in found:
        lines.append(f"  an upgrade costs {found['upgrade']['cpu'] / hosts:.2f} s CPU a host")
    else:
        polls = found["steady"]["calls"].get("AgencyQueryRuntime", 0) / clusters / (STEADY / CYCLE)
        lines.append(f"  {polls:.2f} AgencyQueryRuntime for each agency and poll")
    return lines


async def _measure(
    hosts: int, clusters: int, keeper: Keeper, directory: Path, *, upgraded: bool = True
) -> dict[str, Any]:
    profile = "vc90" if keeper == "vlcm" else "vc80u3"
    vcenter = VCenterSimulator(hosts=hosts, clusters=clusters, profile=profile, timing=Timing.real())
    await vcenter.start()
    try:
        for number in range(clusters if keeper == "vlcm" else 0):
            vcenter.scenario.set_image_managed(f"C{number}")
        settings = _settings(directory, vcenter.ready, keeper)
        for version in ("1.0.0", "1.1.0"):
            await _package(settings, directory, version)
        await register(settings)
        async with ContrailVmService(settings, now=vcenter.world.clock.now, seed=1) as service:
            deploy = await _deployed(service, clusters)
            await asyncio.sleep(SETTLE)
            steady = await _counted(service, STEADY)
            found = {"keeper": keeper, "hosts": hosts, "clusters": clusters, "deploy": deploy, "steady": steady}
            return {**found, "upgrade": await _upgraded(service)} if upgraded else found
    finally:
        await vcenter.stop()


def main() -> int:
    """``python -m benchmarks.manager HOSTS CLUSTERS [eam|vlcm] [at-rest]`` prints one JSON object.

    ``at-rest``: without an upgrade.
    """
    hosts, clusters = int(sys.argv[1]), int(sys.argv[2])
    keeper: Keeper = "vlcm" if "vlcm" in sys.argv[3:] else "eam"
    upgraded = "at-rest" not in sys.argv[3:]
    loop = looptime.new_event_loop(start=0.0)
    with tempfile.TemporaryDirectory() as directory, contextlib.closing(loop):
        found = loop.run_until_complete(_measure(hosts, clusters, keeper, Path(directory), upgraded=upgraded))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
