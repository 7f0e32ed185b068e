"""Where the plugin learns which VRouterAgent serves which host: a file, or the ContrailVM Manager over HTTP.

The file is the ``ESXiToVRouterIp.map`` of the plugin's predecessor: a line ``ESXI:VROUTER`` per host, by the name or
address that vCenter shows the host under.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import aiohttp

from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.inventory import Host
from contrail_vsphere.model.protocols import HostEntry
from contrail_vsphere.pki.secrets import Secret

PAUSE = 5.0
"""Seconds between two questions to the manager."""
_LOG = logging.getLogger(__name__)


def read_map(path: Path) -> dict[str, str]:
    """ESXi host -> address of its VRouterAgent. SettingsError for a file that cannot be read."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SettingsError(f"plugin.hosts_file: {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        host, colon, address = (part.strip() for part in text.partition(":"))
        if not colon or not host or not address:
            raise SettingsError(f"plugin.hosts_file: {path}:{number}: {text!r} is not ESXI:VROUTER")
        found[host] = address
    return found


class StaticDirectory:
    """The map of a file; read again when the file changed."""

    def __init__(self, path: Path, hosts: Callable[[], Mapping[HostId, Host]]) -> None:
        self._path = path
        self._hosts = hosts
        self._map = read_map(path)
        self._stamp = path.stat().st_mtime_ns

    def hosts(self) -> tuple[HostEntry, ...]:
        """The hosts of vCenter that the file names."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._map, self._stamp = read_map(self._path), stamp
        except (OSError, SettingsError) as error:
            _LOG.warning("the map of hosts stays as it was: %s", error)
        return tuple(
            HostEntry(host.id, host.name, agent_address=self._map[host.name], state="healthy")
            for host in self._hosts().values()
            if host.name in self._map
        )


class RemoteDirectory:
    """``GET /v1/hosts`` of a ContrailVM Manager; the last answer stays while it is away."""

    def __init__(self, url: str, token: Secret, http: aiohttp.ClientSession) -> None:
        self._url = f"{url}/v1/hosts"
        self._headers = {"Authorization": f"Bearer {token.reveal()}"}
        self._http = http
        self._entries: tuple[HostEntry, ...] = ()
        self._task: asyncio.Task[None] | None = None

    def hosts(self) -> tuple[HostEntry, ...]:
        """As last answered."""
        return self._entries

    async def start(self) -> None:
        """Ask once, then now and then."""
        await self._ask()
        self._task = asyncio.create_task(self._run(), name="host-directory")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            await self._ask()

    async def _ask(self) -> None:
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with self._http.get(self._url, headers=self._headers, timeout=timeout) as reply:
                reply.raise_for_status()
                self._entries = tuple(_entries(await reply.json()))
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("the HostDirectory at %s does not answer, what it said last stays: %s", self._url, error)


def _entries(document: Iterable[Mapping[str, str]]) -> Iterable[HostEntry]:
    for row in document:
        yield HostEntry(HostId(row["host"]), row["name"], agent_address=row.get("agent_address") or "")
