"""Whether the vCenter plugin has plugged all ports of a host, for the ContrailVM Manager's gate.

A central plugin is asked: of several one acts, and only that one knows; the others answer 503, and the next is asked.
The plugin in a ContrailVM cannot be asked without an address and a token of its own; it reports, by the certificate
that its ContrailVM was enrolled with, and what one ContrailVM has said never counts for the one in its place.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from contrail_vsphere.app.synced_report import EVERY
from contrail_vsphere.contrailvm.bootstrap.request import ClientCertificate, EnrolmentRefused, SyncedReport
from contrail_vsphere.model.errors import AuthenticationFailed, ProtocolError, Unreachable
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.pki.secrets import Secret

DEADLINE = 5.0
"""Seconds one plugin may take."""
SILENT = 2.5 * EVERY
"""Seconds after which a report counts no more: two were missed."""


class PluginProbe:
    """``urls``: control APIs of the plugins, of which one acts. Call it with a host."""

    def __init__(
        self, urls: Sequence[str], token: Secret, http: aiohttp.ClientSession, *, tls: ssl.SSLContext | bool = True
    ) -> None:
        self._urls = list(urls)
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token.reveal()}"}
        self._http = http

    async def __call__(self, host: HostId) -> tuple[bool, str]:
        """Whether nothing is owed, and what is. Unreachable when none that acts answers, AuthenticationFailed."""
        failure = ""
        for url in tuple(self._urls):
            try:
                answer = await self._ask(url, host)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = f"{url}: {error or type(error).__name__}"
                continue
            if answer is not None:
                # Whoever acted the last time is asked first.
                self._urls.remove(url)
                self._urls.insert(0, url)
                return answer
            failure = f"{url} stands by"
        raise Unreachable(f"no plugin that acts answers; {failure}")

    async def _ask(self, url: str, host: HostId) -> tuple[bool, str] | None:
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        question = f"{url}/v1/hosts/{host}/readiness"
        async with self._http.get(question, headers=self._headers, timeout=timeout, ssl=self._tls) as reply:
            if reply.status == 503:
                return None
            if reply.status in (401, 403):
                raise AuthenticationFailed(f"{url} does not take our token", hint="see plugin_token_file in [manager]")
            if reply.status == 404:
                return False, "the plugin does not know the host yet"
            reply.raise_for_status()
            document = await reply.json()
        try:
            return bool(document["synced"]), "" if document["synced"] else str(document["reason"])
        except (KeyError, TypeError) as error:
            raise ProtocolError(f"{url} does not say whether {host} is synced") from error


@dataclass(frozen=True, slots=True)
class _Said:
    certificate: ClientCertificate
    report: SyncedReport
    at: float


class HostReports:
    """What the plugins of hosts have said; call it with a host. ``host_of``: whose a certificate is at this moment."""

    def __init__(self, host_of: Callable[[ClientCertificate], HostId]) -> None:
        self._host_of = host_of
        self._said: dict[HostId, _Said] = {}

    def take(self, certificate: ClientCertificate, report: SyncedReport) -> None:
        """The holder of a certificate reports. EnrolmentRefused for one that was replaced."""
        now = asyncio.get_running_loop().time()
        self._said[self._host_of(certificate)] = _Said(certificate, report, now)

    async def __call__(self, host: HostId) -> tuple[bool, str]:
        """Whether nothing is owed, and what is."""
        said = self._said.get(host)
        if said is None or not self._is_its(host, said.certificate):
            return False, "the plugin of the host has not reported yet"
        silent = asyncio.get_running_loop().time() - said.at
        if silent > SILENT:
            return False, f"the plugin of the host has not reported for {silent:.0f} s"
        return said.report.synced, said.report.reason

    def _is_its(self, host: HostId, certificate: ClientCertificate) -> bool:
        try:
            return self._host_of(certificate) == host
        except EnrolmentRefused:
            return False
