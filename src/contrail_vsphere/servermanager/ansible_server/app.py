"""The Ansible server's REST API: runs come in, reports and events go out."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import hmac
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHttpError

from contrail_vsphere.model.errors import ContrailVsphereError, InvalidArgument, NotFound
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager.ansible_server.seed_era import translated
from contrail_vsphere.servermanager.ansible_server.supervisor import Supervisor
from contrail_vsphere.servermanager.api import answers, limits
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.runs import RegistryToPull, RunReport, RunRequest

_LOG = logging.getLogger(__name__)

BODY_BYTES = 64_000_000
"""A run for some hundred servers with all their files fits."""
ABOUT = """\
Every request carries `Authorization: Bearer TOKEN`. `POST /run_playbook` answers at once; what becomes of the run is
told by `GET /playbook_status` and, live, by `GET /runs/{id}/events`.
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": answers.ErrorDocument} for code in (401, 404, 409, 413, 422, 429)
}


class ReportsDocument(BaseModel):
    """Runs, the latest first."""

    items: list[RunReport]


class StatusNote(BaseModel):
    """What a playbook of the seed era told, as it was understood."""

    server_id: str
    state: str


class HealthDocument(BaseModel):
    """The server answers."""

    status: str = Field(default="ok")


def create_app(
    supervisor: Supervisor,
    *,
    token: Secret,
    roles: Catalogue,
    registry: RegistryToPull,
    conf_dir: str = "/etc/contrail",
    rate: float = 100.0,
) -> FastAPI:
    """The application; ``registry`` and ``conf_dir`` serve the seed era's requests, which name neither."""
    bearer = HTTPBearer(auto_error=False, description="The token shared with Server Manager")

    async def known(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        given = credentials.credentials if credentials is not None else ""
        if not hmac.compare_digest(given.encode(), token.reveal().encode()):
            raise HTTPException(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})

    app = FastAPI(
        title="Ansible server of Server Manager", version="1", description=ABOUT, docs_url=None, redoc_url=None
    )
    guarded: list[Any] = [Depends(known)]

    @app.get("/healthz")
    async def healthz() -> HealthDocument:
        """It answers; no token is needed."""
        return HealthDocument()

    @app.post("/run_playbook", status_code=202, dependencies=guarded, responses=_ERRORS)
    async def run_playbook(body: RunRequest | list[dict[str, Any]]) -> RunReport:
        """Take a run. The seed era's list, one item per role of a server, is taken too."""
        if isinstance(body, list):
            body = translated(body, roles=roles, registry=registry, conf_dir=conf_dir)
        return await supervisor.run(body)

    @app.get("/playbook_status", dependencies=guarded, responses=_ERRORS)
    async def playbook_status(
        id: Annotated[str, Query(max_length=100)] = "",
        server_id: Annotated[str, Query(max_length=100)] = "",
        role: Annotated[str, Query(max_length=100)] = "",
        after: Annotated[int, Query(ge=-1, le=2**31)] = -1,
        wait: Annotated[float, Query(ge=0, le=20)] = 0.0,
    ) -> RunReport:
        """Where a run stands: by its id, or the latest of a server and a role.

        By its id, an answer may be waited for: it comes when the run has an event behind number `after` or is over, and
        after `wait` seconds in any case.
        """
        if id:
            return await supervisor.report(id, after=after, wait=wait)
        if not server_id:
            raise InvalidArgument("id or server_id is needed")
        found = supervisor.reports(server=server_id, role=role)
        if not found:
            raise NotFound(f"no run of server {server_id!r}")
        return found[0]

    @app.put("/playbook_status", dependencies=guarded, responses=_ERRORS)
    async def put_playbook_status(
        server_id: Annotated[str, Query(max_length=100)],
        role: Annotated[str, Query(max_length=100)],
        state: Annotated[str, Query(max_length=200)],
    ) -> StatusNote:
        """The callback of the seed era's playbooks. It is logged; states come from what the runs themselves do."""
        _LOG.info("told by a playbook: server %r role %r is %r", server_id, role, state)
        return StatusNote(server_id=server_id, state=state)

    @app.get("/runs", dependencies=guarded, responses=_ERRORS)
    async def runs(server_id: Annotated[str, Query(max_length=100)] = "") -> ReportsDocument:
        """All runs that are remembered."""
        return ReportsDocument(items=supervisor.reports(server=server_id))

    @app.post("/runs/{run_id}/cancel", dependencies=guarded, responses=_ERRORS)
    async def cancel(run_id: str) -> RunReport:
        """Ask for a run's end; it is over when its report says so."""
        return await supervisor.cancel(run_id)

    @app.get(
        "/runs/{run_id}/events",
        dependencies=guarded,
        responses={**_ERRORS, 200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
        response_class=StreamingResponse,
    )
    async def events(
        run_id: str,
        after: Annotated[int, Query(ge=0, le=2**31)] = 0,
        last_event_id: Annotated[str, Header(max_length=20)] = "",
    ) -> StreamingResponse:
        """What happens, numbered from 1 without gaps; `Last-Event-ID` or `after` resumes. Ends with the run."""
        await supervisor.report(run_id)
        from_header = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
        stream = _stream(supervisor, run_id, max(after, from_header))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    app.add_exception_handler(ContrailVsphereError, answers.on_error)
    app.add_exception_handler(AnyHttpError, answers.on_http_error)
    app.add_exception_handler(RequestValidationError, answers.on_invalid)
    app.add_middleware(limits.Limits, rate=rate, burst=rate * 4, body_bytes=BODY_BYTES)
    return app


async def _stream(supervisor: Supervisor, run_id: str, after: int) -> AsyncIterator[bytes]:
    async for event in supervisor.events(run_id, after=after):
        if event is None:
            yield b": still here\n\n"
        else:
            yield f"id: {event.n}\nevent: {event.state}\ndata: {event.model_dump_json()}\n\n".encode()
