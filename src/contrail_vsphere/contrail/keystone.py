"""Who we are towards the config API: nobody, or a Keystone v3 user whose token is renewed once for all who need it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import aiohttp
import msgspec

from contrail_vsphere.contrail.http import bounded_read, door
from contrail_vsphere.model.errors import AuthenticationFailed, NotReadyYet, ProtocolError
from contrail_vsphere.pki.secrets import Secret

log = logging.getLogger(__name__)

EARLY = 60.0
"""Seconds before its end at which a token is renewed, so that none ends on the way."""
MAX_ANSWER = 1024 * 1024
TIMEOUT = aiohttp.ClientTimeout(total=15.0)


class Auth(Protocol):
    """Puts who we are into a request's headers."""

    async def headers(self, http: aiohttp.ClientSession) -> Mapping[str, str]:
        """The headers for the next request; may ask for a token first."""
        ...

    def rejected(self, headers: Mapping[str, str]) -> bool:
        """The server answered 401 to these headers: whether it is worth asking with others."""
        ...


class NoAuth:
    """The API server asks nobody (``aaa_mode = no-auth``)."""

    async def headers(self, http: aiohttp.ClientSession) -> Mapping[str, str]:
        """None."""
        return {}

    def rejected(self, headers: Mapping[str, str]) -> bool:
        """There are no others."""
        return False


@dataclass(frozen=True, slots=True)
class KeystoneUser:
    """Where Keystone is (with or without ``/v3``) and who logs in."""

    url: str
    username: str
    password: Secret = field(repr=False)
    project: str = "admin"
    user_domain: str = "Default"
    project_domain: str = "Default"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    renew_at: float
    """Loop time."""


class KeystoneV3:
    """A user's project-scoped token, asked for when it is needed and by one caller at a time.

    The token's lifetime is taken between Keystone's own two clock readings, so its clock may differ from ours.
    """

    def __init__(self, user: KeystoneUser, *, tls: ssl.SSLContext | None = None) -> None:
        self._user = user
        self._tls = tls
        self._token: _Token | None = None
        self._asking = asyncio.Lock()
        self.renewals = 0
        """Tokens asked for."""

    async def headers(self, http: aiohttp.ClientSession) -> Mapping[str, str]:
        """``X-Auth-Token``. Raises AuthenticationFailed, Unreachable, NotReadyYet, Untrusted, ProtocolError."""
        async with self._asking:
            token = self._token
            if token is None or asyncio.get_running_loop().time() >= token.renew_at:
                token = self._token = await self._ask(http)
        return {"X-Auth-Token": token.text}

    def rejected(self, headers: Mapping[str, str]) -> bool:
        """Forget the token, unless somebody has got a newer one meanwhile."""
        if self._token is not None and headers.get("X-Auth-Token") == self._token.text:
            self._token = None
        return True

    async def _ask(self, http: aiohttp.ClientSession) -> _Token:
        what = f"Keystone at {self._user.url}"
        self.renewals += 1
        with door(what):
            async with http.post(
                f"{self._user.url.rstrip('/').removesuffix('/v3')}/v3/auth/tokens",
                data=msgspec.json.encode(self._body()),
                headers={"Content-Type": "application/json"},
                ssl=self._tls or True,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as reply:
                body = await bounded_read(reply, most=MAX_ANSWER)
                status, text = reply.status, reply.headers.get("X-Subject-Token", "")
        if status in {401, 403}:
            raise AuthenticationFailed(
                f"{what} refuses user {self._user.username!r} for project {self._user.project!r}",
                hint="check user, password, project and domains",
            )
        if status >= 500:
            raise NotReadyYet(f"{what} answers {status}")
        if status not in {200, 201} or not text:
            raise ProtocolError(f"{what} answers {status} without a token", hint="is this a Keystone with v3?")
        log.debug("%s gave a token", what)
        return _Token(text, asyncio.get_running_loop().time() + max(_lifetime(body) - EARLY, 1.0))

    def _body(self) -> dict[str, Any]:
        user = self._user
        person = {"name": user.username, "domain": {"name": user.user_domain}, "password": user.password.reveal()}
        return {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": person}},
                "scope": {"project": {"name": user.project, "domain": {"name": user.project_domain}}},
            }
        }


DEFAULT_LIFETIME = 600.0
"""Seconds, where Keystone tells no end that can be read."""


def _lifetime(body: bytes) -> float:
    try:
        token = msgspec.json.decode(body)["token"]
        issued, expires = (datetime.fromisoformat(str(token[name])) for name in ("issued_at", "expires_at"))
        return (expires - issued).total_seconds()
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return DEFAULT_LIFETIME
