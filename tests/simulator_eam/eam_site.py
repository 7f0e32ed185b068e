"""A simulated vCenter without its server: inventory, tasks, EAM, guests that get a heartbeat, and an OVF package."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from aiohttp import web

from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.faults import FaultBook, FaultRule
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.eam.switches import Switches
from contrail_vsphere.simulator.vcenter import host_life, vm_life
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.build import build_inventory
from contrail_vsphere.simulator.vcenter.event_manager import EventManager
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.ovf.descriptor import (
    GUEST_INFO_TRANSPORT,
    Descriptor,
    OvfDisk,
    OvfFile,
    OvfItem,
    OvfNetwork,
    OvfProduct,
    OvfProperty,
    render,
)
from contrail_vsphere.wire.soap.types import eam

SOLUTION = "net.juniper.contrail.vm-manager"
DISK = b"not really a disk" * 64


def descriptor(*, size: int = len(DISK), memory_mb: int = 2048, capacity: int = 1 << 30) -> Descriptor:
    return Descriptor(
        name="ContrailVM",
        id="contrailvm",
        products=(
            OvfProduct(
                product="ContrailVM",
                version="1",
                properties=(OvfProperty("manager_url", user_configurable=True), OvfProperty("bootstrap_token")),
            ),
        ),
        files=(OvfFile("file1", "contrailvm.vmdk", size),),
        disks=(OvfDisk("vmdisk1", "file1", capacity),),
        networks=(OvfNetwork("Management"),),
        items=(
            OvfItem("1", 3, "2 CPUs", quantity=2),
            OvfItem("2", 4, "memory", quantity=memory_mb << 20),
            OvfItem("3", 6, "SCSI", subtype="VirtualSCSI"),
            OvfItem("4", 17, "disk", host_resource="ovf:/disk/vmdisk1", parent="3", address_on_parent="0"),
            OvfItem("5", 10, "NIC", subtype="VmxNet3", connection="Management", address_on_parent="7"),
        ),
        os_type="other5xLinux64Guest",
        transports=(GUEST_INFO_TRANSPORT,),
        virtual_system_types=("vmx-19",),
    )


@dataclass
class Depot:
    """An HTTP(S) server with packages; ``files`` may be changed at any time."""

    url: str = ""
    pem: str = ""
    trust: ssl.SSLContext | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    requests: list[str] = field(default_factory=list)

    def package(self, name: str, **changes) -> str:
        self.files[f"/{name}/contrailvm.ovf"] = render(descriptor(**changes))
        self.files[f"/{name}/contrailvm.vmdk"] = DISK
        return f"{self.url}/{name}/contrailvm.ovf"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.status != 200 or request.path not in self.files:
            return web.Response(status=self.status if self.status != 200 else 404)
        return web.Response(body=self.files[request.path])


@asynccontextmanager
async def running_depot(tls: ssl.SSLContext | None = None, pem: str = "", trust: ssl.SSLContext | None = None):
    depot = Depot(pem=pem, trust=trust)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", depot.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    depot.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield depot
    finally:
        await runner.cleanup()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    directory = tmp_path_factory.mktemp("eam-ca")
    return CertificateAuthority.create(directory, name="depot CA", now=lambda: datetime.now(UTC))


@pytest.fixture(scope="session")
def identity(authority, tmp_path_factory):
    issued = authority.issue_server(["127.0.0.1"])
    directory = tmp_path_factory.mktemp("eam-tls")
    for name, content in (("key.pem", issued.key_pem), ("cert.pem", issued.cert_pem)):
        data = content if isinstance(content, bytes) else content.encode()
        (directory / name).write_bytes(data)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authority.cert_pem)
    return SimpleNamespace(server=server, pem=(directory / "cert.pem").read_text(), trust=trust)


@pytest.fixture
async def depot():
    async with running_depot() as made:
        yield made


@pytest.fixture
async def tls_depot(identity):
    async with running_depot(identity.server, identity.pem, identity.trust) as made:
        yield made


class Site:
    """The simulated vCenter and short words for what tests do to it."""

    def __init__(self, depot: Depot, *, timing: Timing | None = None, **options) -> None:
        self.depot = depot
        build = {name: options.pop(name) for name in ("hosts", "clusters", "vms") if name in options}
        self.world = world = World(seed=1)
        services = world.services
        services[Timing] = timing or Timing.instant()
        services[FaultBook] = FaultBook(world.random)
        services[EventManager] = EventManager.create(world)
        services[TaskManager] = TaskManager(world=world, moid="TaskManager")
        services[ExtensionManager] = ExtensionManager(world=world, moid="ExtensionManager")
        with world.commit() as tx:
            for kind in (EventManager, TaskManager, ExtensionManager):
                tx.add(services[kind])
        self.inventory = build_inventory(world, **({"hosts": 2} | build))
        self.cluster = self.inventory.clusters[0]
        self.hosts = self.inventory.hosts
        self.heartbeats = True
        self.guests: set[asyncio.Task] = set()
        self.stop_guests = world.observe(self._guests)
        self.set_agent_places(*self.hosts)
        self.eam = EamService(world, trust=depot.trust, **options)
        self.user = self.call("administrator@vsphere.local")
        self.solution = self.call(SOLUTION, extension=True)

    def call(self, user: str, *, extension: bool = False) -> Call:
        return Call(
            world=self.world, user=user, version="eam.version.version8_3", session=SimpleNamespace(extension=extension)
        )

    async def start(self) -> None:
        await self.eam.start()

    async def stop(self) -> None:
        self.stop_guests()
        for task in self.guests:
            task.cancel()
        await asyncio.gather(*self.guests, return_exceptions=True)
        await self.eam.stop()
        await self.world.service(TaskManager).stop()
        await Background.of(self.world).stop()
        assert self.world.defects == []

    async def settle(self) -> None:
        """Until EAM, vCenter and the guests have nothing to do."""
        for _ in range(3):
            await self.eam.idle()
            if self.guests:
                await asyncio.gather(*self.guests, return_exceptions=True)
            await asyncio.sleep(0.01)
        await self.eam.idle()

    async def sleep(self, seconds: float) -> None:
        await self.world.clock.sleep(seconds)
        await self.settle()

    # -- guests -------------------------------------------------------------------------------------------------

    def _guests(self, done) -> None:
        for entry in done.entries:
            vm = entry.entity
            if (
                isinstance(vm, VirtualMachine)
                and vm.esx_agent
                and self.heartbeats
                and vm.guest_runs
                and not vm.tools_running
            ):
                task = asyncio.get_running_loop().create_task(self._boot(vm))
                self.guests.add(task)
                task.add_done_callback(self.guests.discard)

    async def _boot(self, vm) -> None:
        await asyncio.sleep(0)
        if self.world.get(vm.moid) is vm and vm.guest_runs and not vm.tools_running:
            with self.world.commit("guest") as tx:
                tx.set(vm, tools_running=True, heartbeat="green", guest_ip="127.0.0.1")

    # -- what solutions do --------------------------------------------------------------------------------------

    def set_agent_places(self, *hosts, datastore=True, network=True) -> None:
        with self.world.commit() as tx:
            for host in hosts:
                tx.set(
                    host,
                    agent_datastore=host.datastores[0] if datastore else None,
                    agent_network=self.inventory.management if network else None,
                )

    def config(self, url: str | None = None, *, hooks: bool = False, properties=None, **changes):
        """A complete AgencyConfigInfo on the first cluster."""
        entry = eam.Agent.ConfigInfo(
            ovfPackageUrl=url or self.depot.package("v1"),
            ovfEnvironment=eam.Agent.OvfEnvironmentInfo(
                ovfProperty=[
                    eam.Agent.OvfEnvironmentInfo.OvfProperty(key=key, value=value)
                    for key, value in (properties or {"manager_url": "https://127.0.0.1:8444"}).items()
                ]
            ),
        )
        if self.depot.pem:
            entry.ovfSslTrust = eam.Agent.PinnedPemCertificate(sslCertificate=self.depot.pem)
        values = {
            "agencyName": "ContrailVM-C0",
            "agentName": "ContrailVM",
            "agentConfig": [entry],
            "scope": eam.Agency.ComputeResourceScope(computeResource=[self.cluster.ref]),
            "optimizedDeploymentEnabled": False,
            "manuallyMarkAgentVmAvailableAfterProvisioning": hooks,
            "manuallyMarkAgentVmAvailableAfterPowerOn": hooks,
        }
        return eam.Agency.ConfigInfo(**values | changes)

    async def create(self, config=None, *, goal: str = "enabled", call=None):
        manager = self.eam.manager
        agency = await manager.CreateAgency(
            call or self.solution, agencyConfigInfo=config or self.config(), initialGoalState=goal
        )
        await self.settle()
        return agency

    async def resolve_all(self, target) -> None:
        target.ResolveAll(self.solution)
        await self.settle()

    async def mark(self, *agents) -> None:
        for agent in agents:
            agent.MarkAsAvailable(self.solution)
        await self.settle()

    def add_fault(self, **rule) -> int:
        return self.world.service(FaultBook).add(FaultRule(**rule))

    # -- what people do -----------------------------------------------------------------------------------------

    async def do(self, work) -> None:
        await work
        await self.settle()

    async def power_off(self, vm) -> None:
        await self.do(vm_life.power_off(self.world, vm, user="somebody"))

    async def power_on(self, vm) -> None:
        await self.do(vm_life.power_on(self.world, vm, user="somebody"))

    async def suspend(self, vm) -> None:
        await self.do(vm_life.suspend(self.world, vm, user="somebody"))

    async def delete(self, vm) -> None:
        if vm.power_state == "poweredOn":
            await vm_life.power_off(self.world, vm, user="somebody")
        await self.do(vm_life.destroy(self.world, vm, user="somebody"))

    async def enter_maintenance(self, host) -> None:
        await self.do(host_life.enter_maintenance(self.world, host, user="somebody"))

    async def exit_maintenance(self, host) -> None:
        await self.do(host_life.exit_maintenance(self.world, host, user="somebody"))

    # -- reading ------------------------------------------------------------------------------------------------

    def issues(self, target) -> list[str]:
        return [type(issue).__name__.rpartition(".")[2] for issue in target.QueryIssue(self.solution)]

    def events(self, name: str) -> list:
        return self.world.service(EventManager).of_type(f"com.vmware.vim.eam.{name}")

    def tasks(self, kind: str) -> list:
        return [task for task in self.world.service(TaskManager).recent if task.description_id == kind]

    def eam_vms(self) -> list[VirtualMachine]:
        return [vm for vm in self.world.of_type(VirtualMachine) if vm.esx_agent]


@asynccontextmanager
async def running_site(depot: Depot, **options):
    site = Site(depot, **options)
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


@pytest.fixture
def make_site(depot):
    """``async with make_site(hosts=3) as site``: made inside the test, because fixtures run in real time."""
    return lambda **options: running_site(options.pop("depot", depot), **options)


@pytest.fixture
def switches():
    return Switches
