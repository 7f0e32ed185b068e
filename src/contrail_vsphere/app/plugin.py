"""The vCenter plugin of one vCenter as a running service: put together, started in order, stopped in reverse."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from random import Random
from typing import Any

import aiohttp

from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.clock import utc_now
from contrail_vsphere.app.connect import administrator, choose_vcenter, endpoint
from contrail_vsphere.app.contrail_access import contrail_auth, contrail_notifications, words
from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.election import Electorate, alone
from contrail_vsphere.app.host_directory import RemoteDirectory, StaticDirectory
from contrail_vsphere.app.metrics import Metrics
from contrail_vsphere.app.plugin_control import create_app
from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.app.sandesh_pages import Ends
from contrail_vsphere.app.synced_report import SyncedReporter
from contrail_vsphere.app.vcenter_ticket import TicketOffice
from contrail_vsphere.config.settings import PluginSettings, Settings
from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.vrouter_agent import VRouterAgentClient
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.model.protocols import HostEntry
from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import Secret, read_secret
from contrail_vsphere.vcenter_plugin.desired import Scope, Selection
from contrail_vsphere.vcenter_plugin.plugin import EVENTS, PluginOptions, VCenterPlugin
from contrail_vsphere.vcenter_plugin.port_watch import vlans_in
from contrail_vsphere.vsphere.endpoint import Credentials, ExtensionLogin, TicketLogin
from contrail_vsphere.vsphere.told import folded_vms
from contrail_vsphere.vsphere.vcenter import VCenter


class PluginService:
    """One plugin for one vCenter. ``async with`` runs it; ``ready`` then says where it serves."""

    def __init__(
        self,
        settings: Settings,
        *,
        vcenter: str = "",
        now: Callable[[], datetime] = utc_now,
        seed: int | None = None,
        leader: Leader | None = None,
    ) -> None:
        self.settings = settings
        self.vcenter_name, self._table = choose_vcenter(settings, vcenter)
        self._now = now
        self._random = Random(seed)
        self._leader = leader
        self._stack = AsyncExitStack()
        self.ready: dict[str, Any] = {}
        self.health = HealthBook(now=now)
        self.metrics = Metrics()
        self.reigns: Reigns[VCenterPlugin]

    async def __aenter__(self) -> PluginService:
        """Start everything, or nothing."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, last started first."""
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, now = self.settings, self._now
        share = share_of_work(settings.plugin, self.vcenter_name)
        data = DataDirectory(settings.manager.data_dir / "plugin" / share, now=now)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        login = self._login(http)
        stack.enter_context(data.held())
        vcenter = VCenter(
            endpoint(self._table),
            login,
            now=now,
            random=self._random,
            hosts=words(settings.plugin.hosts),
            vms=folded_vms,
        )
        await stack.enter_async_context(vcenter)
        tls = client_context(ca_file=settings.contrail.ca_file) if settings.contrail.ca_file else None
        api = ConfigApi(
            words(settings.contrail.servers),
            auth=contrail_auth(settings.contrail, tls),
            tls=tls,
            random=self._random,
            rate=settings.contrail.writes_per_second,
        )
        await stack.enter_async_context(api)
        inventory = ContrailInventory(
            api,
            contrail_notifications(settings.contrail, self._random),
            poll=settings.contrail.poll,
            random=self._random,
        )
        directory = await self._directory(settings.plugin, vcenter, http, stack)
        vcenter.inventory.start()
        vcenter.events.start(EVENTS)
        inventory.start()
        stack.push_async_callback(inventory.stop)

        async def plugin(leader: Leader, journal: RecordStore) -> VCenterPlugin:
            made = VCenterPlugin(
                vcenter=vcenter,
                contrail=inventory,
                api=api,
                agents=VRouterAgentClient(http),
                introspect=Introspect(http),
                directory=directory,
                journal=journal,
                leader=leader,
                health=self.health,
                now=now,
                random=self._random,
                options=replace(options(settings.plugin), extension_key=settings.manager.extension_key),
            )
            self._watch(made)
            return made

        if settings.zookeeper.servers:
            share = share_of_work(settings.plugin, vcenter.about.instanceUuid)
            path = f"{settings.zookeeper.path}.elections/{share}"
            electorate = Electorate(
                settings.zookeeper,
                path=path,
                journal_path=f"{path}.journal",
                now=now,
                random=self._random,
                beside=settings.zookeeper.path,
            )
            await stack.enter_async_context(electorate)
            self.reigns = electorate.reigns(plugin, ended=self._forget, what="plugin")
        else:
            journal = stack.enter_context(data.journal())
            self.reigns = alone(
                plugin, journal, ended=self._forget, random=self._random, what="plugin", leader=self._leader
            )
        ends = Ends(
            words(settings.contrail.servers)[0],
            self._table.host,
            lambda: inventory.healthy,
            lambda: vcenter.inventory.healthy,
        )
        control = await self._start_control(api, vcenter, ends, stack)
        self._report(http, vcenter, stack)
        self.reigns.start()
        stack.push_async_callback(self.reigns.stop)
        if not settings.zookeeper.servers:
            await self.reigns.first()
        self.ready = {"control_url": control, "vcenter": self.vcenter_name, "role": "plugin"}

    @property
    def plugin(self) -> VCenterPlugin:
        """The one that acts. NotReadyYet while another process does."""
        return self.reigns.acting

    def _watch(self, plugin: VCenterPlugin) -> None:
        """Metrics are those of the plugin that acts."""
        self.metrics.watch_controller(plugin.controller.networks)
        self.metrics.watch_controller(plugin.controller.machines)
        self.metrics.watch_brake(plugin.brake)

    def _forget(self) -> None:
        """What was wrong in a reign that is over is another process's concern."""
        for entry in self.health.items():
            self.health.forget(entry.source, entry.key)

    def _login(self, http: aiohttp.ClientSession) -> Credentials:
        """The account of the settings, else what the manager vouches for, else our extension's certificate."""
        table, manager = self._table, self.settings.manager
        if table.username:
            return administrator(table)
        tls = self._manager_tls()
        if tls is not None:
            return TicketLogin(table.manager_url, TicketOffice(table.manager_url, http, tls).ticket)
        data = DataDirectory(manager.data_dir, now=self._now)
        return ExtensionLogin(key=manager.extension_key, identity=data.extension_identity(manager.extension_key))

    def _manager_tls(self) -> Callable[[], ssl.SSLContext] | None:
        """How a ContrailVM shows itself to its manager; None where that was not set up."""
        table = self._table
        key_file, cert_file = table.manager_key_file, table.manager_cert_file
        if not table.manager_url or key_file is None or cert_file is None:
            return None
        return lambda: Identity(key_file, cert_file).client_context(ca_file=table.manager_ca_file)

    def _report(self, http: aiohttp.ClientSession, vcenter: VCenter, stack: AsyncExitStack) -> None:
        """In a ContrailVM: tell the manager, whose gate waits for it, whether the host has all its ports."""
        tls = self._manager_tls()
        if tls is None or not self.settings.plugin.hosts:
            return

        def state() -> tuple[bool, str]:
            scope = options(self.settings.plugin).scope
            hosts = [host.id for host in vcenter.inventory.hosts.values() if scope.serves(host)]
            if not self.reigns.leads or not hosts:
                return False, "the plugin has not started"
            unready = [each for each in map(self.plugin.readiness, hosts) if not each.synced]
            return not unready, unready[0].reason if unready else ""

        reporter = SyncedReporter(self._table.manager_url, http, tls, state=state)
        reporter.start()
        stack.push_async_callback(reporter.stop)

    async def _directory(
        self, plugin: PluginSettings, vcenter: VCenter, http: aiohttp.ClientSession, stack: AsyncExitStack
    ) -> Callable[[], Iterable[HostEntry]]:
        if plugin.hosts_file is not None:
            return StaticDirectory(plugin.hosts_file, lambda: vcenter.inventory.hosts).hosts
        remote = RemoteDirectory(*self._manager(plugin), http)
        await remote.start()
        stack.push_async_callback(remote.stop)
        return remote.hosts

    def _manager(self, plugin: PluginSettings) -> tuple[str, Secret]:
        """The ContrailVM Manager that knows the hosts, and a viewer's token; unless named, that of these settings."""
        url = self._table.hosts_url or plugin.hosts_url
        if not url:
            control = self.settings.control
            scheme = "https" if control.cert_file is not None else "http"
            return f"{scheme}://{control.listen}", TokenFile(self.settings.token_file).token("viewer")
        if plugin.hosts_token_file is None:
            raise SettingsError(f"the plugin may not ask {url} for its hosts", hint="set hosts_token_file in [plugin]")
        return url, read_secret(plugin.hosts_token_file)

    async def _start_control(self, api: ConfigApi, vcenter: VCenter, ends: Ends, stack: AsyncExitStack) -> str:
        control, metrics = self.settings.control, self.metrics
        metrics.watch_health(self.health)
        metrics.gauge(
            "leads", "1 while this process acts, 0 while it stands by.", (), lambda: {(): float(self.reigns.leads)}
        )
        metrics.counter(
            "vcenter_calls", "Calls to vCenter by method.", ("method",),
            lambda: {(method,): float(number) for method, number in vcenter.calls.items()},
        )  # fmt: skip
        metrics.counter(
            "contrail_calls", "Calls to Contrail by verb and type.", ("verb", "type"),
            lambda: {key: float(number) for key, number in api.calls.items()},
        )  # fmt: skip
        metrics.gauge("ports", "Ports by state.", ("state",), self._ports_by_state)
        metrics.gauge("vlans_free", "VLANs that a host has left.", ("host",), self._capacity)
        tls = None
        if control.cert_file is not None and control.key_file is not None:
            tls = Identity(control.key_file, control.cert_file).server_context()
        tokens = TokenFile(self.settings.token_file)
        listen = self._table.plugin_listen or self.settings.plugin.listen
        app = create_app(
            reigns=self.reigns, tokens=tokens, health=self.health, metrics=metrics, ends=ends,
            local=listen.is_loopback,
        )  # fmt: skip
        server = ControlServer(app, listen, tls=tls)
        await server.start()
        stack.push_async_callback(server.stop)
        return server.url

    def _ports_by_state(self) -> dict[tuple[str], float]:
        if not self.reigns.leads:
            return {}
        return {(state,): float(number) for state, number in self.plugin.controller.states.counts.items() if number}

    def _capacity(self) -> dict[tuple[str], float]:
        if not self.reigns.leads:
            return {}
        return {(host.name,): float(self.plugin.capacity(host.id).free) for host in self.plugin.hosts.sights()}


def share_of_work(settings: PluginSettings, vcenter: str) -> str:
    """What a plugin acts for, as a name: those who would do the same have the same one, and one of them acts.

    Plugins whose shares differ act side by side.
    """
    limits = [settings.own_switches if settings.own_switches != "*" else "", settings.hosts]
    return ".".join((vcenter, settings.part, *(sha256(each.encode()).hexdigest()[:12] for each in limits if each)))


def options(settings: PluginSettings) -> PluginOptions:
    """What the plugin takes, from its table."""
    return PluginOptions(
        mode=settings.mode,
        selection=Selection(
            projects=words(settings.projects),
            exclude_projects=words(settings.exclude_projects),
            switches=words(settings.switches),
        ),
        scheme=settings.compat_ids,
        adopt_existing=settings.adopt_existing,
        migrate=settings.migrate,
        rename=settings.rename,
        virtual_macs=settings.virtual_macs,
        linger=settings.linger,
        reserved_vlans=frozenset(vlans_in(settings.reserved_vlans)),
        scope=Scope(
            switches=words(settings.own_switches),
            networks=settings.part != "ports",
            ports=settings.part != "networks",
            hosts=frozenset(words(settings.hosts)),
        ),
    )
