"""ContrailVM Managers as processes that stand for election at a real ZooKeeper, over a vCenter in the test itself."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from real_process import free_port
from stand import DEPLOYMENT
from virtual_address import VirtualAddress

from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.config.load import load
from contrail_vsphere.config.settings import Address
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.demo.processes import Child, Children
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

SESSION = 2.0
SETTINGS = """\
[vcenter.lab]
host = "{host}"
port = {port}
username = "{username}"
password_file = "vcenter.password"
thumbprint = "{thumbprint}"
tunnel_host = "{tunnel_host}"
tunnel_port = {tunnel_port}
[manager]
data_dir = "data"
[publish]
listen = "127.0.0.1:{publish_port}"
advertise = "https://{publish}"
[bootstrap]
listen = "127.0.0.1:{bootstrap_port}"
advertise = "https://{bootstrap}"
check_address = false
[control]
listen = "127.0.0.1:0"
[zookeeper]
servers = "{zookeeper}"
manager_path = "{path}"
name = "{name}"
session = {session}
"""


class ElectedRig:
    """``async with`` it, ``start`` members; ``follow`` leads the common addresses to one of them."""

    def __init__(self, directory: Path, zookeeper: str, *, path: str, hosts: int = 2) -> None:
        directory.mkdir()
        self.directory, self._zookeeper, self._path = directory, zookeeper, path
        self.vcenter = VCenterSimulator(timing=Timing.demo(), hosts=hosts)
        self.children = Children(directory)
        self.members: dict[str, Child] = {}
        self._ports: dict[str, tuple[int, int]] = {}
        self.publish, self.bootstrap = VirtualAddress(), VirtualAddress()

    async def __aenter__(self) -> ElectedRig:
        await self.vcenter.start()
        await self.publish.__aenter__()
        await self.bootstrap.__aenter__()
        first = load(self._configure("a"), {})
        await register(first)
        data = DataDirectory(first.manager.data_dir, now=self.vcenter.world.clock.now)
        package = make_demo_package(self.directory / "package")
        store = data.packages()
        await store.add(package)
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in self.members.values():
            child.process.send_signal(signal.SIGCONT)
        await self.children.__aexit__(None, None, None)
        await self.publish.__aexit__()
        await self.bootstrap.__aexit__()
        await self.vcenter.stop()

    # -- members --------------------------------------------------------------------------------------------------

    async def start(self, name: str) -> Child:
        """A member made like the first one: its CA, identities and packages are copies."""
        config = self.directory / name / "settings.toml"
        if not config.exists():
            config = self._configure(name)
            for part in ("ca", "identities", "packages"):
                shutil.copytree(self.directory / "a/data" / part, config.parent / "data" / part)
        async with asyncio.timeout(60):
            child = await self.children.start(name, "run", "--config", str(config))
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

    def _client(self, name: str, role: str) -> ControlClient:
        settings = load(self.directory / name / "settings.toml", {})
        listen = Address.parse(urlsplit(self.members[name].ready["control_url"]).netloc)
        return ControlClient(settings, role=role, listen=listen)

    async def ask(self, name: str, path: str) -> Any:
        async with self._client(name, "viewer") as client:
            return await client.get(path)

    async def leader(self, *, among: tuple[str, ...] = (), seconds: float = 40.0) -> str:
        """Wait for one that leads, and lead the common addresses to it."""
        end = time.monotonic() + seconds
        while True:
            for name in among or tuple(self.members):
                try:
                    async with asyncio.timeout(3):
                        leads = (await self.ask(name, "/v1/reign"))["leads"]
                except (ContrailVsphereError, TimeoutError):
                    continue
                if leads:
                    self.follow(name)
                    return name
            words = {name: child.last_words() for name, child in self.members.items()}
            assert time.monotonic() < end, f"nobody leads: {words}"
            await asyncio.sleep(0.1)

    def follow(self, name: str) -> None:
        """The common addresses lead to that member now."""
        for address, port in zip((self.publish, self.bootstrap), self._ports[name], strict=True):
            address.to = ("127.0.0.1", port)

    async def apply(self, name: str) -> None:
        async with self._client(name, "operator") as client:
            end = time.monotonic() + 40
            while True:
                try:
                    await client.post("/v1/apply", {"document": DEPLOYMENT.format(version="1.0.0")})
                except ContrailVsphereError as error:
                    assert time.monotonic() < end, error
                    await asyncio.sleep(0.2)
                else:
                    return

    # -- what is true in the simulated vCenter ----------------------------------------------------------------------

    def contrailvms(self) -> list[VirtualMachine]:
        return [vm for vm in self.vcenter.world.of_type(VirtualMachine) if vm.esx_agent]

    def healed(self) -> bool:
        """Every host has one running ContrailVM that forwards."""
        vms = [vm for vm in self.contrailvms() if vm.power_state == "poweredOn" and vm.host is not None]
        agents = self.vcenter.vrouters.agents
        hosts = list(self.vcenter.scenario.hosts())
        return (
            len(vms) == len(self.contrailvms()) == len({vm.host.moid for vm in vms}) == len(hosts)
            and all(vm.moid in agents and agents[vm.moid].forwards for vm in vms)
            and all(host.available_agents >= 1 for host in hosts)
        )

    async def heals(self, *, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not self.healed():
            words = {name: child.last_words() for name, child in self.members.items()}
            vms = [(vm.name, vm.power_state) for vm in self.contrailvms()]
            assert time.monotonic() < end, f"not healed: {vms} {words}"
            await asyncio.sleep(0.2)

    def calls(self) -> dict[str, int]:
        return dict(self.vcenter.calls)

    def secrets_seen(self) -> list[str]:
        """Passwords and tokens in the command lines or logs of the members."""
        secret = [self.vcenter.ready["password"]]
        for tokens in self.directory.glob("*/data/control.tokens"):
            secret += [line.split()[-1] for line in tokens.read_text().splitlines()]
        assert len(secret) >= 3
        seen = []
        for name, child in self.members.items():
            arguments = Path(f"/proc/{child.process.pid}/cmdline").read_text()
            environment = Path(f"/proc/{child.process.pid}/environ").read_text()
            places = {"argv": arguments, "environment": environment, "log": child.log.read_text()}
            seen += [f"{name}: {place}" for place, text in places.items() if any(each in text for each in secret)]
        return seen

    # -- inside -----------------------------------------------------------------------------------------------------

    def _configure(self, name: str) -> Path:
        ready = self.vcenter.ready
        url = urlsplit(ready["url"])
        self._ports[name] = publish_port, bootstrap_port = free_port(), free_port()
        tunnel_host, _, tunnel_port = ready["tunnel"].rpartition(":")
        home = self.directory / name
        home.mkdir()
        password = home / "vcenter.password"
        password.touch(mode=0o600)
        password.write_text(ready["password"])
        file = home / "settings.toml"
        file.write_text(
            SETTINGS.format(
                host=url.hostname, port=url.port, username=ready["username"], thumbprint=ready["thumbprint"], name=name,
                tunnel_host=tunnel_host, tunnel_port=tunnel_port, publish=self.publish.address,
                bootstrap=self.bootstrap.address, zookeeper=self._zookeeper, path=self._path, session=SESSION,
                publish_port=publish_port, bootstrap_port=bootstrap_port,
            )
        )  # fmt: skip
        return file
