"""A whole stand in one process: simulated vCenter with EAM and guests, and the ContrailVM Manager against it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from contrail_vsphere.app.contrailvm import FOLLOWED_EVENTS
from contrail_vsphere.config.settings import Address
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.notices.health_document import HealthNode
from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.registration import ExtensionFacts, Registration
from contrail_vsphere.contrailvm.watch import nobody_owes
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.pki.ca import CertificateAuthority, Issued
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.secrets import private_directory, write_private
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vsphere.system_vm.client import SystemVmClient
from contrail_vsphere.vsphere.vcenter import Endpoint, ExtensionLogin, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim

KEY = "net.juniper.contrail.vm-manager"
DEPLOYMENT = """
[deployment.dc1]
clusters = ["C0"]
package = "{version}"
datastores = ["nfs-shared"]
[deployment.dc1.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
"""


@cache
def _pki() -> tuple[bytes, Issued]:
    """A CA's file and our extension's identity, once per process: its RSA key costs as much as the rest of a start."""
    with TemporaryDirectory() as scratch:
        authority = CertificateAuthority.create(Path(scratch, "ca"), name="stand", now=lambda: datetime.now(UTC))
        return Path(scratch, "ca", "issuer.pem").read_bytes(), authority.issue_client(KEY, key_kind="rsa")


class Stand:
    """Start it, apply a deployment, wait for what should come true; ``crash`` and ``resume`` restart the manager."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.vcenter = VCenterSimulator(**{"timing": Timing.real(), "hosts": 4, **options})
        self._start = datetime.now(UTC)
        self._origin = 0.0
        self.failures: list[str] = []
        self.plain_http = False
        self.synced = nobody_owes
        self.report = None

    def now(self) -> datetime:
        """Wall-clock time that runs with the loop's."""
        return self._start + timedelta(seconds=asyncio.get_running_loop().time() - self._origin)

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> Stand:
        self._origin = asyncio.get_running_loop().time()
        await self.vcenter.start()
        issuer, extension = _pki()
        write_private(private_directory(self.directory / "ca") / "issuer.pem", issuer)
        self.authority = CertificateAuthority.load(self.directory / "ca", now=self.now)
        self.package = make_demo_package(self.directory / "build")
        server = self._identity("server", self.authority.issue_server(["127.0.0.1"]))
        self.publisher = Publisher(
            self.directory / "packages",
            listen=Address("127.0.0.1", 0),
            tls=None if self.plain_http else server,
            now=self.now,
        )
        await self.publisher.start()
        await self.publisher.publish(self.package)
        self.published_at = self.publisher.address
        self.extension = self._identity("extension", extension)
        self.bootstrap = BootstrapServer(
            tls=server.server_context(client_ca_pem=self.authority.cert_pem, clients="optional"),
            ca_pem=lambda: self.authority.cert_pem.encode(),
            redeem=lambda token, identity: self.manager.office.redeem(token, identity),
            configuration=lambda certificate: self.manager.office.configuration(certificate),
            sign=lambda csr, identity: self.manager.office.sign(csr, identity),
            health=self._health,
            listen="127.0.0.1:0",
            renew=lambda certificate, wanted: self.manager.office.renew(certificate, wanted),
            report=self.report,
        )
        await self.bootstrap.start()
        await self._register()
        await self.resume()
        return self

    async def __aenter__(self) -> Stand:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        await self.crash()
        await self.bootstrap.stop()
        await self.publisher.stop()
        await self.vcenter.stop()

    async def resume(self) -> None:
        """The manager's process starts: everything it knows comes from the journal and from outside."""
        self.journal = Journal(self.directory / "journal.db", now=self.now)
        self.http = aiohttp.ClientSession()
        self.client = VCenter(
            self._endpoint, ExtensionLogin(KEY, self.extension), now=self.now, random=random.Random(1)
        )
        await self.client.__aenter__()
        self.system_vms = self.open_system_vms()
        shelf = Shelf(
            self.publisher,
            solution_id=KEY,
            manager_url=lambda: "https://{}:{}".format(*self.bootstrap.address),
            ca_pem=lambda: self.authority.cert_pem,
        )
        self.manager = ContrailVmManager(
            solution_id=KEY,
            vcenter=self.client,
            inventory=self.client.inventory,
            eam=self.client.eam,
            agencies=self.client.eam.cache,
            journal=self.journal,
            shelf=shelf,
            tokens=TokenStore(self.journal, now=self.now, ttl=timedelta(hours=1)),
            authority=self.authority,
            introspect=Introspect(self.http),
            health=HealthBook(self.now),
            now=self.now,
            random=random.Random(2),
            events=self.client.events,
            registration=self.registration(self.client),
            system_vms=self.system_vms,
            synced=self.synced,
        )
        self.client.events.start(FOLLOWED_EVENTS)
        self.client.inventory.start()
        await self.client.inventory.ready()
        self.client.eam.cache.start()
        if self.system_vms is not None:
            self.system_vms.cache.start()
        await self.manager.start()

    def open_system_vms(self) -> SystemVmClient | None:
        """The client of vLCM; none unless a stand is for that."""
        return None

    async def crash(self) -> None:
        """The manager's process is gone; nothing is finished."""
        await self.manager.stop(deadline=0.01)
        if self.system_vms is not None:
            await self.system_vms.close()
        await self.client.close()
        await self.http.close()
        self.journal.close()

    async def _register(self) -> None:
        ready = self.vcenter.ready
        login = PasswordLogin(ready["username"], ready["password"])
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        tunnel_host, _, tunnel_port = ready["tunnel"].rpartition(":")
        self._endpoint = Endpoint(
            host, int(port), thumbprint=ready["thumbprint"], tunnel=(tunnel_host, int(tunnel_port))
        )
        async with VCenter(self._endpoint, login) as admin:
            await self.registration(admin).register()

    def registration(self, client: VCenter) -> Registration:
        url = "https://{}:{}".format(*self.bootstrap.address)
        facts = ExtensionFacts(
            key=KEY,
            company="Contrail",
            certificate_pem=self.extension.cert_pem,
            health_url=f"{url}/health/health.xml",
            manager_url=url,
            version="0.1.0",
        )
        return Registration(client, extension_manager=client.content.extensionManager, facts=facts, now=self.now)

    def _health(self) -> HealthNode:
        return self.manager.health()

    def _identity(self, name: str, issued: Any) -> Identity:
        return Identity.install(
            issued.key_pem,
            issued.chain_pem,
            key_file=self.directory / f"{name}.key",
            cert_file=self.directory / f"{name}.crt",
        )

    # -- what is true in the simulated vCenter -------------------------------------------------------------------

    def apply(self, text: str = DEPLOYMENT, *, version: str = "1.0.0") -> None:
        self.manager.operator.apply_deployments(text.format(version=version))

    def contrailvms(self) -> list[VirtualMachine]:
        """ContrailVMs in the simulated vCenter."""
        return [vm for vm in self.vcenter.world.of_type(VirtualMachine) if vm.esx_agent]

    def served(self) -> dict[str, str]:
        """Host name -> name of the one running ContrailVM on it; a host with two fails the test."""
        found: dict[str, str] = {}
        for vm in self.contrailvms():
            if vm.power_state == "poweredOn" and vm.host is not None:
                assert vm.host.name not in found, f"two ContrailVMs on {vm.host.name}"
                found[vm.host.name] = vm.name
        return found

    async def restart_publisher(self) -> None:
        """Publishing is back at the same address."""
        self.publisher._listen = self.published_at
        await self.publisher.start()

    async def break_trunk(self, trunk: Any) -> None:
        """Somebody switches promiscuous mode off."""
        login = PasswordLogin(self.vcenter.ready["username"], self.vcenter.ready["password"])
        async with VCenter(self._endpoint, login) as admin:
            policy = vim.dvs.VmwareDistributedVirtualSwitch.SecurityPolicy(
                inherited=False, allowPromiscuous=vim.BoolPolicy(inherited=False, value=False)
            )
            setting = vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(securityPolicy=policy)
            version = (await admin.read(trunk.ref, "config.configVersion"))["config.configVersion"]
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(configVersion=version, defaultPortConfig=setting)
            await admin.run_task(trunk.ref, "ReconfigureDVPortgroup_Task", spec=spec)
        assert not self.trunk_is_right(trunk)

    def trunk_is_right(self, trunk: Any) -> bool:
        return bool(trunk.read("config.defaultPortConfig").securityPolicy.allowPromiscuous.value)

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> float:
        """Wait for something to come true; returns how many seconds it took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not condition():
            if loop.time() - begun > seconds:
                raise AssertionError(f"not within {seconds} s:\n{self.describe()}")
            await asyncio.sleep(1.0)
        return loop.time() - begun

    def converged(self) -> bool:
        return self.manager.converged() and bool(self.manager.status().deployments)

    def describe(self) -> str:
        lines = [f"problems: {self.manager.status().problems}"]
        for each in self.manager.status().deployments:
            lines.append(f"{each.deployment} {each.cluster} {each.colour} next={each.next} alarms={each.alarms}")
            lines += [f"  {h.name} {h.state} {h.colour} {h.vm_name} {h.issues} next={h.next}" for h in each.hosts]
        return "\n".join([*lines, *self.vcenter_lines()])

    def vcenter_lines(self) -> list[str]:
        return [f"  vm {v.name} {v.power_state} tools={v.tools_running} ip={v.guest_ip}" for v in self.contrailvms()]
