"""The ContrailVM Manager as a running service: its parts put together, started in order, stopped in the reverse.

Publishing and bootstrap are up before vCenter is spoken to, since EAM fetches the package before ``CreateAgency``
answers; the manager begins to act last and ends first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp

import contrail_vsphere
from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.certificates import CertificateWatch
from contrail_vsphere.app.connect import choose_vcenter, endpoint
from contrail_vsphere.app.contrailvm_control import ContrailVmControl
from contrail_vsphere.app.control import create_app
from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.app.host_plugin import host_plugins
from contrail_vsphere.app.metrics import Metrics
from contrail_vsphere.config.settings import Address, PublishSettings, Settings
from contrail_vsphere.contrail.introspect import Introspect
from contrail_vsphere.contrailvm.bootstrap import BootstrapServer
from contrail_vsphere.contrailvm.deeds import DEED_EVENTS
from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.publish import Publisher
from contrail_vsphere.contrailvm.registration import ExtensionFacts, Registration
from contrail_vsphere.contrailvm.shelf import Shelf
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.model.errors import AuthenticationFailed, SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.vsphere.endpoint import ExtensionLogin
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


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


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
        self.manager: ContrailVmManager
        self.vcenter: VCenter
        self.publisher: Publisher
        self.certificates: CertificateWatch

    async def __aenter__(self) -> ContrailVmService:
        """Start everything, or nothing."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, last started first."""
        await self._stack.aclose()

    # -- start --------------------------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, now = self.settings, self._now
        data = DataDirectory(settings.manager.data_dir, now=now)
        # First, so that a manager that was never registered leaves nothing behind.
        login = ExtensionLogin(
            key=settings.manager.extension_key, identity=data.extension_identity(settings.manager.extension_key)
        )
        stack.enter_context(data.held())
        journal = stack.enter_context(data.journal())
        authority = data.authority()
        publish, bootstrap = settings.publish, settings.bootstrap
        publish_identity, renew_publish = _publish_identity(publish, data, authority)
        bootstrap_hosts = _hosts(bootstrap.listen, bootstrap.advertise)
        bootstrap_identity = data.server_identity("bootstrap", bootstrap_hosts, authority)
        self.certificates = CertificateWatch(
            {"publish": publish_identity, "bootstrap": bootstrap_identity},
            renew=(*renew_publish, lambda: data.server_identity("bootstrap", bootstrap_hosts, authority)),
        )
        self.publisher = Publisher(
            data.path / "packages",
            listen=publish.listen,
            tls=publish_identity,
            advertised_url=publish.advertise,
            now=now,
        )
        await self.publisher.start()
        stack.push_async_callback(self.publisher.stop)

        self.vcenter = VCenter(endpoint(self._table), login, now=now, random=self._random)
        try:
            await stack.enter_async_context(self.vcenter)
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                f"vCenter {self._table.host} does not accept the extension {login.key}",
                hint="register it: contrail-vsphere contrailvm register",
            ) from error
        agencies = self.vcenter.eam.cache
        http = await stack.enter_async_context(aiohttp.ClientSession())
        server: list[BootstrapServer] = []

        def bootstrap_url() -> str:
            host, port = server[0].address
            return bootstrap.advertise or f"https://{Address(host, port)}"

        facts = extension_facts(settings, login.identity)
        registration = Registration(
            self.vcenter, extension_manager=self.vcenter.content.extensionManager, facts=facts, now=now
        )
        self.manager = ContrailVmManager(
            solution_id=settings.manager.extension_key,
            vcenter=self.vcenter,
            inventory=self.vcenter.inventory,
            eam=self.vcenter.eam,
            agencies=agencies,
            journal=journal,
            shelf=Shelf(
                self.publisher,
                solution_id=settings.manager.extension_key,
                manager_url=bootstrap_url,
                ca_pem=lambda: authority.cert_pem,
            ),
            tokens=TokenStore(journal, now=now, ttl=TOKEN_LIFETIME),
            authority=authority,
            introspect=Introspect(http),
            health=self.health,
            now=now,
            random=self._random,
            events=self.vcenter.events,
            registration=registration,
        )
        if bootstrap.host_plugins:
            self.manager.office.plugin_of = host_plugins(settings, self._table)
        server.append(self._bootstrap_server(bootstrap.listen, bootstrap_identity, authority))
        await _start_listener(server[0].start, "bootstrap.listen", bootstrap.listen)
        stack.push_async_callback(server[0].stop)

        self.vcenter.inventory.start()
        self.vcenter.events.start(FOLLOWED_EVENTS)
        agencies.start()
        await self.manager.start()
        stack.push_async_callback(self.manager.stop)
        control = await self._start_control(stack)
        self.certificates.start()
        stack.push_async_callback(self.certificates.stop)
        self.ready = {
            "control_url": control,
            "publish_url": self.publisher.base_url,
            "bootstrap_url": bootstrap_url(),
            "extension": settings.manager.extension_key,
            "vcenter": self.vcenter_name,
        }

    def _bootstrap_server(
        self, listen: Address, identity: Identity, authority: CertificateAuthority
    ) -> BootstrapServer:
        office = self.manager.office

        def trusted() -> bytes:
            return authority.trust_bundle.encode()

        return BootstrapServer(
            tls=identity.server_context(client_ca_pem=authority.trust_bundle, clients="optional"),
            ca_pem=trusted,
            redeem=office.redeem,
            configuration=office.configuration,
            sign=office.sign,
            health=self.manager.health,
            listen=str(listen),
            vouch=self._vouch if self.settings.bootstrap.host_plugins else None,
        )

    async def _vouch(self) -> str:
        """For the plugin of a host: one login to vCenter with our own session's rights."""
        session = self.vcenter.session
        await session.ensure()
        return str(await session.call(session.content.sessionManager, "AcquireCloneTicket"))

    async def _start_control(self, stack: AsyncExitStack) -> str:
        control = self.settings.control
        self.metrics.watch_health(self.health)
        self.metrics.watch_controller(self.manager.controller.engine)
        self.metrics.watch_brake(self.manager.brake)
        self.metrics.counter(
            "vcenter_calls", "Calls to vCenter and EAM by method.", ("method",),
            lambda: {(method,): float(number) for method, number in self.vcenter.calls.items()},
        )  # fmt: skip
        self.metrics.gauge("hosts", "Hosts by the state of their ContrailVM.", ("state",), self._hosts_by_state)
        tls = None
        if control.cert_file is not None and control.key_file is not None:
            identity = Identity(control.key_file, control.cert_file)
            self.certificates.add("control", identity)
            tls = identity.server_context()
        target = ContrailVmControl(self.manager, reload_packages=self.publisher.reload)
        app = create_app(
            target=target, tokens=TokenFile(self.settings.token_file), health=self.health, metrics=self.metrics
        )
        server = ControlServer(app, control.listen, tls=tls)
        await server.start()
        stack.push_async_callback(server.stop)
        return server.url

    def _hosts_by_state(self) -> dict[tuple[str], float]:
        counted: dict[tuple[str], float] = {}
        for entry in self.manager.hosts():
            counted[(entry.state,)] = counted.get((entry.state,), 0.0) + 1
        return counted


def extension_facts(settings: Settings, identity: Identity) -> ExtensionFacts:
    """What is registered with vCenter; the same at ``register`` and in every heartbeat."""
    bootstrap_url = settings.bootstrap.advertise or f"https://{settings.bootstrap.listen}"
    return ExtensionFacts(
        key=settings.manager.extension_key,
        company=settings.manager.company,
        certificate_pem=identity.cert_pem,
        health_url=f"{bootstrap_url}/health/health.xml",
        manager_url=bootstrap_url,
        version=contrail_vsphere.__version__,
        admin_email=settings.manager.admin_email,
    )


def _publish_identity(
    publish: PublishSettings, data: DataDirectory, authority: CertificateAuthority
) -> tuple[Identity, tuple[Callable[[], object], ...]]:
    """The operator's own certificate, or ours with the way to renew it."""
    if publish.cert_file is not None and publish.key_file is not None:
        return Identity(publish.key_file, publish.cert_file), ()
    hosts = _hosts(publish.listen, publish.advertise)
    return data.server_identity("publish", hosts, authority), (
        lambda: data.server_identity("publish", hosts, authority),
    )


def _hosts(listen: Address, advertised: str) -> list[str]:
    """The names a listener's certificate bears: the advertised one first."""
    named = urlsplit(advertised).hostname
    return list(dict.fromkeys(name for name in (named, listen.host) if name and name not in ("0.0.0.0", "::")))  # noqa: S104


async def _start_listener(start: Callable[[], Any], key: str, listen: Address) -> None:
    try:
        await start()
    except OSError as error:
        raise SettingsError(
            f"{key} {listen}: {error.strerror or error}", hint="choose an address and port that are free here"
        ) from error
