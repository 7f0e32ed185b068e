"""The command line's way to a running manager: its control API, with the token of its own token file."""

from __future__ import annotations

import ssl
from typing import Any, Self

import aiohttp

from contrail_vsphere.app.access import Role, TokenFile
from contrail_vsphere.config.settings import Address, Settings
from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    ContrailVsphereError,
    InvalidState,
    NoPermission,
    NotFound,
    NotReadyYet,
    ProtocolError,
    SettingsError,
    Unreachable,
    Untrusted,
    UsageError,
)
from contrail_vsphere.pki.identity import client_context

DEADLINE = 30.0
"""Seconds one request may take."""

_ERRORS: dict[int, type[ContrailVsphereError]] = {
    401: AuthenticationFailed,
    403: NoPermission,
    404: NotFound,
    409: InvalidState,
    422: UsageError,
    503: NotReadyYet,
}


class ControlClient:
    """``async with`` it; every answer is the API's document as plain values. ``listen``: of the plugin's API."""

    def __init__(self, settings: Settings, *, role: Role, listen: Address | None = None) -> None:
        control = settings.control
        secure = control.cert_file is not None
        self.url = f"{'https' if secure else 'http'}://{listen or control.listen}"
        self._what, self._start = ("plugin", "--role plugin ") if listen else ("manager", "")
        self._tls: ssl.SSLContext | bool = client_context(ca_file=control.cert_file) if secure else True
        if not settings.token_file.exists():
            raise SettingsError(
                f"no token file {settings.token_file}: no manager has run with these settings",
                hint="start one: contrail-vsphere run --config FILE",
            )
        self._token = TokenFile(settings.token_file).token(role)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        self._http = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=DEADLINE))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def get(self, path: str) -> Any:
        """A reading."""
        return await self._ask("GET", path)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """A change."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if self._http is None:
            raise RuntimeError("enter the client first")
        try:
            async with self._http.request(method, self.url + path, json=body, ssl=self._tls) as response:
                document = await response.json()
                if response.status >= 400:
                    kind = _ERRORS.get(response.status, ContrailVsphereError)
                    raise kind(document.get("error", f"HTTP {response.status}"), hint=document.get("hint", ""))
                return document
        except aiohttp.ClientConnectorCertificateError as error:
            raise Untrusted(f"the control API at {self.url} shows another certificate: {error}") from error
        except aiohttp.ContentTypeError as error:
            raise ProtocolError(
                f"{self.url}{path} did not answer with a document", hint="see the manager's log"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(
                f"no {self._what} answers at {self.url}",
                hint=f"start it: contrail-vsphere run {self._start}--config FILE",
            ) from error
