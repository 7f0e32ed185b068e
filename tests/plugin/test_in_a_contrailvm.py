"""The plugin of one host: it holds no account of vCenter, and gets in by its manager's word, time after time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from plugin_stand import PluginStand

from contrail_vsphere.app.plugin import PluginService
from contrail_vsphere.config.load import load
from contrail_vsphere.contrailvm.bootstrap.host_configuration import HostConfiguration
from contrail_vsphere.contrailvm.bootstrap.request import ClientCertificate, EnrolmentRefused, SyncedReport
from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer
from contrail_vsphere.contrailvm.notices.health_document import HealthNode
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager

pytestmark = pytest.mark.looptime

COMMON = """\
[vcenter.lab]
host = "{host}"
port = {port}
thumbprint = "{thumbprint}"
{door}
[manager]
data_dir = "data"
[contrail]
servers = "{contrail}"
[plugin]
listen = "127.0.0.1:0"
hosts_file = "hosts.map"
linger = 2.0
{plugin}
"""
GUEST = """\
manager_url = "{manager}"
manager_ca_file = "ca.pem"
manager_cert_file = "client.pem"
manager_key_file = "client.key"
"""


class Estate(PluginStand):
    """Two hosts; ``esx-00`` has a plugin in its ContrailVM. ``tickets``: how many were given."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.tickets = 0
        self.reports: list[tuple[str, SyncedReport]] = []
        self.wanted = {"vm-esx-00"}
        self._services = AsyncExitStack()
        self.services: dict[str, PluginService] = {}

    async def resume(self) -> None:
        self.ca = CertificateAuthority.create(self.directory / "ca", name="test CA", now=lambda: datetime.now(UTC))
        issued = self.ca.issue_server(["127.0.0.1"])
        cert, key = self.directory / "server.pem", self.directory / "server.key"
        identity = Identity.install(issued.key_pem, issued.chain_pem, key_file=key, cert_file=cert)
        self.manager = BootstrapServer(
            tls=identity.server_context(client_ca_pem=self.ca.trust_bundle, clients="optional"),
            ca_pem=lambda: self.ca.trust_bundle.encode(),
            redeem=None,
            configuration=self._configuration,
            sign=None,
            health=lambda: HealthNode("net.example.manager", "Manager"),
            listen="127.0.0.1:0",
            vouch=self._vouch,
            report=lambda certificate, report: self.reports.append((certificate.common_name, report)),
        )
        await self.manager.start()
        self._services.push_async_callback(self.manager.stop)
        account = f'username = "{self.vcenter.ready["username"]}"\npassword_file = "vcenter.password"'
        await self._run("networks", account, 'part = "networks"', password=self.vcenter.ready["password"])
        door = GUEST.format(manager=f"https://127.0.0.1:{self.manager.address[1]}")
        issued = self.ca.issue_client("vm-esx-00")
        home = self.directory / "guest"
        home.mkdir()
        Identity.install(issued.key_pem, issued.chain_pem, key_file=home / "client.key", cert_file=home / "client.pem")
        (home / "ca.pem").write_text(self.ca.trust_bundle)
        await self._run("guest", door, 'part = "ports"\nhosts = "esx-00"')

    async def crash(self) -> None:
        await self._services.aclose()

    async def _run(self, name: str, door: str, plugin: str, *, password: str = "") -> None:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        if password:
            file = home / "vcenter.password"
            file.touch(mode=0o600)
            file.write_text(password)
        hosts = [entry for entry in self.directory_of_hosts() if name == "networks" or entry.name == "esx-00"]
        (home / "hosts.map").write_text("\n".join(f"{entry.name}:{entry.agent_address}" for entry in hosts))
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        file = home / "settings.toml"
        file.write_text(
            COMMON.format(
                host=host, port=port, thumbprint=ready["thumbprint"], contrail=self.contrail.ready["url"],
                door=door, plugin=plugin,
            )
        )  # fmt: skip
        service = PluginService(load(file, {}), now=self.now, seed=7)
        self.services[name] = await self._services.enter_async_context(service)

    async def _configuration(self, certificate: ClientCertificate) -> HostConfiguration:
        if certificate.common_name not in self.wanted:
            raise EnrolmentRefused("this ContrailVM was replaced")
        return HostConfiguration(host="host-1", host_name="esx-00", nics=(), control_nodes=())

    async def _vouch(self) -> str:
        self.tickets += 1
        session = self.admin.session
        return await session.call(session.content.sessionManager, "AcquireCloneTicket")

    def served(self, vm: Any) -> bool:
        ports = self.ports(vm)
        plugged = [each for each in self.plugged(vm.host).values() if each.mac == vm.nics[0].mac]
        return self.is_open(ports[0]) and [each.rx_vlan for each in plugged] == [self.vlan(ports[0])]

    def describe(self) -> str:
        return "\n".join(
            f"{name}: {entry.key} {entry.state} {entry.reason}"
            for name, service in self.services.items()
            for entry in service.health.items()
        )


async def test_it_serves_its_host_and_holds_nothing_of_vcenters(tmp_path):
    async with Estate(tmp_path / "estate") as estate:
        assert estate.tickets == 1
        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        here, there = await estate.vm("here", "red", host=0), await estate.vm("there", "red", host=1)
        await estate.until(lambda: estate.served(here))
        await asyncio.sleep(30)
        assert {name for name, _ in estate.reports} == {"vm-esx-00"}
        assert estate.reports[-1][1] == SyncedReport(synced=True), "it owes only its own host"
        assert not estate.plugged(there.host)
        assert not estate.is_open(estate.port(there))
        assert len(estate.objects("virtual-machine")) == 1
        secret = estate.vcenter.ready["password"]
        guest = [file for file in (tmp_path / "estate" / "guest").rglob("*") if file.is_file()]
        assert guest
        assert not [file for file in guest if secret.encode() in file.read_bytes()]


async def test_when_its_session_ends_it_asks_for_another_ticket_unless_it_was_replaced(tmp_path):
    async with Estate(tmp_path / "estate") as estate:
        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        first = await estate.vm("first", "red")
        await estate.until(lambda: estate.served(first))
        (manager,) = estate.vcenter.world.of_type(SessionManager)
        manager.expire_all()
        late = await estate.vm("late", "red")
        await estate.until(lambda: estate.served(late))
        assert estate.tickets == 2

        estate.wanted.clear()
        manager.expire_all()
        never = await estate.vm("never", "red")
        await asyncio.sleep(300)
        assert not estate.is_open(estate.port(never))
        assert estate.tickets == 2
        assert estate.served(first)
        assert estate.served(late)


async def test_who_shows_no_certificate_gets_no_ticket(tmp_path):
    async with Estate(tmp_path / "estate") as estate, aiohttp.ClientSession() as http:
        url = f"https://127.0.0.1:{estate.manager.address[1]}/v1/vcenter-ticket"
        tls = Identity(estate.directory / "guest" / "client.key", estate.directory / "guest" / "client.pem")
        trusting = tls.client_context(ca_file=estate.directory / "guest" / "ca.pem")
        async with http.post(url, ssl=trusting) as reply:
            assert reply.status == 200
        nobody = aiohttp.TCPConnector(ssl=_without_certificate(estate.directory / "guest" / "ca.pem"))
        async with aiohttp.ClientSession(connector=nobody) as stranger:
            async with stranger.post(url) as reply:
                assert reply.status == 403
                assert "ticket" not in await reply.text()
            said = len(estate.reports)
            lie = {"version": 1, "synced": True}
            async with stranger.post(url.replace("vcenter-ticket", "synced"), json=lie) as reply:
                assert reply.status == 403
            assert len(estate.reports) == said
        for wrong in ({}, {"version": 1}, {"version": 1, "synced": "yes"}, {"version": 1, "synced": True, "reason": 3}):
            async with http.post(url.replace("vcenter-ticket", "synced"), ssl=trusting, json=wrong) as reply:
                assert reply.status == 400


def _without_certificate(ca: Path) -> Any:
    from contrail_vsphere.pki.identity import client_context

    return client_context(ca_file=ca)
