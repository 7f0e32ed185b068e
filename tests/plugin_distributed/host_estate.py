"""The whole distributed shape in one process: a ContrailVM Manager, a plugin for the networks, one in each ContrailVM.

The guests run the shipped first-boot program; what it leaves on a ContrailVM's disk is all that the plugin there has.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from plugin_stand import PluginStand

from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.contrailvm import ContrailVmService
from contrail_vsphere.app.contrailvm_register import register
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.plugin import PluginService
from contrail_vsphere.config.load import load
from contrail_vsphere.contrailvm.bootstrap.enrolment import PLUGIN_SERVICE
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.guest.machine import SimulatedMachine
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vsphere.vcenter import VCenter

SETTINGS = """\
[vcenter.lab]
host = "{host}"
port = {port}
thumbprint = "{thumbprint}"
tunnel_host = "127.0.0.1"
tunnel_port = {tunnel}
{account}
[manager]
data_dir = "{data}"
{gate}
[publish]
listen = "127.0.0.1:0"
[bootstrap]
listen = "127.0.0.1:{bootstrap}"
host_plugins = {inside}
[control]
listen = "127.0.0.1:{control}"
[contrail]
servers = "{contrail}"
poll = 1.0
[plugin]
listen = "127.0.0.1:{plugin}"
part = "{part}"
linger = 2.0
hosts_url = "http://127.0.0.1:{control}"
hosts_token_file = "viewer.token"
"""
DEPLOYMENT = """\
[deployment.dc1]
clusters = ["C0"]
package = "1.0.0"
datastores = ["nfs-shared"]
[deployment.dc1.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
vmware_mode = "esxi_neutron"
"""


class HostEstate(PluginStand):
    """``async with`` it: ContrailVMs run on all hosts, with a plugin in each. ``guests``: those plugins, by host.

    ``inside`` False: one plugin does everything, outside, once ``central_begins``, and hosts wait for it.
    """

    def __init__(self, directory: Path, *, hosts: int = 2, inside: bool = True) -> None:
        super().__init__(directory, hosts=hosts)
        self.vcenter = VCenterSimulator(timing=Timing.real(), hosts=hosts, vms=0)
        self.hosts = hosts
        self.inside = inside
        self.guests: dict[str, PluginService] = {}
        self.files: dict[str, Path] = {}
        self._starting: dict[str, asyncio.Task[PluginService]] = {}
        self._ports = _free_ports(3)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> HostEstate:
        self._origin = asyncio.get_running_loop().time()
        self.contrail = ContrailSimulator()
        await self.vcenter.start()
        await self.contrail.start()
        self.vcenter.vrouters.control_node = self.contrail.control_node
        self.admin = VCenter(*self._access())
        await self.admin.__aenter__()
        await self._prepare()
        self.vcenter.guests.programs[PLUGIN_SERVICE] = self.boot
        token = self.directory / "viewer.token"
        token.touch(mode=0o600)
        token.write_text(TokenFile(self.settings.token_file).token("viewer").reveal())
        self.manager = await self._stack.enter_async_context(ContrailVmService(self.settings, now=self.now, seed=1))
        if self.inside:
            await self.central_begins()
        await self.manager.vcenter.inventory.ready()
        self.manager.manager.operator.apply_deployments(DEPLOYMENT.format())
        if self.inside:
            await self.until(lambda: len(self.guests) == self.hosts, seconds=900)
        return self

    async def central_begins(self) -> None:
        self.central = await self._stack.enter_async_context(PluginService(self.settings, now=self.now, seed=2))

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await self.admin.close()
        await self.contrail.stop()
        await self.vcenter.stop()

    async def _prepare(self) -> None:
        """What an operator does once: settings, the extension, a package."""
        ready = self.vcenter.ready
        password = self.directory / "vcenter.password"
        password.touch(mode=0o600)
        password.write_text(ready["password"])
        self._write(f'username = "{ready["username"]}"\npassword_file = "vcenter.password"')
        await register(self.settings)
        password.unlink()
        self._write("")
        data = DataDirectory(self.settings.manager.data_dir, now=self.now)
        await data.packages().add(make_demo_package(self.directory / "build"))

    def _write(self, account: str) -> None:
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        file = self.directory / "settings.toml"
        url = f"http://127.0.0.1:{self._ports[2]}"
        gate = "" if self.inside else f'plugin_urls = "{url}"\nplugin_token_file = "viewer.token"'
        file.write_text(
            SETTINGS.format(
                host=host, port=port, thumbprint=ready["thumbprint"], tunnel=ready["tunnel"].rpartition(":")[2],
                account=account, data=self.directory / "data", bootstrap=self._ports[0], control=self._ports[1],
                contrail=self.contrail.ready["url"], plugin=self._ports[2], gate=gate,
                inside="true" if self.inside else "false", part="networks" if self.inside else "all",
            )
        )  # fmt: skip
        self.settings = load(file, {})

    # -- in a ContrailVM ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def boot(self, vm: VirtualMachine, machine: SimulatedMachine) -> AsyncIterator[None]:
        """The unit of the plugin: runs on the guest's disk, and dies with the guest."""
        assert vm.host is not None
        name = vm.host.name
        self.files[name] = self.disk(vm, machine)
        self.start_plugin(name)
        try:
            yield
        finally:
            await self.end_plugin(name)

    def start_plugin(self, name: str) -> None:
        """What systemd does."""
        service = PluginService(load(self.files[name], {}), now=self.now, seed=3)
        self.guests[name] = service
        self._starting[name] = asyncio.create_task(service.__aenter__())

    async def end_plugin(self, name: str) -> None:
        """The process is gone; nothing that it has begun is finished."""
        service = self.guests.pop(name, None)
        if service is None:
            return
        starting = self._starting.pop(name)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        if service.ready:
            await service.plugin.stop(0.0)
        await service.__aexit__(None, None, None)

    def disk(self, vm: VirtualMachine, machine: SimulatedMachine) -> Path:
        """The guest's files below a directory of their own; its loopback is the address it has here."""
        root = self.directory / f"disk-{vm.moid}"
        for path, content in machine.disk.files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.touch(mode=machine.disk.modes.get(path, 0o644))
            if path.endswith(".map"):
                content = content.replace(b"127.0.0.1", machine.address.encode())
            if path.endswith(".toml"):
                content = content.replace(b'"/', f'"{root}/'.encode())
                content = content.replace(b"[plugin]\n", f'[plugin]\nlisten = "{machine.address}:8234"\n'.encode())
            file.write_bytes(content)
        return root / "etc/contrail/vcenter-plugin.toml"

    # -- what is true outside -----------------------------------------------------------------------------------------

    def contrailvm(self, host: Any) -> VirtualMachine:
        return next(vm for vm in self.vcenter.world.of_type(VirtualMachine) if vm.esx_agent and vm.host is host)

    def plugged(self, host: Any) -> dict[str, Any]:
        agent = self.vcenter.vrouters.agents.get(self.contrailvm(host).moid)
        return dict(agent.table.ports) if agent is not None else {}

    def served(self, vm: Any) -> bool:
        """Open on a VLAN of its own, by which the VRouterAgent of its host, and no other, knows it."""
        ports = self.ports(vm)
        if len(ports) != 1 or not self.is_open(ports[0]) or ports[0].proxy_host is not vm.host:
            return False
        found = [
            (host, each)
            for host in self.vcenter.scenario.hosts()
            for each in self.plugged(host).values()
            if each.mac == vm.nics[0].mac
        ]
        return len(found) == 1 and found[0][0] is vm.host and found[0][1].rx_vlan == self.vlan(ports[0])

    def describe(self) -> str:
        lines = [f"plugins: {sorted(self.guests)}"]
        for name, service in {"central": self.central, **self.guests}.items() if hasattr(self, "central") else ():
            lines += [f"{name}: {each.key} {each.state} {each.reason}" for each in service.health.items()]
            if service.ready:
                lines += [f"{name}: {p.vm} {p.state} {p.reason}" for p in service.plugin.controller.ports()]
        for vm in self.vcenter.world.of_type(VirtualMachine):
            guest = self.vcenter.guests.guest(vm)
            lines += [f"{vm.name} on {vm.host and vm.host.name}: {vm.power_state} {guest and guest.failures}"]
        return "\n".join(lines)


def _free_ports(number: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
