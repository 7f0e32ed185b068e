"""A running Server Manager: its database, registry, Ansible server and API put together from the settings."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final, Self

from fastapi import FastAPI

from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.config.settings import Address, ServerManagerSettings
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import Secret, private_directory, read_secret, write_private
from contrail_vsphere.servermanager.ansible_client import AnsibleClient
from contrail_vsphere.servermanager.api.app import create_app
from contrail_vsphere.servermanager.embedded_registry import EmbeddedRegistry
from contrail_vsphere.servermanager.mail import Relay
from contrail_vsphere.servermanager.registry import Registry
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.service import Parts, ServerManager
from contrail_vsphere.servermanager.store import Store

_LOG = logging.getLogger(__name__)

CA_NAME: Final = "contrail-vsphere Server Manager"


class ServerManagerService:
    """``async with`` it: serves inside, everything ended outside. ``ready`` is the line that ``serve`` prints."""

    def __init__(self, settings: ServerManagerSettings, *, now: Callable[[], datetime] | None = None) -> None:
        self._settings = settings
        self._now = now or (lambda: datetime.now(UTC))
        self._stack = AsyncExitStack()
        self.ready: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        """Start registry, jobs and API, in this order."""
        async with AsyncExitStack() as stack:
            settings = self._settings
            data = private_directory(settings.data_dir)
            authority = CertificateAuthority.load_or_create(data / "ca", name=CA_NAME, now=self._now)
            write_private(data / "ca.pem", authority.trust_bundle.encode())
            parts = await self._parts(stack, data, authority)
            manager = ServerManager(
                self._store(data), data, parts=parts, conf_dir=settings.conf_dir, upload_limit=settings.upload_limit
            )
            await manager.start()
            stack.push_async_callback(manager.stop)
            app = create_app(manager, insecure_seed_era=settings.insecure_seed_era)
            server = self._server(app, data, authority)
            await server.start()
            stack.push_async_callback(server.stop)
            stack.callback(app.state.remembered.part)
            self.ready = {
                "url": server.url, "ca_file": str(data / "ca.pem"), "token_file": str(manager.token_file),
                "registry": parts.registry_address, "ansible_url": settings.ansible_url,
            }  # fmt: skip
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End what was started, the last first."""
        await self._stack.aclose()

    def _store(self, data: Path) -> Store:
        settings = self._settings
        password = read_secret(settings.database_password_file).reveal() if settings.database_password_file else ""
        url = settings.database or f"sqlite:///{data / 'server-manager.db'}"
        return Store(url, now=self._now, password=password)

    async def _parts(self, stack: AsyncExitStack, data: Path, authority: CertificateAuthority) -> Parts:
        settings = self._settings
        ansible = AnsibleClient(settings.ansible_url, token=ansible_token(settings), tls=self._ansible_tls(authority))
        stack.push_async_callback(ansible.close)
        if not settings.registry:
            registry = EmbeddedRegistry(data / "registry", settings.registry_listen, authority=authority)
            await registry.start()
            stack.push_async_callback(registry.stop)
            pull = RegistryToPull(
                address=registry.address, ca_pem=authority.trust_bundle, username=registry.username,
                password=registry.password().reveal(),
            )  # fmt: skip
            return Parts(
                registry.client, registry.address, pull, ansible, registry.collect_garbage, relay=relay_of(settings)
            )
        password = read_secret(settings.registry_password_file) if settings.registry_password_file else Secret("")
        tls = client_context(ca_file=settings.registry_ca_file)
        ca_pem = settings.registry_ca_file.read_text() if settings.registry_ca_file else ""
        pull = RegistryToPull(
            address=settings.registry, ca_pem=ca_pem, username=settings.registry_username, password=password.reveal()
        )

        def client() -> Registry:
            return Registry(settings.registry, tls=tls, username=settings.registry_username, password=password)

        return Parts(client, settings.registry, pull, ansible, relay=relay_of(settings))

    def _ansible_tls(self, authority: CertificateAuthority) -> ssl.SSLContext | None:
        if self._settings.ansible_url.startswith("http://"):
            return None
        if self._settings.ansible_ca_file is not None:
            return client_context(ca_file=self._settings.ansible_ca_file)
        return client_context(ca_pem=authority.trust_bundle)

    def _server(self, app: FastAPI, data: Path, authority: CertificateAuthority) -> ControlServer:
        settings = self._settings
        if settings.insecure_seed_era:
            _LOG.warning(
                "INSECURE: plain HTTP on %s, and the seed era's routes take anybody for an operator", settings.listen
            )
            return ControlServer(app, settings.listen, plain_anywhere=True)
        directory = private_directory(data / "identity")
        issued = authority.issue_server([settings.listen.host])
        identity = Identity.install(
            issued.key_pem, issued.chain_pem, key_file=directory / "api.key", cert_file=directory / "api.crt"
        )
        return ControlServer(app, settings.listen, tls=identity.server_context())


def ansible_token(settings: ServerManagerSettings) -> Secret:
    """What Server Manager and the Ansible server know each other by; made on the first start."""
    path = settings.ansible_token_file or private_directory(settings.data_dir) / "ansible.token"
    if not path.exists():
        write_private(path, token_urlsafe(32).encode() + b"\n")
    return read_secret(path)


def relay_of(settings: ServerManagerSettings) -> Relay | None:
    """Where mail goes; None if nobody is to be told."""
    if not settings.mail_server:
        return None
    host, _, port = settings.mail_server.rpartition(":")
    address = Address(host.strip("[]"), int(port))
    password = settings.mail_password_file
    return Relay(
        address.host, address.port, settings.mail_sender,
        tls=None if address.is_loopback else client_context(ca_file=settings.mail_ca_file),
        username=settings.mail_username, password=(lambda: read_secret(password)) if password is not None else None,
    )  # fmt: skip
