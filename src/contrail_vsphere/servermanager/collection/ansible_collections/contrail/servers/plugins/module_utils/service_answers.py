"""Whether a container runs and its service answers."""

from __future__ import annotations

import http.client
import socket

from ansible_collections.contrail.servers.plugins.module_utils.engine_api import Engine, running

ONE_LOOK = 5.0
"""Seconds one look takes at most."""


def trouble(engine: Engine, container: str, *, kind: str, port: int, path: str, address: str) -> str:
    """What is wrong now; empty if all is well. ``kind`` is none, tcp or http; any page below 500 is an answer."""
    found = engine.inspect(container)
    if found is None:
        return f"container {container} is missing"
    if not running(found):
        return f"container {container} does not run: {engine.last_words(container)}"
    if kind == "none":
        return ""
    wrong = ""
    for each in dict.fromkeys(["127.0.0.1", address]):
        if each:
            wrong = _tcp(each, port) if kind == "tcp" else _http(each, port, path)
            if not wrong:
                return ""
    return wrong


def _tcp(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), ONE_LOOK):
            return ""
    except OSError as error:
        return f"port {port} does not answer: {error.strerror or error}"


def _http(address: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=ONE_LOOK)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
        return "" if status < 500 else f"port {port} answers HTTP {status}"
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer: {error}"
    finally:
        connection.close()
