"""A stand-in for Keystone: tokens for name and password, checked by the simulated API server.

Identity API v3 with password and token methods, as far as clients of Contrail use it; ``expire`` makes every token
worthless at once, as a restart without persistent tokens does.
"""

from __future__ import annotations

import hmac
import json
import secrets
import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

LIFETIME = 3600.0
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in, to which project, with which roles."""

    name: str
    password: str = field(repr=False)
    project: str = ADMIN
    roles: tuple[str, ...] = (ADMIN,)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token is good for."""

    user: User
    project_id: str
    expires: datetime

    @property
    def admin(self) -> bool:
        """Whether the API server lets it do everything (``cloud_admin_role``)."""
        return ADMIN in self.user.roles


class Keystone:
    """Users and tokens."""

    def __init__(self, *, now: Callable[[], datetime], lifetime: float = LIFETIME) -> None:
        self._now = now
        self.lifetime = lifetime
        """Seconds a new token is good for."""
        self.users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}
        self.logins = 0

    def add(self, user: User) -> User:
        """Know a user; an older one of that name is forgotten."""
        self.users[user.name] = user
        return user

    def check(self, text: str) -> Token | None:
        """What the token is good for; None if it is unknown or too old."""
        token = self._tokens.get(text)
        if token is not None and token.expires <= self._now():
            del self._tokens[text]
            return None
        return token

    def expire(self) -> int:
        """Make every token worthless; returns how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def project_id(self, name: str) -> str:
        """Keystone's id of a project, the same every time."""
        return uuids.uuid5(uuids.NAMESPACE_DNS, f"project.{name}").hex

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of one request."""
        if path.rstrip("/") in {"", "/v3"} and method == "GET":
            version = {"id": "v3.14", "status": "stable", "links": []}
            return 200, {}, json.dumps({"version": version} if path.startswith("/v3") else {"versions": [version]})
        if (method, path) != ("POST", "/v3/auth/tokens"):
            return 404, {}, _error(404, "Not Found", "The resource could not be found.")
        try:
            asked = json.loads(body)["auth"]
            user = self._login(asked["identity"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return 400, {}, _error(400, "Bad Request", "Expecting to find auth in request body.")
        if user is None:
            return 401, {}, _error(401, "Unauthorized", "The request you have made requires authentication.")
        text, token = self._issue(user)
        return 201, {"X-Subject-Token": text}, json.dumps({"token": self._shown(token)})

    def _login(self, identity: Mapping[str, Any]) -> User | None:
        if "token" in identity["methods"]:
            known = self.check(str(identity["token"]["id"]))
            return known.user if known is not None else None
        given = identity["password"]["user"]
        user = self.users.get(str(given["name"]))
        fits = user is not None and hmac.compare_digest(user.password.encode(), str(given["password"]).encode())
        return user if fits else None

    def _issue(self, user: User) -> tuple[str, Token]:
        self.logins += 1
        text = secrets.token_urlsafe(32)
        token = Token(user, self.project_id(user.project), self._now() + timedelta(seconds=self.lifetime))
        self._tokens[text] = token
        return text, token

    def _shown(self, token: Token) -> dict[str, Any]:
        domain = {"id": "default", "name": "Default"}
        return {
            "methods": ["password"],
            "user": {
                "name": token.user.name,
                "id": uuids.uuid5(uuids.NAMESPACE_DNS, token.user.name).hex,
                "domain": domain,
            },
            "project": {"name": token.user.project, "id": token.project_id, "domain": domain},
            "roles": [{"name": role, "id": role} for role in token.user.roles],
            "issued_at": _time(self._now()),
            "expires_at": _time(token.expires),
        }


def unauthorized() -> str:
    """Body of the API server's 401."""
    return _error(401, "Unauthorized", "The request you have made requires authentication.")


def _error(code: int, title: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "title": title, "message": message}})


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
