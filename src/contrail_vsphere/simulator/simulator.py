"""VCenterSimulator: a whole vCenter with EAM and guests, put together and served.

    async with VCenterSimulator(hosts=4, timing=Timing.instant()) as vcenter:
        print(vcenter.ready["url"])
        await vcenter.scenario.add_host("esx-99")

Everything runs on the caller's event loop, real or virtual; the HTTP control port is only opened when asked for.
"""

from __future__ import annotations

import shutil
import ssl
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator import govc_directory, inventory_file, switchboard, tls
from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.guest.runtime import GuestRuntime
from contrail_vsphere.simulator.profile import RELEASES
from contrail_vsphere.simulator.scenario import Scenario
from contrail_vsphere.simulator.server import VimServer
from contrail_vsphere.simulator.system_vm.rest import RestDoor
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.build import build_inventory, prepare
from contrail_vsphere.simulator.vcenter.event_manager import EventManager
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.fragments import Fragments
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.property_collector import Paging, PropertyCollector
from contrail_vsphere.simulator.vcenter.service_instance import SERVICE_INSTANCE, ServiceInstance, add_missing_managers
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.simulator.vcenter.tunnel import Tunnel
from contrail_vsphere.simulator.vcenter.views import ViewManager
from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

if TYPE_CHECKING:
    from contrail_vsphere.simulator.control.server import ControlServer

PASSWORD = "VMware1!"  # noqa: S105 - of a simulator; every ready line shows it


@dataclass(slots=True, kw_only=True)
class Options:
    """How to build one; the names are those of ``simulate vcenter``."""

    hosts: int = 4
    clusters: int = 1
    vms: int = 0
    """Tenant virtual machines, spread over the hosts."""
    profile: str = "vc80u3"
    timing: Timing = field(default_factory=Timing.real)
    seed: int = 0
    listen: str = "127.0.0.1:0"
    tunnel_port: int = 0
    ca_dir: Path | None = None
    """Where the CA is kept; without it, a new one lives as long as the simulator."""
    username: str = "administrator@vsphere.local"
    password: str = field(default=PASSWORD, repr=False)
    guests: bool = True
    control: bool = False
    control_port: int = 0
    control_token: str = field(default="", repr=False)
    page: int = 100
    """Most objects in one answer of the PropertyCollector; 0: no limit."""
    verify_fragments: bool = False
    """Compare every cached property value with a fresh one; slow, finds changes that no commit told of."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Positions of named switches (``eam.maintenance_status``); see ``switchboard``."""
    eam_trust: ssl.SSLContext | None = None
    """EAM's trust store for OVF URLs; without it EAM trusts pinned certificates only."""
    clock: Clock | None = None
    load: Path | None = None
    """Begin with this inventory instead: a file of ``save``, or a directory that ``govc object.save`` wrote."""


class VCenterSimulator:
    """One simulated vCenter. Takes the fields of ``Options`` as keyword arguments."""

    def __init__(self, **options: Any) -> None:
        self.options = Options(**options)
        self.release = RELEASES[self.options.profile]
        self.scenario = Scenario(self)
        self.control: ControlServer | None = None
        self._begin()
        self.ready: dict[str, Any] = {}
        """What the ready line says, once started."""
        self.tunnel_url = ""
        """The port that the sdkTunnel leads to, for clients that go there directly (vCenter's 8089)."""
        self.not_understood: tuple[str, ...] = ()
        """What of a ``govc object.save`` directory was left out, a line each."""
        self._directory: Path | None = None
        self._tunnel: Tunnel | None = None
        self._started = False

    def _begin(self) -> None:
        """A world without anything in it; simulated time goes on over a reset."""
        before = getattr(self, "world", None)
        clock = self.options.clock if before is None else before.clock
        self.world = World(clock=clock, seed=self.options.seed)
        self.server = VimServer(self.world, self.release)
        self.vrouters = VRouterFleet(clock=self.world.clock)

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Build the inventory, open the ports, be ready."""
        if self.options.ca_dir is None:
            self._directory = Path(tempfile.mkdtemp(prefix="simulated-vcenter-"))
        await self._start_service(self.options.listen, self.options.tunnel_port)
        if self.options.control:
            from contrail_vsphere.simulator.control.api import make_app
            from contrail_vsphere.simulator.control.server import ControlServer

            self.control = ControlServer(make_app(self.scenario, token=self.options.control_token))
            self.ready["control_url"] = await self.control.start(self.options.control_port)
            self.ready["page_url"] = f"{self.ready['control_url']}/"

    async def stop(self) -> None:
        """Close everything; may be called at any time."""
        if self.control is not None:
            await self.control.stop()
            self.control = None
        await self._stop_service()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def reset(self) -> None:
        """Begin anew, at the same addresses."""
        control = {name: self.ready.get(name) for name in ("control_url", "page_url")}
        listen = str(self.ready["url"]).removeprefix("https://").removesuffix("/sdk")
        tunnel_port = int(str(self.ready["tunnel"]).rpartition(":")[2])
        await self._stop_service()
        self._begin()
        await self._start_service(listen, tunnel_port)
        self.ready.update(control)

    async def _start_service(self, listen: str, tunnel_port: int) -> None:
        self._add_services()
        await self._populate()
        await self._listen(self.options.ca_dir or self._directory or Path(), listen, tunnel_port)
        self._started = True

    async def _stop_service(self) -> None:
        if self._tunnel is not None:
            await self._tunnel.close()
            self._tunnel = None
        await self.server.close()
        if self._started:
            self._started = False
            await self.eam.stop()
            if self.options.guests:
                await self.guests.stop()
            await self.world.service(TaskManager).stop()
            await Background.of(self.world).stop()
            self.sessions.expire_all()

    async def __aenter__(self) -> VCenterSimulator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- parts --------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> Counter[str]:
        """How often each method was called, by its name on the wire."""
        return self.server.calls

    @property
    def sessions(self) -> SessionManager:
        found: SessionManager = self.world.service(SessionManager)
        return found

    @property
    def events(self) -> EventManager:
        found: EventManager = self.world.service(EventManager)
        return found

    @property
    def faults(self) -> FaultBook:
        found: FaultBook = self.world.service(FaultBook)
        return found

    @property
    def inventory(self) -> dict[str, ManagedEntity]:
        """Inventory objects by name; of several with one name, the oldest."""
        found: dict[str, ManagedEntity] = {}
        for entity in self.world.of_type(ManagedEntity):
            found.setdefault(entity.name, entity)
        return found

    # -- disturbances -------------------------------------------------------------------------------------------

    async def restart_eam(self) -> None:
        """EAM goes down now and is back after ``Timing.eam_start``."""
        await self.eam.restart()

    async def drop_connections(self) -> int:
        """Reset every open connection; returns how many there were."""
        tunnelled = self._tunnel.drop_connections() if self._tunnel is not None else 0
        return self.server.drop_connections() + tunnelled

    def expire_sessions(self) -> int:
        """End every session; returns how many there were."""
        return self.sessions.expire_all()

    # -- building -----------------------------------------------------------------------------------------------

    def _add_services(self) -> None:
        world, options = self.world, self.options
        services = world.services
        services[Timing] = options.timing
        services[FaultBook] = FaultBook(world.random)
        services[Paging] = Paging(options.page)
        services[Fragments] = Fragments(world, verify=options.verify_fragments)
        services[Accounts] = Accounts(Account(options.username, options.password, "Administrator"))
        services[EventManager] = EventManager.create(world)
        extensions = ExtensionManager(world=world, moid="ExtensionManager")
        managers: dict[type[Entity], Entity] = {
            TaskManager: TaskManager(world=world, moid="TaskManager"),
            SessionManager: SessionManager(world=world, moid="SessionManager"),
            ExtensionManager: extensions,
            ViewManager: ViewManager(world=world, moid="ViewManager"),
            PropertyCollector: PropertyCollector(world=world, moid="propertyCollector"),
        }
        services.update(managers)
        instance_uuid = str(uuid.UUID(int=world.random.getrandbits(128), version=4))
        with world.commit() as tx:
            tx.add(
                ServiceInstance(world=world, moid=SERVICE_INSTANCE, release=self.release, instance_uuid=instance_uuid)
            )
            tx.add(services[EventManager])
            for manager in managers.values():
                tx.add(manager)
        extensions.register_own()

    async def _populate(self) -> None:
        options = self.options
        if options.load is not None:
            prepare(self.world)
        else:
            build_inventory(self.world, hosts=options.hosts, clusters=options.clusters, vms=options.vms)
        self.eam = EamService(self.world, trust=options.eam_trust, profile=options.profile)
        switchboard.turn(self.world, options.switches)
        add_missing_managers(self.world)
        self.guests = GuestRuntime(self.world, self.vrouters)
        if options.load is not None:
            self._load(options.load)
        if options.load is None:
            self.eam.add_vcls()
        await self.eam.start()
        if options.guests:
            await self.guests.start()

    def _load(self, path: Path) -> None:
        """A directory of ``govc object.save``, else a file of ``save``."""
        if path.is_dir():
            self.not_understood = govc_directory.load(self.world, path)
            return
        saved = inventory_file.read(path)
        inventory_file.load(self.world, saved)
        inventory_file.load_guests(self.guests, saved)
        self.eam.adopt()

    def _check(self, path: Path) -> None:
        if not path.is_dir():
            inventory_file.read(path)

    def save(self, path: Path) -> None:
        """Write the inventory to a file, for ``load``."""
        inventory_file.save(self, path)

    async def load(self, path: Path) -> None:
        """Begin anew with a saved inventory, at the same addresses.

        InventoryFileError for a file that is wrong; if only its contents are, the simulator has begun anew as before.
        """
        self._check(path)
        before, self.options.load = self.options.load, path
        try:
            await self.reset()
        except inventory_file.InventoryFileError:
            self.options.load = before
            await self.reset()
            raise

    async def _listen(self, directory: Path, listen: str, tunnel_port: int) -> None:
        host, _, port = listen.rpartition(":")
        identity = tls.make_identity(directory, host)
        self.server.dispatcher.thumbprint = identity.thumbprint
        application = self.server.application()
        if self.eam.profile.rest:
            RestDoor(self.world, self.eam.profile, version=self.release.newest).add_routes(application)
        taken = await self.server.listen(application, host, int(port), identity.plain)
        inner = await self.server.listen(self.server.application(), host, 0, identity.tunnel)
        self.tunnel_url = f"https://{host}:{inner}/sdk"
        self._tunnel = Tunnel(target=("127.0.0.1" if host == "0.0.0.0" else host, inner))  # noqa: S104
        tunnel = await self._tunnel.start(host, tunnel_port)
        self.ready = {
            "url": f"https://{host}:{taken}/sdk",
            "eam_url": f"https://{host}:{taken}/eam/sdk",
            "rest_url": f"https://{host}:{taken}/api" if self.eam.profile.rest else None,
            "tunnel": f"{host}:{tunnel}",
            "username": self.options.username,
            "password": self.options.password,
            "ca_file": str(identity.ca_file),
            "thumbprint": identity.thumbprint,
            "control_url": None,
            "page_url": None,
        }
