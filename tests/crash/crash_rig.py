"""A simulated vCenter and the manager's service as ``run`` starts it, to be killed at any point and started again.

The service is the one that ``app`` composes, with its journal, listeners, logins and files; only time is virtual.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crash_points import CURRENT, Killed, Points, Process, own_tasks, watched
from outside_truth import Truth

from contrail_vsphere.app.contrailvm import ContrailVmService
from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.config.load import load
from contrail_vsphere.config.settings import Settings
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.pki.tokens import TokenRefused
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

VERSIONS = ("1.0.0", "1.0.1")
KEY = "net.juniper.contrail.vm-manager"
PATIENCE = 1200.0
"""Virtual seconds in which everything must be well again."""

SETTINGS = """\
[vcenter.lab]
host = "127.0.0.1"
port = {port}
username = "{username}"
password_file = "vcenter.password"
ca_file = "{ca}"
tunnel_host = "127.0.0.1"
tunnel_port = {tunnel}
{rest}
[manager]
data_dir = "{data}"
extension_key = "{key}"
[publish]
listen = "{address}:{publish}"
[bootstrap]
listen = "{address}:{bootstrap}"
[control]
listen = "{address}:{control}"
"""

REST = """\
rest_username = "{username}"
rest_password_file = "vcenter.password"
"""

DEPLOYMENT = """\
[deployment.dc1]
clusters = [{clusters}]
package = "{version}"
datastores = ["nfs-shared"]
[deployment.dc1.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
[deployment.dc1.rollout]
gate = 2
deadline = 300
"""


def utc_now() -> datetime:
    return datetime.now(UTC)


def prepare(directory: Path) -> Path:
    """The parts of a data directory that do not depend on the vCenter."""
    data = DataDirectory(directory / "data", now=utc_now)
    authority = data.authority()
    data.extension_identity(KEY, authority)
    for name in ("publish", "bootstrap"):
        data.server_identity(name, [_own_address()], authority)
    store = data.packages()
    loop = asyncio.new_event_loop()
    for version in VERSIONS:
        package = make_demo_package(directory / "build" / version, version=version)
        loop.run_until_complete(store.add(package))
    loop.close()
    return directory


def _all_but_deaths(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody waits for a task that died with its process."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


def _own_address() -> str:
    """An address for this test process alone: parallel ones must not take each other's ports between two lives."""
    return f"127.{1 + os.getpid() % 250}.77.{1 + os.getpid() // 250 % 250}"


def _free_ports(address: str, number: int) -> list[int]:
    held = [socket.create_server((address, 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def write_settings(directory: Path, ready: Mapping[str, Any], *, rest: bool = False) -> Path:
    """The settings file for the vCenter of that ready line; the data directory lies beside it.

    ``rest``: with an account for vLCM.
    """
    address = _own_address()
    publish, bootstrap, control = _free_ports(address, 3)
    password = directory / "vcenter.password"
    password.touch(mode=0o600)
    password.write_text(ready["password"])
    file = directory / "settings.toml"
    file.write_text(
        SETTINGS.format(
            port=ready["url"].removesuffix("/sdk").rpartition(":")[2], username=ready["username"],
            ca=ready["ca_file"], tunnel=ready["tunnel"].rpartition(":")[2], data=directory / "data", key=KEY,
            address=address, publish=publish, bootstrap=bootstrap, control=control,
            rest=REST.format(username=ready["username"]) if rest else "",
        )
    )  # fmt: skip
    return file


class Rig:
    """``async with Rig(...)``: everything runs, nothing is deployed. ``kill`` and ``start`` are the manager's lives."""

    def __init__(self, directory: Path, prepared: Path, *, rest: bool = False, **options: Any) -> None:
        self.directory = directory
        self._rest = rest
        self._prepared = prepared
        self.vcenter = VCenterSimulator(**{"timing": Timing.real(), "hosts": 2, "vms": 2, **options})
        self.points = Points()
        self.truth = Truth(self.vcenter, solution_id=KEY)
        self.settings: Settings
        self.process = Process()
        self._context = contextvars.copy_context()
        self._service: ContrailVmService | None = None
        self._stack = contextlib.ExitStack()

    async def __aenter__(self) -> Rig:
        shutil.copytree(self._prepared / "data", self.directory / "data")
        loop = asyncio.get_running_loop()
        loop.set_task_factory(own_tasks)
        loop.set_exception_handler(_all_but_deaths)
        await self.vcenter.start()
        self.settings = load(write_settings(self.directory, self.vcenter.ready, rest=self._rest), {})
        await register(self.settings)
        self.truth.begin()
        self._stack.enter_context(watched(self.points))
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.kill()
        finally:
            self._stack.close()
            await self.vcenter.stop()
            loop = asyncio.get_running_loop()
            loop.set_task_factory(None)
            loop.set_exception_handler(None)

    # -- lives --------------------------------------------------------------------------------------------------

    @property
    def manager(self) -> ContrailVmManager:
        assert self._service is not None
        return self._service.manager

    async def start(self) -> bool:
        """A new process; False when it died while it started."""
        self.process, self._context = Process(), contextvars.copy_context()
        self._context.run(CURRENT.set, self.process)
        self._service = None
        service = ContrailVmService(self.settings, now=self.vcenter.world.clock.now, seed=1)
        starting = asyncio.create_task(service.__aenter__(), context=self._context)
        died = asyncio.create_task(self.process.died.wait())
        await asyncio.wait({starting, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if self.process.died.is_set():
            self.process.closing = True
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if not starting.cancelled() and starting.exception() is None:
                self._service = service
                await self.kill()
            return False
        self._service = await starting
        return True

    async def kill(self) -> None:
        """Nothing more is done by the process, nor finished; its sockets and files are closed, as the kernel would."""
        process, service = self.process, self._service
        process.died.set()
        process.closing = True
        self._service = None
        if service is None:
            return
        doomed = [task for task in process.tasks if not task.done() and "serve" not in repr(task.get_coro())]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        await asyncio.create_task(service.__aexit__(None, None, None), context=self._context)

    async def do(self, verb: Callable[[ContrailVmManager], Any]) -> None:
        """A person's word to the manager, as soon as it listens, unless it is dead or dies of it."""
        if await self.until(lambda: self.manager._inventory.healthy):
            with contextlib.suppress(Killed):
                self._context.run(verb, self.manager)

    async def until(self, condition: Callable[[], Any], *, seconds: float = PATIENCE) -> bool:
        """True when it came true, False when the process died first."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.process.died.is_set():
            if condition():
                return True
            if loop.time() > end:
                raise AssertionError(f"not well again in time:\n{self.describe()}")
            await asyncio.sleep(1.0)
        return False

    async def quiet(self) -> bool:
        """Wait until the manager has nothing left to do and goes on having nothing to do."""
        while await self.until(self.manager.converged):
            await asyncio.sleep(5.0)
            if self.process.died.is_set():
                return False
            if self.manager.converged():
                return True
        return False

    # -- judging ------------------------------------------------------------------------------------------------

    def reusable(self) -> list[str]:
        """VMs whose bootstrap tokens, every one they ever had, somebody else could redeem now."""
        store = self.manager.office._tokens
        found = []
        for token, vm in self.truth.tokens.items():
            with contextlib.suppress(TokenRefused):
                store.redeem(token, {"vm": vm}, proof="somebody else")
                found.append(f"a token of {vm} can be redeemed again")
        return found

    def describe(self) -> str:
        status = self.manager.status()
        lines = [f"killed at {self.process.where}", f"problems: {status.problems}"]
        for each in status.deployments:
            lines.append(f"{each.deployment} {each.cluster} {each.colour} next={each.next} alarms={each.alarms}")
            lines += [f"  {h.name} {h.state} {h.colour} {h.vm_name} {h.issues} next={h.next}" for h in each.hosts]
        return "\n".join([*lines, *self.truth.lines()])
