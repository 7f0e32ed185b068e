"""What Server Manager says to the Ansible server, and what it hears: the documents of 9003, and their client.

``POST /run_playbook`` takes a ``RunRequest`` and answers at once with the run's id; ``GET /playbook_status?id=`` tells
where it stands, per server and role. The request holds everything that is needed, so that the Ansible server has no
way into the database; it holds secrets in the clear (files to write, how to log in) and is never stored or logged.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    Busy,
    Conflict,
    InvalidArgument,
    NotFound,
    ProtocolError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.states import RunState

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)

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
    state: RunState
    reason: str = ""
    hosts: dict[str, HostReport] = Field(default_factory=dict)


class AnsibleServer(Protocol):
    """Who does runs."""

    async def run(self, request: RunRequest) -> RunReport:
        """Take a run; ``Conflict`` if one of its servers is in another run."""
        ...

    async def report(self, run_id: str) -> RunReport:
        """``NotFound`` for a run it does not know."""
        ...

    async def cancel(self, run_id: str) -> RunReport:
        """Ask it to end a run; it is over when its report says so."""
        ...


class AnsibleClient:
    """The Ansible server over HTTP; ``tls`` None only for loopback."""

    def __init__(self, url: str, *, token: Secret, tls: ssl.SSLContext | None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._tls = tls

    async def run(self, request: RunRequest) -> RunReport:
        """``POST /run_playbook``."""
        return await self._call("POST", "/run_playbook", body=request.model_dump())

    async def report(self, run_id: str) -> RunReport:
        """``GET /playbook_status``."""
        return await self._call("GET", "/playbook_status", query={"id": run_id})

    async def cancel(self, run_id: str) -> RunReport:
        """``POST /runs/{id}/cancel``."""
        return await self._call("POST", f"/runs/{run_id}/cancel")

    async def _call(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, str] | None = None
    ) -> RunReport:
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        tls = self._tls if self._tls is not None else True
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(
                    method, self._url + path, json=body, params=query, headers=headers, ssl=tls, allow_redirects=False
                ) as answer,
            ):
                text = await answer.text()
                if answer.status >= 400:
                    raise _refusal(answer.status, text)
                return RunReport.model_validate_json(text)
        except aiohttp.ClientConnectorCertificateError as error:
            raise Untrusted(f"the Ansible server at {self._url} shows a certificate we do not trust") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                f"the Ansible server at {self._url} does not answer: {error or type(error).__name__}",
                hint="start it: server-manager serve-ansible",
            ) from error
        except ValidationError as error:
            raise ProtocolError(
                f"the Ansible server answers what is no report: {error.error_count()} errors"
            ) from error


def _refusal(status: int, text: str) -> Exception:
    try:
        document = json.loads(text)
        words = str(document.get("error") or document.get("detail") or text)
    except (ValueError, AttributeError):
        words = " ".join(text.split())[:200]
    kind = {401: AuthenticationFailed, 403: AuthenticationFailed, 404: NotFound, 409: Conflict, 503: Busy, 429: Busy}
    return kind.get(status, InvalidArgument if status < 500 else Busy)(f"Ansible server: {words}")
