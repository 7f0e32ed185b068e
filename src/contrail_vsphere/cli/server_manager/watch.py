"""``--watch``: a run, live. Progress bars on a terminal, a line per change elsewhere; both on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, cast

from contrail_vsphere.cli.output import say
from contrail_vsphere.cli.server_manager.client import Client
from contrail_vsphere.model.errors import NotConverged, Unreachable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FINAL: Final = ("succeeded", "failed", "canceled", "interrupted")
WAIT: Final = 10.0
"""Seconds that an answer may be kept back until there is something new."""
PAUSE: Final = 0.25
"""Seconds until one who does not answer is asked again."""


def watch(client: Client, run_id: str, timeout: float) -> dict[str, Any]:
    """The run, once it is over; ``NotConverged`` after ``timeout`` seconds. A manager that restarts is waited for."""
    deadline = time.monotonic() + timeout
    shown: _Bars | _Lines = _Bars() if sys.stderr.isatty() else _Lines()
    with shown:
        tag = ""
        while (left := deadline - time.monotonic()) > 0:
            try:
                document, tag = client.news(f"/v1/runs/{run_id}", tag=tag, wait=min(WAIT, left))
            except Unreachable:
                time.sleep(PAUSE)
                continue
            if document is not None:
                shown.show(document)
                if document["state"] in FINAL:
                    return cast(dict[str, Any], document)
    raise NotConverged(f"run {run_id} is not over after {timeout:g} s", hint="server-manager status provision --watch")


def words(host: dict[str, Any]) -> str:
    """Where a server stands, in words."""
    if host["state"] in ("failed", "unreachable", "canceled"):
        return f"{host['state']}: {' '.join(str(host['message']).split())}"[:120]
    now = next((role for role, state in host["roles"].items() if state == "running"), "")
    return " ".join(word for word in (host["state"], now, host.get("task", "")) if word)


def _done(host: dict[str, Any]) -> int:
    return sum(state == "completed" for state in host["roles"].values())


class _Lines:
    """For a file or a pipe."""

    def __init__(self) -> None:
        self._said = ""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, document: dict[str, Any]) -> None:
        line = f"{document['id']} {document['state']}: " + ", ".join(
            f"{name} {host['state']} {_done(host)}/{len(host['roles'])}" for name, host in document["hosts"].items()
        )
        if line != self._said:
            say(line)
            self._said = line


class _Bars:
    """For a terminal: a bar per server."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress: Progress = Progress(
            TextColumn("{task.fields[server]}"), BarColumn(bar_width=30), MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False), console=Console(stderr=True),
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, document: dict[str, Any]) -> None:
        for name in document["servers"]:
            host = document["hosts"].get(name, {"state": "queued", "roles": {}, "message": ""})
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task("", total=None, server=name)
            total = len(host["roles"]) or None
            self._progress.update(self._tasks[name], total=total, completed=_done(host), description=words(host))
