"""Neutron's own API on a private MariaDB, on loopback and in a directory that goes with the demo.

Nothing stands in for Neutron here: its migrations, its WSGI application under uWSGI, its tables. What is left out is
what it can do without: Keystone (``noauth``) and a message bus (``fake:/``).
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from contrail_vsphere.demo.processes import leash
from contrail_vsphere.model.errors import ContrailVsphereError, SettingsError

BIN: Final = Path(sys.prefix) / "bin"
PROGRAMS: Final = ("mariadbd", "mariadb-install-db", "mariadb")
DEADLINE: Final = 120.0
MIGRATION_DEADLINE: Final = 600.0
"""Two hundred migrations take ten seconds; on a busy machine many times that."""
GRACE: Final = 10.0
UNLIMITED: Final = ("quota_network", "quota_port", "quota_subnet", "quota_security_group", "quota_security_group_rule")

Sections = Mapping[str, Mapping[str, str]]


def obstacles() -> list[str]:
    """What is missing on this machine, in words."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    found = [f"not installed: {', '.join(missing)}; as root: apt-get install mariadb-server"] if missing else []
    absent = [name for name in ("uwsgi", "neutron-db-manage") if not (BIN / name).exists()]
    if absent:
        found.append(f"not in {BIN}: {', '.join(absent)}; make demo-neutron installs them")
    return found


class NeutronLab:
    """Leave the context to end everything that was started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "neutron.conf"
        self._database_port, self._api_port = _free_port(), _free_port()
        self._running: list[asyncio.subprocess.Process] = []

    @property
    def url(self) -> str:
        """Of Neutron's API."""
        return f"http://127.0.0.1:{self._api_port}/"

    async def __aenter__(self) -> NeutronLab:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Last started, first ended."""
        for process in reversed(self._running):
            await end(process)

    # -- the parts, in the order they are started ---------------------------------------------------------------

    async def database(self) -> None:
        """MariaDB, with an empty database."""
        data, user, sock = self.directory / "data", getpass.getuser(), self.directory / "sock"
        await self.run(
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}",
            "--auth-root-authentication-method=normal", "--skip-test-db",
        )  # fmt: skip
        await self._start(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", "--bind-address=127.0.0.1",
            f"--port={self._database_port}", f"--socket={sock}", f"--pid-file={self.directory / 'pid'}",
            "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", answers=self._takes_connections,
        )  # fmt: skip
        statements = (
            "CREATE DATABASE neutron CHARACTER SET utf8mb4; CREATE USER neutron@'127.0.0.1' IDENTIFIED BY 'neutron'; "
            "GRANT ALL ON neutron.* TO neutron@'127.0.0.1'"
        )
        await self.run("mariadb", "--no-defaults", f"--socket={sock}", "--user=root", f"--execute={statements}")

    def write(self, settings: Sections) -> None:
        """``neutron.conf``; ``settings`` come on top of what lets Neutron run alone."""
        sections: dict[str, dict[str, str]] = {
            "DEFAULT": {
                "core_plugin": "ml2",
                "service_plugins": "router",
                "auth_strategy": "noauth",
                "transport_url": "fake:/",
                "state_path": str(self.directory / "state"),
                "rpc_workers": "0",
                "rpc_state_report_workers": "0",
                "notify_nova_on_port_status_changes": "false",
                "notify_nova_on_port_data_changes": "false",
                "api_paste_config": str(Path(sys.prefix) / "etc/neutron/api-paste.ini"),
            },
            "oslo_concurrency": {"lock_path": str(self.directory / "lock")},
            "database": {
                "connection": f"mysql+pymysql://neutron:neutron@127.0.0.1:{self._database_port}/neutron?charset=utf8mb4"
            },
            "oslo_messaging_notifications": {"driver": "noop"},
            "oslo_policy": {"policy_file": str(self.directory / "policy.yaml")},
            "quotas": dict.fromkeys(UNLIMITED, "-1"),
            "ml2": {
                "mechanism_drivers": "openvswitch,vmware_dvs",
                "type_drivers": "flat,vlan",
                "project_network_types": "vlan",
                "extension_drivers": "port_security",
            },
            "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:999"},
        }
        for name, values in settings.items():
            sections.setdefault(name, {}).update(values)
        (self.directory / "policy.yaml").write_text("{}\n")
        self.config.write_text(ini(sections))

    async def migrate(self) -> None:
        """Neutron's tables and the driver's, as an operator makes them."""
        command = (str(BIN / "neutron-db-manage"), "--config-file", str(self.config), "upgrade", "heads")
        await self.run(*command, deadline=MIGRATION_DEADLINE)

    async def api(self) -> None:
        """Neutron's API; returns when it answers."""
        await self._start(
            str(BIN / "uwsgi"), "--http-socket", f"127.0.0.1:{self._api_port}", "--module",
            "neutron.wsgi.api:application", "--virtualenv", sys.prefix, "--master", "--processes", "1", "--threads",
            "4", "--lazy-apps", "--enable-threads", "--die-on-term", "--buffer-size", "65535", "--need-app",
            "--add-header", "Connection: close", answers=self._api_answers,
        )  # fmt: skip

    async def worker(self, vcenter: str, settings: Path) -> asyncio.subprocess.Process:
        """A worker of one vCenter; ended with the lab, unless that was done before."""
        return await self._spawn(
            str(BIN / "contrail-vsphere"), "neutron", "worker", "--config-file", str(self.config), "--config-file",
            str(settings), log=f"worker-{vcenter}",
        )  # fmt: skip

    # -- processes ----------------------------------------------------------------------------------------------

    async def run(self, *command: str, deadline: float = DEADLINE) -> str:
        """Run a command to its end; its output. ContrailVsphereError with its last words when it fails or is slow."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self._environment(), cwd=self.directory, process_group=0, preexec_fn=leash(),
        )  # fmt: skip
        try:
            out, errors = await asyncio.wait_for(process.communicate(), deadline)
        except TimeoutError:
            raise ContrailVsphereError(f"{Path(command[0]).name} was not over in {deadline:g} s") from None
        finally:
            await end(process)
        if process.returncode:
            words = errors.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ContrailVsphereError(f"{Path(command[0]).name} failed: {words[-1]}")
        return out.decode(errors="replace")

    async def _start(self, *command: str, answers: Callable[[], Awaitable[bool]]) -> None:
        name = Path(command[0]).name
        process = await self._spawn(*command, log=name)
        try:
            async with asyncio.timeout(DEADLINE):
                while not await answers():
                    if process.returncode is not None:
                        raise ContrailVsphereError(f"{name} ended", hint=f"log: {self.directory / name}.log")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise ContrailVsphereError(f"{name} does not answer", hint=f"log: {self.directory / name}.log") from None

    async def _spawn(self, *command: str, log: str) -> asyncio.subprocess.Process:
        with (self.directory / f"{log}.log").open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=self._environment(),
                cwd=self.directory, process_group=0, preexec_fn=leash(),
            )  # fmt: skip
        self._running.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{BIN}:/usr/sbin:{os.environ.get('PATH', '')}",
            "OS_NEUTRON_CONFIG_DIR": str(self.directory),
            "OS_NEUTRON_CONFIG_FILES": self.config.name,
        }

    async def _takes_connections(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._database_port)
        except OSError:
            return False
        writer.close()
        return True

    async def _api_answers(self) -> bool:
        def ask() -> bool:
            # Neutron reads its policies at its first request; another one beside that would meet half of the rules.
            try:
                with urllib.request.urlopen(f"{self.url}v2.0/networks", timeout=30) as answer:  # noqa: S310 - ours
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        return await asyncio.to_thread(ask)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, then make it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        process.kill()
        await process.wait()


def ini(sections: Sections) -> str:
    """Text of a settings file."""
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"
        for name, values in sections.items()
    )


def check_machine() -> None:
    """SettingsError when something is missing."""
    found = obstacles()
    if found:
        raise SettingsError("Neutron cannot run here: " + "; ".join(found), hint="make demo needs none of it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
