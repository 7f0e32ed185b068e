"""The ContrailVM Manager as a running service: its parts put together, started in order, stopped in the reverse.

Publishing and bootstrap are up before vCenter is spoken to, since EAM fetches the package before ``CreateAgency``
answers; the manager begins to act last and ends first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import aiohttp

from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.certificate_office import CertificateOffice, peer_certificate
from contrail_vsphere.app.certificates import CertificateWatch
from contrail_vsphere.app.clock import utc_now
from contrail_vsphere.app.connect import choose_vcenter, endpoint
from contrail_vsphere.app.contrailvm_control import ContrailVmControl
from contrail_vsphere.app.contrailvm_guests import GuestDesk, clone_ticket, guest_context
from contrail_vsphere.app.control import create_app
from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.election import Electorate, alone, candidate
from contrail_vsphere.app.extension import extension_facts
from contrail_vsphere.app.host_plugin import host_plugins
from contrail_vsphere.app.listeners import listen_on, names, publish_identity
from contrail_vsphere.app.metrics import Metrics
from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.app.standby import Face, StandbyWatch, hand_over, own_journal
from contrail_vsphere.app.standby_reader import StandbyReader
from contrail_vsphere.app.synced import HostReports, PluginProbe
from contrail_vsphere.app.system_vms import system_vms
from contrail_vsphere.app.virtual_routers import vrouter_roll
from contrail_vsphere.app.webhooks import Webhooks
from contrail_vsphere.config.settings import Address, Settings
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer
from contrail_vsphere.contrailvm.deeds import DEED_EVENTS
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.registration import ExtensionFacts, Registration
from contrail_vsphere.contrailvm.watch import SyncedProbe, nobody_owes
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.errors import AuthenticationFailed, SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import read_secret
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.vsphere.alarms import Alarms
from contrail_vsphere.vsphere.endpoint import ExtensionLogin
from contrail_vsphere.vsphere.system_vm.client import SystemVmClient
from contrail_vsphere.vsphere.vcenter import VCenter

_LOG = logging.getLogger(__name__)

TOKEN_LIFETIME = timedelta(hours=24)
"""A bootstrap token outlives the slowest deployment; it is void anyway once another is minted for its VM."""
EAM_EVENTS = tuple(
    f"com.vmware.vim.eam.{name}"
    for name in (
        "agency.create", "agency.destroyed", "agency.goalstate", "agency.statusChanged", "agency.updated",
        "agent.created", "agent.destroyed", "agent.destroyedNoHost", "agent.statusChanged",
        "agent.markAgentVmAsAvailableAfterProvisioning", "agent.markAgentVmAsAvailableAfterPowerOn",
        "agent.task.deployVm", "agent.task.deleteVm", "agent.task.powerOnVm", "agent.task.powerOffVm",
        "issue.vmPoweredOff", "issue.vmNotDeployed", "issue.vmSuspended", "issue.resolved",
    )
)  # fmt: skip
"""Events that say EAM has news; those of other issues come with a change of status."""
FOLLOWED_EVENTS = (*EAM_EVENTS, *DEED_EVENTS)
"""Those, and what users do to ContrailVMs."""


class ContrailVmService:
    """One manager for one vCenter. ``async with`` runs it; ``ready`` then says where it serves."""

    def __init__(
        self, settings: Settings, *, vcenter: str = "", now: Callable[[], datetime] = utc_now, seed: int | None = None
    ) -> None:
        self.settings = settings
        self.vcenter_name, self._table = choose_vcenter(settings, vcenter)
        self._now = now
        self._random = Random(seed)
        self._stack = AsyncExitStack()
        self.ready: dict[str, Any] = {}
        self.health = HealthBook(now=now)
        self.metrics = Metrics()
        self.reigns: Reigns[ContrailVmManager]
        self.vcenter: VCenter
        self._data: DataDirectory
        self._authority: CertificateAuthority
        self._login: ExtensionLogin
        self._http: aiohttp.ClientSession
        self._bootstrap: BootstrapServer
        self._vms: SystemVmClient | None = None
        self.webhooks: Webhooks
        self.standby: StandbyWatch | None = None
        """Where several managers stand for election."""
        self.publisher: Publisher
        self.certificates: CertificateOffice
        self._watch: CertificateWatch
        self._identities: dict[str, Identity] = {}
        """Of the listeners but the publisher, which has its own; by name."""

    async def __aenter__(self) -> ContrailVmService:
        """Start everything, or nothing."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, last started first."""
        await self._stack.aclose()

    @property
    def manager(self) -> ContrailVmManager:
        """The one that acts. NotReadyYet while another process does."""
        return self.reigns.acting

    # -- start --------------------------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, now = self.settings, self._now
        self._data = DataDirectory(settings.manager.data_dir, now=now)
        # First, so that a manager that was never registered leaves nothing behind.
        key = settings.manager.extension_key
        self._login = ExtensionLogin(key=key, identity=self._data.extension_identity(key))
        stack.enter_context(self._data.held())
        journal = None if settings.zookeeper.manager_path else own_journal(self._data, stack)
        self._authority = self._data.authority()
        identity = await self._publish(stack)
        await self._connect(stack)
        inside = settings.bootstrap.host_plugins
        desk = GuestDesk(
            solution_id=key,
            reigns=lambda: self.reigns,
            lacks=lambda: self.standby.problems if self.standby is not None else (),
            now=now,
        )
        self._reports = HostReports(desk.host_of)
        report = self._reports.take if inside else None
        vouch = partial(clone_ticket, self.vcenter) if inside else None
        listen = settings.bootstrap.listen
        self._bootstrap = desk.server(str(listen), identity, self._authority, vouch=vouch, report=report)
        self.reigns = await self._elected(stack) if journal is None else self._alone(journal)
        await listen_on(self._bootstrap.start, "bootstrap.listen", listen)
        stack.push_async_callback(self._bootstrap.stop)

        self.vcenter.inventory.start()
        self.vcenter.events.start(FOLLOWED_EVENTS)
        self.vcenter.eam.cache.start()
        if self._vms is not None:
            self._vms.cache.start()
        self.webhooks = Webhooks(settings.notify, source=key, now=now, random=self._random)
        await self.webhooks.start()
        stack.push_async_callback(self.webhooks.stop)
        self.certificates = self._office()
        control = await self._start_control(stack)
        self.reigns.start()
        stack.push_async_callback(self.reigns.stop)
        if self.standby is None:
            await self.reigns.first()
        else:
            self.standby.start()
            stack.push_async_callback(self.standby.stop)
        self.certificates.start()
        stack.push_async_callback(self.certificates.stop)
        self.virtual_routers = await vrouter_roll(
            settings.contrail,
            stack,
            serving=lambda: self.manager.vrouters() if self.reigns.leads else {},
            known=lambda: self.manager.vrouter_names() if self.reigns.leads else None,
            random=self._random,
        )
        self.ready = {
            "control_url": control,
            "publish_url": self.publisher.base_url,
            "bootstrap_url": self._bootstrap_url(),
            "extension": key,
            "vcenter": self.vcenter_name,
        }

    async def _publish(self, stack: AsyncExitStack) -> Identity:
        """Start the publisher, and watch its certificate and that of the bootstrap listener, which is returned."""
        publish, bootstrap = self.settings.publish, self.settings.bootstrap
        data, authority = self._data, self._authority
        identity_of_publish, renew_publish = publish_identity(publish, data, authority)
        hosts = names(bootstrap.listen, bootstrap.advertise)
        identity = data.server_identity("bootstrap", hosts, authority)
        self._watch = CertificateWatch(
            {"bootstrap": identity},
            renew=(*renew_publish, lambda: data.server_identity("bootstrap", hosts, authority)),
        )
        self._identities["bootstrap"] = identity
        self.publisher = Publisher(
            data.path / "packages",
            listen=publish.listen,
            tls=identity_of_publish,
            advertised_url=publish.advertise,
            now=self._now,
        )
        await self.publisher.start()
        stack.push_async_callback(self.publisher.stop)
        return identity

    async def _connect(self, stack: AsyncExitStack) -> None:
        """Log in to vCenter; nothing is read yet."""
        self.vcenter = VCenter(endpoint(self._table), self._login, now=self._now, random=self._random)
        try:
            await stack.enter_async_context(self.vcenter)
        except AuthenticationFailed as error:
            if await self._log_in_with_successor(stack):
                return
            raise AuthenticationFailed(
                f"vCenter {self._table.host} does not accept the extension {self._login.key}",
                hint="register it: contrail-vsphere contrailvm register",
            ) from error
        self._vms = system_vms(self._table, self.vcenter, solution_id=self._login.key, now=self._now)
        if self._vms is not None:
            stack.push_async_callback(self._vms.close)
        self._http = await stack.enter_async_context(aiohttp.ClientSession())

    async def _log_in_with_successor(self, stack: AsyncExitStack) -> bool:
        """A renewal of the extension's certificate that a crash cut short: vCenter has the new one already."""
        identity = self._data.promote_extension()
        if identity is None:
            return False
        _LOG.warning("the extension's certificate was being renewed; its successor is tried")
        self._login = replace(self._login, identity=identity)
        await self._connect(stack)
        return True

    async def renew_extension(self) -> bool:
        """Give our extension in vCenter a new certificate and log in with it from now on; only while we lead."""
        manager, key = self.manager, self._login.key
        await manager.leave()
        successor = self._data.next_extension(key, self._authority)
        facts = extension_facts(self.settings, successor)
        await self._registration(facts).set_certificate(successor.cert_pem)
        promoted = self._data.promote_extension()
        if promoted is not None:
            self._login = replace(self._login, identity=promoted)
            self.vcenter.session.credentials = self._login
            _LOG.info("the extension logs in with a new certificate, valid until %s", promoted.expires.isoformat())
        return promoted is not None

    def _registration(self, facts: ExtensionFacts) -> Registration:
        return Registration(
            self.vcenter, extension_manager=self.vcenter.content.extensionManager, facts=facts, now=self._now
        )

    def _office(self) -> CertificateOffice:
        def identities() -> dict[str, Identity]:
            publish = {"publish": self.publisher.identity} if self.publisher.identity is not None else {}
            return {**publish, **self._identities, "extension": self._login.identity}

        async def peer() -> bytes:
            where = endpoint(self._table)
            return await peer_certificate(where.host, where.port, where.context())

        async def trust(bundle: str) -> None:
            await self._bootstrap.present(guest_context(self._identities["bootstrap"], bundle))

        return CertificateOffice(
            watch=self._watch,
            authority=self._authority,
            identities=identities,
            publisher=self.publisher,
            acting=lambda: self.reigns.acting if self.reigns.leads else None,
            renew_extension=self.renew_extension,
            peer=peer,
            trust=trust,
            health=self.health,
            now=self._now,
        )

    def _bootstrap_url(self) -> str:
        host, port = self._bootstrap.address
        return self.settings.bootstrap.advertise or f"https://{Address(host, port)}"

    # -- who acts -----------------------------------------------------------------------------------------------

    async def _make(self, leader: Leader, journal: RecordStore) -> ContrailVmManager:
        """The manager of one reign."""
        manager = self._manager(leader, journal)
        if self.settings.bootstrap.host_plugins:
            manager.office.plugin_of = host_plugins(self.settings, self._table)
        manager.tell(self.webhooks.send)
        self.metrics.watch_controller(manager.controller.engine)
        self.metrics.watch_brake(manager.brake)
        return manager

    def _manager(self, leader: Leader, journal: RecordStore) -> ContrailVmManager:
        settings, vcenter, now, authority = self.settings, self.vcenter, self._now, self._authority
        facts = extension_facts(settings, self._login.identity)
        return ContrailVmManager(
            solution_id=settings.manager.extension_key,
            vcenter=vcenter,
            inventory=vcenter.inventory,
            eam=vcenter.eam,
            agencies=vcenter.eam.cache,
            journal=journal,
            shelf=Shelf(
                self.publisher,
                solution_id=settings.manager.extension_key,
                manager_url=self._bootstrap_url,
                ca_pem=lambda: authority.cert_pem,
            ),
            tokens=TokenStore(journal, now=now, ttl=TOKEN_LIFETIME),
            authority=authority,
            introspect=Introspect(self._http),
            synced=self._synced(),
            health=self.health,
            now=now,
            random=self._random,
            events=vcenter.events,
            registration=self._registration(facts),
            leader=leader,
            system_vms=self._vms,
            alarms=Alarms(vcenter),
            check_address=settings.bootstrap.check_address,
        )

    def _synced(self) -> SyncedProbe:
        """Who says whether a host has all its ports."""
        manager = self.settings.manager
        if self.settings.bootstrap.host_plugins:
            if manager.plugin_urls:
                raise SettingsError(
                    "plugin_urls names a central plugin, and host_plugins puts one into each ContrailVM",
                    hint="set plugin_urls in [manager] or host_plugins in [bootstrap], not both",
                )
            return self._reports
        urls = [part.strip() for part in manager.plugin_urls.split(",") if part.strip()]
        if not urls or manager.plugin_token_file is None:
            return nobody_owes
        tls = client_context(ca_file=manager.plugin_ca_file) if manager.plugin_ca_file is not None else True
        return PluginProbe(urls, read_secret(manager.plugin_token_file), self._http, tls=tls)

    def _alone(self, journal: RecordStore) -> Reigns[ContrailVmManager]:
        return alone(self._make, journal, ended=self._forget, random=self._random, what="manager")

    async def _elected(self, stack: AsyncExitStack) -> Reigns[ContrailVmManager]:
        """The journal is in ZooKeeper; on the very first reign it comes there from our own file."""
        zookeeper = self.settings.zookeeper
        if not zookeeper.servers:
            raise SettingsError("zookeeper.manager_path is set, but no servers", hint="set servers in [zookeeper]")
        path = zookeeper.manager_path
        journal_path = f"{path}.journal/{self.vcenter.about.instanceUuid}"
        electorate = Electorate(zookeeper, path=path, journal_path=journal_path, now=self._now, random=self._random)
        await stack.enter_async_context(electorate)

        async def prepared(leader: Leader, journal: RecordStore) -> ContrailVmManager:
            await hand_over(self._data, journal, face=self._face(), path=journal_path)
            return await self._make(leader, journal)

        self.standby = StandbyWatch(
            journal=electorate.journal,
            face=self._face,
            packages=self.publisher.store.packages.keys,
            leads=lambda: self.reigns.leads,
            reader=StandbyReader(self._manager),
        )
        return electorate.reigns(prepared, ended=self._forget, what="manager")

    def _face(self) -> Face:
        return Face(
            by=candidate(self.settings.zookeeper),
            publish_url=self.publisher.base_url,
            bootstrap_url=self._bootstrap_url(),
            authority=self._authority.fingerprint,
            extension=self._login.identity.fingerprint,
            publish=self.publisher.identity.fingerprint if self.publisher.identity is not None else "",
        )

    def _forget(self) -> None:
        """What was wrong in a reign that is over is another process's concern."""
        for entry in self.health.items():
            self.health.forget(entry.source, entry.key)

    @property
    def calls(self) -> Counter[str]:
        """How often each method of vCenter, EAM and vLCM was called so far."""
        return Counter(self.vcenter.calls) + Counter(self._vms.calls if self._vms is not None else {})

    # -- what is served -----------------------------------------------------------------------------------------

    async def _start_control(self, stack: AsyncExitStack) -> str:
        control = self.settings.control
        tls = None
        if control.cert_file is not None and control.key_file is not None:
            identity = Identity(control.key_file, control.cert_file)
            self._watch.add("control", identity)
            self._identities["control"] = identity
            tls = identity.server_context()
        self._show_metrics()
        target = ContrailVmControl(
            self.reigns,
            vcenter=self.vcenter_name,
            now=self._now,
            reload_packages=self.publisher.reload,
            certificates=self.certificates,
            renew_extension=self.renew_extension,
            standby=lambda: self.standby,
        )
        app = create_app(
            target=target, tokens=TokenFile(self.settings.token_file), health=self.health, metrics=self.metrics
        )
        server = ControlServer(app, control.listen, tls=tls)
        await server.start()
        stack.push_async_callback(server.stop)
        return server.url

    def _show_metrics(self) -> None:
        metrics = self.metrics
        metrics.watch_health(self.health)
        metrics.gauge(
            "leads", "1 while this process acts, 0 while it stands by.", (), lambda: {(): float(self.reigns.leads)}
        )
        metrics.counter(
            "vcenter_calls", "Calls to vCenter, EAM and vLCM by method.", ("method",),
            lambda: {(method,): float(number) for method, number in self.calls.items()},
        )  # fmt: skip
        metrics.gauge("hosts", "Hosts by the state of their ContrailVM.", ("state",), self._hosts_by_state)
        metrics.gauge(
            "certificate_expires_seconds", "Seconds until a certificate expires.", ("certificate",),
            self.certificates.seconds_left,
        )  # fmt: skip
        metrics.counter(
            "webhooks", "Messages to webhooks by what became of them.", ("address", "outcome"),
            lambda: {key: float(number) for key, number in self.webhooks.counts.items()},
        )  # fmt: skip

    def _hosts_by_state(self) -> dict[tuple[str], float]:
        counted: dict[tuple[str], float] = {}
        for entry in self.manager.hosts() if self.reigns.leads else ():
            counted[(entry.state,)] = counted.get((entry.state,), 0.0) + 1
        return counted
