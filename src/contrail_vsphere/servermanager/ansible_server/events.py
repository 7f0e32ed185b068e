"""What a run tells, in order and without gaps, and the report that follows from it. Pure.

The worker is the only writer while it lives; numbers begin at 1. A report is nothing but its events folded, so whoever
reads the file later comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.servermanager.runs import HostReport, HostState, RoleState
from contrail_vsphere.servermanager.states import RunState

EventState = Literal["running", "ok", "failed", "unreachable", "ended"]

_MESSAGE: Final = 2000
_DIFF: Final = 20_000
_WHAT: Final = 1000


class Event(BaseModel):
    """One thing that happened. ``at`` is seconds since the epoch, on the Ansible server's clock."""

    model_config = ConfigDict(frozen=True)

    n: int
    at: float
    state: EventState
    host: str = Field(default="", description="The server's id; empty: the whole run")
    task: str = ""
    role: str = ""
    changed: bool = False
    done: bool = Field(default=False, description="The role is complete on this server")
    seconds: float = 0.0
    message: str = ""
    what: list[str] = Field(default_factory=list, description="What was not as it should be")
    diff: list[dict[str, str]] = Field(default_factory=list)
    run: RunState | None = Field(default=None, description="With `ended`: how the run ended")


def translated(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An event of ansible-runner in our words, without numbers and times; nothing if it tells nothing new."""
    data = raw.get("event_data") or {}
    host, task = str(data.get("host") or ""), str(data.get("task") or "")
    kind = raw.get("event")
    if kind == "runner_on_start" and host:
        return [{"state": "running", "host": host, "task": task}]
    if kind not in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable") or not host:
        return []
    result = data.get("res") or {}
    state = {"runner_on_ok": "ok", "runner_on_failed": "failed"}.get(str(kind), "unreachable")
    # What a server answers is not to be trusted, not even in its shape.
    about, what = result.get("contrail"), result.get("what")
    about = about if isinstance(about, dict) else {}
    told = {"state": state, "host": host, "task": task, "seconds": float(data.get("duration") or 0.0)}
    if state == "ok" and isinstance(settled := about.get("settled"), list):
        return [{**told, "role": str(role)[:_WHAT], "done": True} for role in settled[:_WHAT]]
    if state == "ok" and "what" not in result:
        return []
    return [
        {
            **told,
            "role": str(about.get("role") or ""),
            "done": bool(about.get("done")),
            "changed": bool(result.get("changed")),
            "message": _words(result) if state != "ok" else "",
            "what": [str(each)[:_MESSAGE] for each in what[:_WHAT]] if isinstance(what, list) else [],
            "diff": _diffs(result.get("diff")),
        }
    ]


def _words(result: Mapping[str, Any]) -> str:
    text = " ".join(str(result.get("msg") or result.get("module_stderr") or "it gives no reason").split())
    return text[:_MESSAGE]


def _diffs(value: Any) -> list[dict[str, str]]:
    given = value if isinstance(value, list) else [value] if isinstance(value, dict) and value else []
    return [{key: str(text)[:_DIFF] for key, text in each.items()} for each in given if isinstance(each, dict)]


class Progress:
    """Folds events into where every server stands; ``roles`` are what each server is to get, in order."""

    def __init__(self, roles: Mapping[str, Iterable[str]]) -> None:
        self._hosts = {name: _Host(list(each)) for name, each in roles.items()}
        self.n = 0
        """Number of the last event, 0 before the first."""

    def take(self, event: Event) -> None:
        """The next event."""
        self.n = event.n
        if event.state == "ended":
            for host in self._hosts.values():
                host.end(event)
        elif event.host in self._hosts:
            self._hosts[event.host].take(event)

    def hosts(self) -> dict[str, HostReport]:
        """Where the servers stand now."""
        return {name: host.report() for name, host in self._hosts.items()}

    @property
    def complete(self) -> bool:
        """Whether every role of every server is done."""
        return all(host.complete for host in self._hosts.values())


class _Host:
    def __init__(self, roles: list[str]) -> None:
        self._roles: dict[str, RoleState] = dict.fromkeys(roles, "pending")
        self._state: HostState = "pending"
        self._changed = 0
        self._message = self._task = ""
        self._drift: list[str] = []

    @property
    def complete(self) -> bool:
        return self._state not in ("failed", "unreachable") and all(s == "completed" for s in self._roles.values())

    def take(self, event: Event) -> None:
        if event.state in ("failed", "unreachable"):
            self._state = "failed" if event.state == "failed" else "unreachable"
            self._message, self._task = event.message, event.task
            role = event.role or next((r for r, s in self._roles.items() if s == "running"), "")
            if role in self._roles and event.state == "failed":
                self._roles[role] = "failed"
            return
        if self._state == "pending":
            self._state = "running"
        if self._state == "running":
            self._task = event.task
        if event.role in self._roles and self._roles[event.role] != "failed":
            self._roles[event.role] = "completed" if event.done else "running"
        self._changed += event.changed
        self._drift += [f"{event.role}: {each}" if event.role else each for each in event.what]

    def end(self, event: Event) -> None:
        """The run is over: what is not complete did not happen, and says why."""
        if self._state in ("failed", "unreachable"):
            return
        if self.complete:
            self._state, self._task = "completed", ""
            return
        self._state = "canceled"
        self._message = event.message or "the run ended before it was this server's turn"

    def report(self) -> HostReport:
        return HostReport(
            state=self._state, changed=self._changed, message=self._message, task=self._task, roles=dict(self._roles),
            drift=list(self._drift),
        )  # fmt: skip
