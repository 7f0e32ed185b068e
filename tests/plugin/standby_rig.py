"""Plugins as processes that stand for election at a real ZooKeeper, over simulated worlds in the test's own process."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from plugin_stand import PluginStand

from contrail_vsphere.app.access import Role
from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.config.load import load
from contrail_vsphere.demo.processes import Child, Children
from contrail_vsphere.model.errors import ContrailVsphereError

SESSION = 2.0
SETTINGS = """\
[vcenter.lab]
host = "{host}"
port = {port}
username = "{username}"
password_file = "vcenter.password"
thumbprint = "{thumbprint}"
[manager]
data_dir = "data"
[contrail]
servers = "{contrail}"
[plugin]
listen = "127.0.0.1:0"
hosts_file = "../hosts.map"
linger = 1.0
{plugin}
[zookeeper]
servers = "{zookeeper}"
path = "{path}"
name = "{name}"
session = {session}
"""


class StandbyRig(PluginStand):
    """``async with`` it, then ``start`` members of the election; everything is read in the simulated worlds."""

    def __init__(self, directory: Path, zookeeper: str, *, path: str, **options: Any) -> None:
        super().__init__(directory, **options)
        self._zookeeper, self._path = zookeeper, path
        self.children = Children(directory)
        self.members: dict[str, Child] = {}

    async def resume(self) -> None:
        lines = [f"{entry.name}:{entry.agent_address}" for entry in self.directory_of_hosts()]
        (self.directory / "hosts.map").write_text("\n".join(lines))

    async def crash(self) -> None:
        await self.children.__aexit__(None, None, None)

    async def start(self, name: str, plugin: str = "") -> Child:
        """A member, with lines for [plugin]; it serves when this returns, but need not lead."""
        config = self._configure(name, plugin)
        async with asyncio.timeout(60):
            child = await self.children.start(name, "run", "--config", str(config), "--role", "plugin")
        self.members[name] = child
        return child

    async def kill(self, name: str) -> None:
        child = self.members.pop(name)
        child.process.kill()
        await child.process.wait()

    def freeze(self, name: str) -> None:
        self.members[name].process.send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.members[name].process.send_signal(signal.SIGCONT)

    async def reign(self, name: str) -> dict[str, Any]:
        """What a member says of itself."""
        return await self._ask(name, "/v1/reign")

    async def status(self, name: str) -> dict[str, Any]:
        """The whole picture, as the member that leads has it."""
        return await self._ask(name, "/v1/status")

    async def release(self, name: str) -> None:
        """Approve the deletions that its brake refused."""
        async with self._client(name, role="operator") as client:
            await client.post("/v1/brakes/plugin/release", {})

    async def _ask(self, name: str, path: str) -> dict[str, Any]:
        async with self._client(name, role="viewer") as client:
            answer: dict[str, Any] = await client.get(path)
        return answer

    def _client(self, name: str, *, role: Role) -> ControlClient:
        settings = load(self.directory / name / "settings.toml", {})
        url = self.members[name].ready["control_url"]
        listen = type(settings.plugin.listen).parse(url.rpartition("/")[2])
        return ControlClient(settings, role=role, listen=listen)

    async def leading(self, *, among: tuple[str, ...] = (), seconds: float = 30.0) -> str:
        """Wait for one that leads."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            for name in among or tuple(self.members):
                try:
                    async with asyncio.timeout(3):
                        if (await self.reign(name))["leads"]:
                            return name
                except (ContrailVsphereError, TimeoutError):
                    continue
            words = {name: child.last_words() for name, child in self.members.items()}
            assert asyncio.get_running_loop().time() < deadline, f"nobody leads: {words}"
            await asyncio.sleep(0.1)

    def served(self, vm: Any) -> bool:
        """Open on a VLAN of its own, which the VRouterAgent of its host knows it by."""
        ports = self.ports(vm)
        if len(ports) != 1 or not self.is_open(ports[0]):
            return False
        plugged = [each for each in self.plugged(vm.host).values() if each.mac == vm.nics[0].mac]
        return len(plugged) == 1 and plugged[0].rx_vlan == self.vlan(ports[0])

    async def until_served(self, *vms: Any, seconds: float = 40.0) -> float:
        return await self.until(lambda: all(self.served(vm) for vm in vms), seconds=seconds)

    def describe(self) -> str:
        return "\n".join(f"{name}: {child.last_words()}" for name, child in self.members.items())

    def _configure(self, name: str, plugin: str) -> Path:
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        home = self.directory / name
        home.mkdir(exist_ok=True)
        password = home / "vcenter.password"
        password.touch(mode=0o600)
        password.write_text(ready["password"])
        file = home / "settings.toml"
        file.write_text(
            SETTINGS.format(
                host=host, port=port, username=ready["username"], thumbprint=ready["thumbprint"], name=name,
                contrail=self.contrail.ready["url"], zookeeper=self._zookeeper, path=self._path, session=SESSION,
                plugin=plugin,
            )
        )  # fmt: skip
        return file
