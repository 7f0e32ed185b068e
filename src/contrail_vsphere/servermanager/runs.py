"""What Server Manager says to the Ansible server, and what it hears: the documents of 9003.

``POST /run_playbook`` takes a ``RunRequest`` and answers at once with the run's id; ``GET /playbook_status?id=`` tells
where it stands, per server and role. The request holds everything that is needed, so that the Ansible server has no
way into the database; it holds secrets in the clear (files to write, how to log in) and is never stored or logged.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.servermanager.states import RunState

RoleState = Literal["pending", "running", "completed", "failed", "skipped"]
HostState = Literal["pending", "running", "completed", "failed", "unreachable", "canceled"]


class Wire(BaseModel):
    """Base of the documents."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileToWrite(Wire):
    """A whole file; the content does not show in the repr."""

    path: str
    mode: str
    content: str = Field(repr=False)
    secret: bool = Field(default=False, description="Nothing of it may show, not even as a diff")


class ContainerToRun(Wire):
    """What the engine is asked for. ``action`` says what the plan expects; the host is compared by ``spec_hash``."""

    name: str
    image: str
    action: Literal["create", "recreate", "leave", "remove"]
    spec_hash: str
    spec: dict[str, Any]


EngineToSetUp = Literal["", "podman", "docker"]


class RoleToRun(Wire):
    """One role on one server."""

    role: str
    stage: int
    rolling: bool
    directories: list[str]
    files: list[FileToWrite]
    container: ContainerToRun
    health: dict[str, Any]


class HostToRun(Wire):
    """One server: how to reach it, and what to do there."""

    address: str
    port: int
    user: str
    host_key: str = Field(description="Pinned; empty: the server was never reached, and its key is taken once")
    password: str = Field(default="", repr=False)
    private_key: str = Field(default="", repr=False)
    roles: list[RoleToRun]


class RegistryToPull(Wire):
    """Where servers pull from."""

    address: str
    ca_pem: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)


class RunRequest(Wire):
    """A whole run. ``id`` is ours: asking twice with one id starts one run."""

    id: str
    cluster: str
    plan: str = Field(description="The plan's hash")
    hosts: dict[str, HostToRun]
    registry: RegistryToPull
    check: bool = Field(default=False, description="Change nothing, tell what would change: the drift check")
    engine: EngineToSetUp = Field(default="", description="Container engine to install first; empty: none")


class HostReport(BaseModel):
    """Where one server stands."""

    model_config = ConfigDict(frozen=True)

    state: HostState
    changed: int = 0
    message: str = ""
    task: str = ""
    roles: dict[str, RoleState] = Field(default_factory=dict)
    drift: list[str] = Field(default_factory=list)


class RunReport(BaseModel):
    """Where a run stands."""

    model_config = ConfigDict(frozen=True)

    id: str
    n: int = Field(default=0, description="Number of the last event that is in it")
    state: RunState
    reason: str = ""
    hosts: dict[str, HostReport] = Field(default_factory=dict)


class AnsibleServer(Protocol):
    """Who does runs."""

    async def run(self, request: RunRequest) -> RunReport:
        """Take a run; ``Conflict`` if one of its servers is in another run."""
        ...

    async def report(self, run_id: str, *, after: int = -1, wait: float = 0.0) -> RunReport:
        """As soon as there are events ``after`` that number or the run is over, at the latest after ``wait`` seconds.

        ``NotFound`` for a run it does not know.
        """
        ...

    async def cancel(self, run_id: str) -> RunReport:
        """Ask it to end a run; it is over when its report says so."""
        ...
