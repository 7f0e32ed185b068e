"""Real processes: a simulated vCenter, and a manager that is killed with signal 9 and started again."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from crash_rig import DEPLOYMENT, write_settings
from outside_truth import TRUNK
from warm_process import WarmProcess

from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.config.load import load
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.demo.processes import Child, Children
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, NotReadyYet

START = 60.0
"""Seconds a process may take to serve; two cores are shared by many."""
CONVERGE = 180.0
"""Seconds in which all must be well again, at the demo's pace."""
POLL = 0.1


class KillRig:
    """``async with kill_rig(...)``; everything is asked of the simulator's control port, nothing of the manager."""

    def __init__(self, directory: Path, http: aiohttp.ClientSession, simulator: Child) -> None:
        self._directory = directory
        self._http = http
        self._control = simulator.ready["control_url"]
        self.config = write_settings(directory, simulator.ready)
        self.manager: WarmProcess
        self.kills = 0
        self._tenants: dict[str, Any] = {}

    # -- the manager --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        async with asyncio.timeout(START):
            self.manager = WarmProcess(self._directory / "manager.log", "run", "--config", str(self.config))
            await self.manager.start()

    async def kill(self) -> None:
        """``kill -9``; what it was doing stays as it is. Only what ends by that signal is counted."""
        ended = await self.manager.end(by=signal.SIGKILL)
        assert ended == -signal.SIGKILL, f"the manager had ended by itself ({ended}): {self.manager.last_words()}"
        self.kills += 1

    async def deploy(self, version: str) -> None:
        """The operator's word."""
        await self._say("/v1/apply", {"document": DEPLOYMENT.format(version=version, clusters='"C0"')})

    async def remove(self) -> None:
        """The operator's word."""
        await self._say("/v1/deployments/dc1/remove", {"confirm": "dc1"})

    async def release(self) -> None:
        """Past repairs are forgotten: many stories break the same ContrailVM on purpose."""
        await self._say("/v1/resolve", {})

    async def _say(self, path: str, body: dict[str, Any]) -> None:
        """Said again as long as the manager does not know the vCenter yet."""
        async with asyncio.timeout(START), ControlClient(load(self.config, {}), role="operator") as client:
            while True:
                with contextlib.suppress(NotReadyYet, InvalidState):
                    await client.post(path, body)
                    return
                await asyncio.sleep(POLL)

    # -- the vCenter --------------------------------------------------------------------------------------------

    async def do(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A verb of the control port."""
        timeout = aiohttp.ClientTimeout(total=START)
        async with self._http.request(method, self._control + path, json=body, timeout=timeout) as response:
            assert response.status < 400, f"{method} {path}: {await response.text()}"
            return await response.json() if response.status != 204 else None

    async def calls(self, name: str) -> int:
        """How often a method was called so far."""
        return int((await self.do("GET", "/v1/stats"))["calls"].get(name, 0))

    async def begin(self) -> None:
        """The VMs there are now are the tenants."""
        self._tenants = {moid: _state(vm) for moid, vm in (await self.vms()).items()}

    async def vms(self, *, contrailvms: bool = False) -> dict[str, Any]:
        snapshot = await self.do("GET", "/v1/snapshot")
        return {
            moid: each
            for moid, each in snapshot.items()
            if each["type"] == "VirtualMachine" and each["esx_agent"] == contrailvms
        }

    async def contrailvm(self, host: str) -> str:
        """The id of the ContrailVM of the host of that name."""
        snapshot = await self.do("GET", "/v1/snapshot")
        return next(
            moid for moid, vm in (await self.vms(contrailvms=True)).items() if snapshot[vm["host"]]["name"] == host
        )

    async def until(self, condition: Callable[[], Awaitable[bool]], *, what: str, seconds: float = CONVERGE) -> None:
        """Wait for a moment."""
        end = time.monotonic() + seconds
        while not await condition():
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}; {self.manager.last_words()}"
            await asyncio.sleep(POLL)

    async def after_call(self, name: str, since: int) -> None:
        """Wait until a method was called more than ``since`` times."""

        async def called() -> bool:
            return await self.calls(name) > since

        await self.until(called, what=f"{name} is called")

    async def well(self, *, deployed: bool = True, without: Collection[str] = ()) -> None:
        """Wait until nothing is wrong, and stays so; the VMs ``without`` must have been replaced."""
        wrong: list[str] = []

        async def nothing_wrong() -> bool:
            nonlocal wrong
            for pause in (0.0, 1.0):
                await asyncio.sleep(pause)
                wrong = await self.wrongs(deployed=deployed)
                wrong += [f"{moid} was not replaced" for moid in await self.vms(contrailvms=True) if moid in without]
                if wrong:
                    return False
            return True

        try:
            await self.until(nothing_wrong, what="all is well")
        except AssertionError as late:
            raise AssertionError(f"{late}; wrong: {wrong}") from None

    async def wrongs(self, *, deployed: bool) -> list[str]:
        """What is not as it should be, in words."""
        snapshot, stats = await self.do("GET", "/v1/snapshot"), await self.do("GET", "/v1/stats")
        found = [f"defect of the simulator: {each}" for each in stats["defects"]]
        found += _wrong_tenants(snapshot, self._tenants)
        found += _wrong_ground(snapshot, deployed=deployed)
        if stats["objects"].get("Agency", 0) != int(deployed):
            found.append(f"{stats['objects'].get('Agency', 0)} agencies")
        found += _wrong_hosts(snapshot, deployed=deployed)
        if deployed and not found:
            found += [each async for each in self._silent(snapshot)]
        return found

    async def _silent(self, snapshot: dict[str, Any]) -> AsyncIterator[str]:
        """ContrailVMs whose vRouter does not forward, asked themselves."""
        introspect = Introspect(self._http)
        for vm in snapshot.values():
            if vm["type"] == "VirtualMachine" and vm["esx_agent"]:
                try:
                    answer = await introspect.forwards(vm["guest_ip"])
                except ContrailVsphereError as error:
                    yield f"{vm['name']}: {error}"
                else:
                    if not answer:
                        yield f"{vm['name']} does not forward"


def _wrong_tenants(snapshot: dict[str, Any], tenants: dict[str, Any]) -> Iterator[str]:
    now = {moid: _state(vm) for moid, vm in snapshot.items() if vm["type"] == "VirtualMachine" and not vm["esx_agent"]}
    if now != tenants:
        yield f"tenants were {tenants}, are {now}"


def _wrong_ground(snapshot: dict[str, Any], *, deployed: bool) -> Iterator[str]:
    for kind, name in (("DistributedVirtualPortgroup", TRUNK), ("ResourcePool", "ContrailVM")):
        number = sum(each["type"] == kind and each["name"].startswith(name) for each in snapshot.values())
        if number > 1 or (deployed and number != 1):
            yield f"{number} {kind} {name}"


def _wrong_hosts(snapshot: dict[str, Any], *, deployed: bool) -> Iterator[str]:
    hosts = {moid: each for moid, each in snapshot.items() if each["type"] == "HostSystem"}
    here: dict[str, list[Any]] = {moid: [] for moid in hosts}
    for moid, vm in snapshot.items():
        if vm["type"] == "VirtualMachine" and vm["esx_agent"]:
            if vm["host"] in here:
                here[vm["host"]].append(vm)
            else:
                yield f"{vm['name']} ({moid}) is on no host"
    for moid, host in hosts.items():
        states = [vm["power_state"] for vm in here[moid]]
        if states != ["poweredOn"] * int(deployed):
            yield f"{host['name']} has {[(vm['name'], vm['power_state']) for vm in here[moid]]}"
        if {host["required_agents"], host["available_agents"]} != {int(deployed)}:
            yield f"{host['name']}: {host['available_agents']} of {host['required_agents']} EsxAgents available"


def _state(vm: dict[str, Any]) -> Any:
    return (vm["name"], vm["power_state"], vm["resource_pool"], str(vm["nics"]), str(vm["boot_time"]))


@asynccontextmanager
async def kill_rig(directory: Path, prepared: Path, *, hosts: int = 2) -> AsyncIterator[KillRig]:
    """Simulator and manager run, the extension is registered, nothing is deployed."""
    shutil.copytree(prepared / "data", directory / "data")
    async with contextlib.AsyncExitStack() as stack:
        children = await stack.enter_async_context(Children(directory))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with asyncio.timeout(START):
            simulator = await children.start(
                "vcenter", "simulate", "vcenter", "--pace", "demo", "--hosts", str(hosts), "--vms", "2",
                "--ca-dir", str(directory / "vcenter-ca"),
            )  # fmt: skip
        rig = KillRig(directory, http, simulator)
        await register(load(rig.config, {}))
        await rig.begin()
        try:
            await rig.start()
            yield rig
        finally:
            await rig.manager.end(by=signal.SIGTERM)
