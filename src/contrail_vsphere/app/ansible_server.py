"""A running Ansible server: its runs, its API and its ``debug.log`` put together from the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, Self

from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.app.server_manager import CA_NAME, ansible_token
from contrail_vsphere.config.settings import ServerManagerSettings
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.secrets import private_directory
from contrail_vsphere.servermanager.ansible_server.app import create_app
from contrail_vsphere.servermanager.ansible_server.events import Event
from contrail_vsphere.servermanager.ansible_server.supervisor import Supervisor
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.runs import RegistryToPull

LOG_BYTES: Final = 100_000_000
LOG_FILES: Final = 10


class AnsibleService:
    """``async with`` it: serves inside. Leaving it leaves runs to their workers; the next one takes them up."""

    def __init__(self, settings: ServerManagerSettings, *, now: Callable[[], datetime] | None = None) -> None:
        self._settings = settings
        self._now = now or (lambda: datetime.now(UTC))
        self._stack = AsyncExitStack()
        self.ready: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        """Take up what is there, then serve."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            data = private_directory(settings.ansible_data_dir)
            log = DebugLog(data / "debug.log")
            stack.callback(log.close)
            supervisor = Supervisor(
                data, now=self._now, slots=settings.ansible_slots, run_timeout=settings.ansible_run_timeout,
                on_event=log.write,
            )  # fmt: skip
            await supervisor.start()
            stack.push_async_callback(supervisor.stop)
            app = create_app(
                supervisor, token=ansible_token(settings), roles=catalogue(), conf_dir=settings.conf_dir,
                registry=RegistryToPull(address=settings.registry or str(settings.registry_listen)),
            )  # fmt: skip
            server = self._server(app, data)
            await server.start()
            stack.push_async_callback(server.stop)
            stack.callback(supervisor.part)
            self.ready = {"url": server.url, "runs": str(data / "runs"), "debug_log": str(data / "debug.log")}
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End what was started, the last first."""
        await self._stack.aclose()

    def _server(self, app: Any, data: Path) -> ControlServer:
        settings = self._settings
        if settings.ansible_listen.is_loopback and settings.ansible_url.startswith("http://"):
            return ControlServer(app, settings.ansible_listen)
        authority = CertificateAuthority.load_or_create(
            private_directory(settings.data_dir) / "ca", name=CA_NAME, now=self._now
        )
        issued = authority.issue_server([settings.ansible_listen.host])
        identity = Identity.install(
            issued.key_pem, issued.chain_pem, key_file=data / "ansible.key", cert_file=data / "ansible.crt"
        )
        return ControlServer(app, settings.ansible_listen, tls=identity.server_context())


class DebugLog:
    """``debug.log``, as the seed has it: a line per event, with its run; rotated."""

    def __init__(self, path: Path) -> None:
        self._handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, run_id: str, event: Event) -> None:
        """One line."""
        at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
        words = [at, run_id, event.host or "-", event.role or "-", event.run or event.state, event.task]
        words += [f"changed: {'; '.join(event.what)}"] if event.what else []
        words += [event.message] if event.message else []
        line = " ".join(" ".join(str(word).split()) for word in words if word)
        self._handler.emit(logging.LogRecord("run", logging.INFO, "", 0, line.replace("%", "%%"), (), None))

    def close(self) -> None:
        """No more lines."""
        self._handler.close()
