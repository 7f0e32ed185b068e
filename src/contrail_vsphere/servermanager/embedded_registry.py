"""Debian's ``docker-registry`` as a child of ours: configured, started, watched and ended.

It has TLS under our CA and one account for us; nothing of it is left to defaults. A registry that a killed server
manager left behind is found by its pid file and its command line, and ended before a new one starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from pathlib import Path
from random import Random
from secrets import token_urlsafe
from typing import Any, Final

import bcrypt
import yaml

from contrail_vsphere.config.settings import Address
from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, SettingsError, TransientError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import client_context
from contrail_vsphere.pki.secrets import Secret, private_directory, read_secret, write_private
from contrail_vsphere.servermanager.registry import Registry

_LOG = logging.getLogger(__name__)

PROGRAM: Final = "docker-registry"
ACCOUNT: Final = "server-manager"
START_TIMEOUT: Final = 15.0
"""Seconds until it must answer."""
STOP_TIMEOUT: Final = 10.0
RESTARTS: Final = Backoff(first=1.0, most=60.0)


class EmbeddedRegistry:
    """One registry with its data in ``directory``; ``client`` speaks to it."""

    def __init__(self, directory: Path, listen: Address, *, authority: CertificateAuthority) -> None:
        self._directory = directory
        self._listen = listen
        self._authority = authority
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def address(self) -> str:
        """``HOST:PORT``, as it stands in image names."""
        return str(self._listen)

    @property
    def username(self) -> str:
        """The account that may push and pull."""
        return ACCOUNT

    def password(self) -> Secret:
        """Its password, made on first use."""
        path = private_directory(self._directory) / "password"
        if not path.exists():
            write_private(path, token_urlsafe(24).encode() + b"\n")
        return read_secret(path)

    def client(self) -> Registry:
        """A client that trusts it."""
        tls = client_context(ca_pem=self._authority.trust_bundle)
        return Registry(self.address, tls=tls, username=ACCOUNT, password=self.password())

    async def start(self) -> None:
        """Start it and wait until it answers; ``SettingsError`` if it is not installed or does not come up."""
        if shutil.which(PROGRAM) is None:
            raise SettingsError(
                f"{PROGRAM} is not installed",
                hint="apt-get install docker-registry, or set registry.address to one you run",
            )
        if self._process is not None:
            raise InvalidState("the registry runs already")
        self._stopping = False
        await asyncio.to_thread(self._end_left_over)
        config = await asyncio.to_thread(self._configure)
        await self._launch(config)
        self._watch = asyncio.create_task(self._restart_when_it_ends(config), name="registry watch")

    async def stop(self) -> None:
        """End it; safe to call twice."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._end()

    async def collect_garbage(self) -> int:
        """Free the blobs that no manifest needs; returns the bytes that were freed. It is down meanwhile."""
        before = await asyncio.to_thread(self._size)
        await self.stop()
        try:
            process = await asyncio.create_subprocess_exec(
                PROGRAM, "garbage-collect", "--delete-untagged", str(self._directory / "config.yml"),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await asyncio.wait_for(process.communicate(), 600)
        finally:
            await self.start()
        if process.returncode:
            words = said.decode(errors="replace").strip().splitlines()[-1:]
            raise InvalidState(f"{PROGRAM} garbage-collect failed: {' '.join(words)}")
        return max(0, before - await asyncio.to_thread(self._size))

    def _size(self) -> int:
        return sum(path.stat().st_size for path in (self._directory / "data").rglob("*") if path.is_file())

    def _configure(self) -> Path:
        directory = private_directory(self._directory)
        issued = self._authority.issue_server([self._listen.host])
        write_private(directory / "registry.key", issued.key_pem)
        write_private(directory / "registry.crt", issued.chain_pem)
        # The password is random: a slow hash would protect nothing, and would be paid for with every request.
        hashed = bcrypt.hashpw(self.password().reveal().encode(), bcrypt.gensalt(rounds=4))
        write_private(directory / "htpasswd", ACCOUNT.encode() + b":" + hashed + b"\n")
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(directory / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False}},
            },
            "http": {
                "addr": self.address,
                "secret": token_urlsafe(24),
                "tls": {"certificate": str(directory / "registry.crt"), "key": str(directory / "registry.key")},
            },
            "auth": {"htpasswd": {"realm": "server-manager", "path": str(directory / "htpasswd")}},
        }
        path = directory / "config.yml"
        write_private(path, yaml.safe_dump(config).encode())
        return path

    async def _launch(self, config: Path) -> None:
        log = await asyncio.to_thread((self._directory / "registry.log").open, "ab")
        with log:
            # HOME and the like decide nothing in it; our environment may hold secrets and stays here.
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM, "serve", str(config), stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "OTEL_TRACES_EXPORTER": "none"},
            )  # fmt: skip
        write_private(self._directory / "pid", f"{self._process.pid}\n".encode())
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._answers()
        except (TimeoutError, ContrailVsphereError) as error:
            await self._end()
            raise SettingsError(
                f"{PROGRAM} does not come up on {self.address}", hint=f"see {self._directory / 'registry.log'}"
            ) from error

    async def _answers(self) -> None:
        if self._process is None:
            raise InvalidState(f"{PROGRAM} was not started")
        ended = asyncio.create_task(self._process.wait())
        pinged = asyncio.create_task(self._ping())
        await asyncio.wait({ended, pinged}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, pinged):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if pinged.cancelled():
            raise InvalidState(f"{PROGRAM} ended at once")
        await pinged

    async def _ping(self) -> None:
        async with self.client() as client:
            while True:
                try:
                    return await client.ping()
                except TransientError:
                    await asyncio.sleep(0.1)

    async def _restart_when_it_ends(self, config: Path) -> None:
        random, failures = Random(), 0
        while True:
            if self._process is not None:
                code = await self._process.wait()
                if self._stopping:
                    return
                _LOG.warning("the registry ended with %s; starting it again", code)
            failures += 1
            await asyncio.sleep(RESTARTS.delay(failures, random))
            try:
                await self._launch(config)
                failures = 0
            except SettingsError as error:
                _LOG.error("the registry: %s", error)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()
        (self._directory / "pid").unlink(missing_ok=True)

    def _end_left_over(self) -> None:
        """A registry of this directory that a killed server manager left."""
        pid_file = self._directory / "pid"
        if not pid_file.exists():
            return
        try:
            pid = int(pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (ValueError, OSError):
            return
        if str(self._directory / "config.yml").encode() in command:
            _LOG.warning("ending a registry that was left behind, pid %d", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
