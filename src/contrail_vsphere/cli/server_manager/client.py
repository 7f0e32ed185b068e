"""The command line's way to Server Manager: where it is, whose token, and errors as ours.

The standard library's HTTP: a command is one or two requests, and starts in the time a larger client needs to load.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from contrail_vsphere.cli.output import say
from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    Conflict,
    ContrailVsphereError,
    DocumentError,
    InvalidState,
    NoPermission,
    NotFound,
    OutOfResources,
    ProtocolError,
    SettingsError,
    Unreachable,
    UsageError,
)

TIMEOUT: Final = 60.0
"""Seconds per request."""
KEPT: Final = 2.0
"""Seconds that a connection is kept without a request. The server closes one after five, without a word: somebody who
thinks about a plan would be told that nobody answers."""

_ERRORS: dict[int, type[ContrailVsphereError]] = {
    401: AuthenticationFailed,
    403: NoPermission,
    404: NotFound,
    409: InvalidState,
    412: Conflict,
    413: OutOfResources,
    503: Unreachable,
}


@dataclass(frozen=True, slots=True)
class Where:
    """Which Server Manager, from the options, the environment, or the settings of the one on this machine."""

    url: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    settings_file: Path | None = None


class Client:
    """One Server Manager."""

    def __init__(self, where: Where) -> None:
        url, self._token, ca_file = _resolved(where)
        parts = urlsplit(url)
        self.url = url
        self._used = time.monotonic()
        self._tag = ""
        host, port = parts.hostname or "", parts.port or 9001
        if parts.scheme == "https":
            from contrail_vsphere.pki.identity import client_context

            context = client_context(ca_file=ca_file)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def get(self, path: str, **query: Any) -> Any:
        """A reading."""
        given = {key: value for key, value in query.items() if value not in (None, "")}
        return self.ask("GET", path + (f"?{urlencode(given)}" if given else ""))

    def news(self, path: str, *, tag: str, wait: float) -> tuple[Any, str]:
        """A reading and its tag as soon as it is not that of ``tag``; None if it still is after ``wait`` seconds."""
        given = {"If-None-Match": tag} if tag else {}
        document = self._send("GET", f"{path}?{urlencode({'wait': wait})}", None, given)
        return document, self._tag

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """A whole list, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(path, after=after, limit=500, **query)
            found += page["items"]
            if not page.get("next"):
                return found
            after = page["next"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; errors become those of our tree."""
        data = json.dumps(body).encode() if body is not None else None
        return self._send(method, path, data, {"Content-Type": "application/json"} if data else {})

    def upload(self, file: Path) -> str:
        """Send an archive; returns the path it has there."""
        with file.open("rb") as content:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
            answer = self._send("POST", f"/v1/uploads?{urlencode({'name': file.name})}", content, headers)
        return str(answer["path"])

    def _send(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Any:
        if time.monotonic() - self._used > KEPT:
            self._connection.close()
        try:
            self._connection.request(
                method, path, body=data, headers={**headers, "Authorization": f"Bearer {self._token}"}
            )
            response = self._connection.getresponse()
            raw = response.read()
            self._used = time.monotonic()
            self._tag = response.headers.get("ETag", "")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(
                f"no Server Manager answers at {self.url}: {error}",
                hint="start it: server-manager serve; or name another one with --url",
            ) from error
        try:
            document = json.loads(raw) if raw else {}
        except ValueError as error:
            raise ProtocolError(f"{self.url}{path} did not answer with a document") from error
        if response.status < 400:
            return document if response.status != 304 else None
        message, hint = document.get("error", f"HTTP {response.status}"), document.get("hint", "")
        if response.status == 422:
            raise DocumentError(message, hint=hint, problems=document.get("problems", ()))
        raise _ERRORS.get(response.status, ContrailVsphereError)(message, hint=hint)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@contextmanager
def connected(where: Where) -> Iterator[Client]:
    """A client; when a document has several problems, each is said before the error that ends the command."""
    client = Client(where)
    try:
        yield client
    except DocumentError as error:
        if len(error.problems) > 1:
            for problem in error.problems:
                say(f"problem: {problem}")
        raise
    finally:
        client.close()


def _resolved(where: Where) -> tuple[str, str, Path | None]:
    from contrail_vsphere.config.load import load
    from contrail_vsphere.config.settings import ServerManagerSettings
    from contrail_vsphere.pki.secrets import read_secret

    if where.settings_file is not None and where.settings_file.exists():
        settings = load(where.settings_file, os.environ).server_manager
    else:
        settings = ServerManagerSettings()
    url = where.url or f"{'http' if settings.insecure_seed_era else 'https'}://{settings.listen}"
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not a URL", hint="https://HOST:9001")
    token_file = where.token_file or settings.data_dir / "admin.token"
    if not token_file.exists():
        raise SettingsError(
            f"no token file {token_file}",
            hint="--token-file FILE with your token, or start Server Manager here: server-manager serve",
        )
    ca_file = where.ca_file
    if ca_file is None and (settings.data_dir / "ca.pem").exists():
        ca_file = settings.data_dir / "ca.pem"
    return url, read_secret(token_file).reveal(), ca_file
