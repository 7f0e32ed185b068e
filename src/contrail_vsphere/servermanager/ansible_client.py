"""Server Manager's way to the Ansible server: the documents of ``runs`` over HTTP, and its refusals as errors of ours.

Apart from the documents, since every run's worker reads those: what it loads first, each run waits for.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from pydantic import ValidationError

from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    Busy,
    Conflict,
    InvalidArgument,
    NotFound,
    ProtocolError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.runs import RunReport, RunRequest

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)


class AnsibleClient:
    """The Ansible server over HTTP; ``tls`` None only for loopback."""

    def __init__(self, url: str, *, token: Secret, tls: ssl.SSLContext | None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._tls = tls
        self._kept: aiohttp.ClientSession | None = None
        """For reports: who follows a run asks again and again, and a handshake costs more than the answer."""

    async def close(self) -> None:
        """Give up the connection that is kept."""
        if self._kept is not None:
            await self._kept.close()
            self._kept = None

    async def run(self, request: RunRequest) -> RunReport:
        """``POST /run_playbook``."""
        return await self._call("POST", "/run_playbook", body=request.model_dump())

    async def report(self, run_id: str, *, after: int = -1, wait: float = 0.0) -> RunReport:
        """``GET /playbook_status``; ``wait`` is in seconds, 20 at most."""
        if self._kept is None:
            self._kept = aiohttp.ClientSession(timeout=_TIMEOUT)
        query = {"id": run_id, "after": str(after), "wait": f"{wait:g}"}
        return await self._ask(self._kept, "GET", "/playbook_status", query=query)

    async def cancel(self, run_id: str) -> RunReport:
        """``POST /runs/{id}/cancel``."""
        return await self._call("POST", f"/runs/{run_id}/cancel")

    async def _call(self, method: str, path: str, *, body: Any = None) -> RunReport:
        # A new connection: what is not to be sent twice must not meet one that has gone stale.
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            return await self._ask(session, method, path, body=body)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> RunReport:
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        tls = self._tls if self._tls is not None else True
        try:
            async with session.request(
                method, self._url + path, json=body, params=query, headers=headers, ssl=tls, allow_redirects=False
            ) as answer:
                text = await answer.text()
                if answer.status >= 400:
                    raise _refusal(answer.status, text)
                return RunReport.model_validate_json(text)
        except aiohttp.ClientConnectorCertificateError as error:
            raise Untrusted(f"the Ansible server at {self._url} shows a certificate we do not trust") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                f"the Ansible server at {self._url} does not answer: {error or type(error).__name__}",
                hint="start it: server-manager serve-ansible",
            ) from error
        except ValidationError as error:
            raise ProtocolError(
                f"the Ansible server answers what is no report: {error.error_count()} errors"
            ) from error


def _refusal(status: int, text: str) -> Exception:
    try:
        document = json.loads(text)
        words = str(document.get("error") or document.get("detail") or text)
    except (ValueError, AttributeError):
        words = " ".join(text.split())[:200]
    kind = {401: AuthenticationFailed, 403: AuthenticationFailed, 404: NotFound, 409: Conflict, 503: Busy, 429: Busy}
    return kind.get(status, InvalidArgument if status < 500 else Busy)(f"Ansible server: {words}")
