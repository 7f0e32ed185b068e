"""Speaks the Docker Engine API over a unix socket, with the standard library alone."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import urllib.parse
from email.message import Message
from typing import Any

SOCKETS = ("/run/podman/podman.sock", "/var/run/docker.sock")
MARK = "contrail.managed-by"
"""Label of what is ours; nothing without it is touched."""
SPEC_HASH = "contrail.spec-hash"


def labels(found: dict[str, Any]) -> dict[str, str]:
    """Of a container that was looked at."""
    return (found.get("Config") or {}).get("Labels") or {}


def running(found: dict[str, Any]) -> bool:
    """Whether a container that was looked at runs."""
    return bool((found.get("State") or {}).get("Running"))


class EngineError(Exception):
    """The engine refuses, or does not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A container engine behind its socket; every method raises ``EngineError``."""

    def __init__(self, path: str, *, timeout: float = 60.0) -> None:
        self._path = path
        self._timeout = timeout

    def ping(self) -> str:
        """Name and version of the engine.

        By the answer's head: for ``/version`` Podman has dpkg and rpm look for the packages of its parts, which takes
        more time than all that is asked of it otherwise.
        """
        return str(self._send("GET", "/_ping")[0].get("Server") or "engine")

    def inspect(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container; None if there is none."""
        return self._found("/containers/{}/json".format(urllib.parse.quote(name, safe="")))

    def has_image(self, reference: str) -> bool:
        """Whether the image is on this server."""
        return self._found("/images/{}/json".format(urllib.parse.quote(reference, safe=""))) is not None

    def pull(self, reference: str, *, username: str, password: str, timeout: float) -> None:
        """Fetch an image. The engine answers 200 and tells of failures in the stream: it is read to its end."""
        credentials = json.dumps({"username": username, "password": password}).encode()
        headers = {"X-Registry-Auth": base64.urlsafe_b64encode(credentials).decode()} if username else {}
        query = urllib.parse.urlencode({"fromImage": reference})
        _, text = self._send("POST", "/images/create?" + query, headers=headers, timeout=timeout)
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said.get("error"):
                raise EngineError(500, "{}: {}".format(reference, said["error"]))

    def create(self, name: str, body: dict[str, Any]) -> None:
        """Make a container; it is not started."""
        self._call("POST", "/containers/create?" + urllib.parse.urlencode({"name": name}), body=body)

    def start(self, name: str) -> None:
        """Start it; nothing happens if it runs."""
        self._call("POST", "/containers/{}/start".format(urllib.parse.quote(name, safe="")))

    def remove(self, name: str, *, grace: int) -> None:
        """Stop it, with ``grace`` seconds to end by itself, and remove it; its volumes stay."""
        quoted = urllib.parse.quote(name, safe="")
        try:
            self._call("POST", f"/containers/{quoted}/stop?t={grace}", timeout=grace + self._timeout)
            self._call("DELETE", f"/containers/{quoted}?force=true")
        except EngineError as error:
            if error.status != 404:
                raise

    def last_words(self, name: str) -> str:
        """The end of what it wrote."""
        quoted = urllib.parse.quote(name, safe="")
        _, text = self._send("GET", f"/containers/{quoted}/logs?stdout=true&stderr=true&tail=5", raw=True)
        return " | ".join("".join(c for c in line if c.isprintable()) for line in text.splitlines())[-400:]

    def _found(self, path: str) -> dict[str, Any] | None:
        try:
            return self._call("GET", path)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def _call(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        _, text = self._send(method, path, body=body, timeout=timeout)
        value = json.loads(text) if text.strip() else {}
        return value if isinstance(value, dict) else {}

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        raw: bool = False,
    ) -> tuple[Message, str]:
        connection = _Connection(self._path, timeout or self._timeout)
        try:
            content = None if body is None else json.dumps(body).encode()
            all_headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body=content, headers=all_headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"the container engine at {self._path} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400 and not raw:
            raise EngineError(answer.status, _words(text))
        return answer.headers, text


def _words(text: str) -> str:
    try:
        return str(json.loads(text).get("message") or text)
    except (ValueError, AttributeError):
        return text[:400]
