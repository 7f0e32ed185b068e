"""How the plugin in a ContrailVM gets into vCenter: the ContrailVM Manager vouches for it, login by login.

The guest holds the client certificate it was enrolled with and nothing of vCenter's. It shows that to the manager's
bootstrap server and gets a clone ticket, which is good for one login. A ContrailVM that was replaced gets none.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import aiohttp

from contrail_vsphere.model.errors import AuthenticationFailed, ProtocolError, Unreachable
from contrail_vsphere.pki.secrets import Secret

DEADLINE = 20.0
"""Seconds that the manager may take."""
MOST_BYTES = 64 * 1024


class TicketOffice:
    """Asks the manager at ``url``; ``tls`` presents the guest's certificate and trusts the manager's CA alone.

    It is called for every ticket: the guest's first-boot program renews both files while we run.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession, tls: Callable[[], ssl.SSLContext]) -> None:
        self._url = f"{url}/v1/vcenter-ticket"
        self._http = http
        self._tls = tls

    async def ticket(self) -> Secret:
        """One ticket. AuthenticationFailed when the manager does not want this guest, Unreachable, ProtocolError."""
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        try:
            async with self._http.post(self._url, ssl=self._tls(), timeout=timeout, allow_redirects=False) as reply:
                if reply.status in (401, 403):
                    reason = await reply.text()
                    raise AuthenticationFailed(
                        f"the manager does not let us into vCenter: {reason[:200]}",
                        hint="is host_plugins set in its [bootstrap], and was this ContrailVM replaced?",
                    )
                if reply.status != 200:
                    raise Unreachable(f"the manager at {self._url} answers {reply.status}")
                if (reply.content_length or 0) > MOST_BYTES:
                    raise ProtocolError(f"the manager at {self._url} gives more than a ticket")
                document = await reply.json()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the manager at {self._url} does not answer: {error}") from error
        except ValueError as error:
            raise ProtocolError(f"the manager at {self._url} gives no ticket: {error}") from error
        ticket = document.get("ticket") if isinstance(document, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise ProtocolError(f"the manager at {self._url} gives no ticket")
        return Secret(ticket)
