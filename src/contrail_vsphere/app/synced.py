"""Asks the vCenter plugin whether it has plugged all ports of a host, for the ContrailVM Manager's gate.

Of several plugins one acts, and only that one knows: the others answer 503, and the next is asked.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import aiohttp

from contrail_vsphere.model.errors import AuthenticationFailed, ProtocolError, Unreachable
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.pki.secrets import Secret

DEADLINE = 5.0
"""Seconds one plugin may take."""


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
