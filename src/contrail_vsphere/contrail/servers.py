"""Several config API servers as one: we stay with one while it answers, and go on to the next when it does not.

Staying matters: each server has its own cache, and what we wrote at one may not be seen at another for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from contrail_vsphere.engine.breaker import CircuitBreaker, Health
from contrail_vsphere.model.errors import SettingsError, Unreachable


@dataclass(slots=True, eq=False)
class ApiServer:
    """One server; ``base`` is its URL without a slash at the end."""

    base: str
    breaker: CircuitBreaker = field(repr=False)

    @property
    def name(self) -> str:
        """For messages."""
        return f"the config API at {urlsplit(self.base).netloc}"


class ApiServers:
    """The servers in the order of preference. SettingsError for none, or for what is not an HTTP URL."""

    def __init__(self, urls: Sequence[str], *, now: Callable[[], datetime] | None = None) -> None:
        if not urls:
            raise SettingsError("no config API server is given", hint="e.g. http://10.0.0.11:8082")
        self._servers = tuple(
            ApiServer(base=_checked(url), breaker=CircuitBreaker(failures=3, pause=5.0, now=now)) for url in urls
        )
        self._current = 0

    def __len__(self) -> int:
        return len(self._servers)

    @property
    def current(self) -> ApiServer:
        """The one we stay with."""
        return self._servers[self._current]

    @property
    def health(self) -> Mapping[str, Health]:
        """By URL."""
        return {server.base: server.breaker.health for server in self._servers}

    def pick(self) -> ApiServer:
        """The one to ask: the current one, or the next that is not known to be silent. Unreachable if all are."""
        refusal: Unreachable | None = None
        for offset in range(len(self._servers)):
            number = (self._current + offset) % len(self._servers)
            server = self._servers[number]
            try:
                server.breaker.admit(server.name)
            except Unreachable as silent:
                refusal = refusal or silent
                continue
            self._current = number
            return server
        raise refusal or Unreachable("no config API server answers")

    def leave(self, server: ApiServer) -> None:
        """It did not serve us: ask the next one from now on, if nobody has moved on already."""
        if self.current is server:
            self._current = (self._current + 1) % len(self._servers)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username or parts.password:
        raise SettingsError(f"{url!r} is not the URL of a config API", hint="e.g. https://api.example.org:8082")
    return url.rstrip("/")
