"""The control API: how people, the command line and monitoring see and steer a running manager.

Every answer is a document of ``control_schema``; every error is one too. Handlers are coroutines throughout: FastAPI
would run plain functions on threads, and this process has none.
"""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as AnyHttpError

from contrail_vsphere.app import control_schema as schema
from contrail_vsphere.app.access import Caller, Role, TokenFile
from contrail_vsphere.app.control_schema import ControlTarget
from contrail_vsphere.app.metrics import CONTENT_TYPE, Metrics
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.model.errors import (
    AlreadyExists,
    BrakeEngaged,
    Conflict,
    ContrailVsphereError,
    NotConverged,
    NotFound,
    ProtocolError,
    RefusedError,
    TransientError,
    UsageError,
)
from contrail_vsphere.model.ids import HostId

_LOG = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[ContrailVsphereError], int], ...]] = (
    (NotFound, 404),
    (UsageError, 422),
    (AlreadyExists, 409),
    (Conflict, 409),
    (BrakeEngaged, 409),
    (RefusedError, 409),
    (TransientError, 503),
    (NotConverged, 504),
    (ProtocolError, 502),
)
"""HTTP status per kind of error, the first match counts; others are 500."""

_ABOUT = """\
Every request but /healthz and /readyz carries `Authorization: Bearer TOKEN`, a token of the manager's token file.
Viewers may read; operators may also change. Errors answer `{"error": ..., "hint": ...}`.
"""

_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": schema.ErrorDocument, "description": "No token, or one that is not in the token file"},
    403: {"model": schema.ErrorDocument, "description": "The token's role may not do this"},
}
_CHANGE_ERRORS: dict[int | str, dict[str, Any]] = {
    **_ERRORS,
    404: {"model": schema.ErrorDocument, "description": "No such deployment, cluster, host or brake"},
    409: {"model": schema.ErrorDocument, "description": "Not possible in the present state"},
    422: {"model": schema.ErrorDocument, "description": "The request does not make sense"},
    503: {"model": schema.ErrorDocument, "description": "Something this needs is away; try again"},
}


def create_app(*, target: ControlTarget, tokens: TokenFile, health: HealthBook, metrics: Metrics) -> FastAPI:
    """The ASGI application; serve it with ``control_server.ControlServer``."""
    app = FastAPI(
        title="contrail-vsphere control API",
        version="1",
        description=_ABOUT,
        # The interactive pages would load scripts from the internet.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_probes(target))
    app.include_router(_readings(target, tokens, health, metrics))
    app.include_router(_commands(target, tokens))
    app.add_exception_handler(ContrailVsphereError, _on_error)
    app.add_exception_handler(AnyHttpError, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    return app


def _probes(target: ControlTarget) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="The manager does its work", responses={503: {"description": "Not yet"}})
    async def readyz(response: Response) -> dict[str, Any]:
        missing = target.not_ready()
        response.status_code = 503 if missing else 200
        return {"ready": not missing, "missing": missing}

    return router


def _readings(target: ControlTarget, tokens: TokenFile, health: HealthBook, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["read"], responses=_ERRORS, dependencies=[Depends(_require(tokens, "viewer"))])

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def get_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @router.get("/v1/reign", summary="Whether this process acts, or stands by for another one")
    async def reign() -> schema.ReignDocument:
        return target.reign()

    @router.get("/v1/uves", summary="What Contrail analytics would show, in the shape of its UVEs")
    async def get_uves() -> dict[str, Any]:
        return target.uves()

    @router.get("/v1/certificates", summary="Every certificate and when it expires")
    async def certificates() -> schema.CertificatesDocument:
        return target.certificates()

    @router.get("/v1/adoptable", summary="What waits for a person to take it over")
    async def adoptable() -> schema.AdoptableDocument:
        return target.adoptable()

    @router.get("/v1/status", summary="Every deployment and host: state, issues, what will be done")
    async def status() -> schema.StatusDocument:
        return target.status()

    @router.get("/v1/plan", summary="What the manager would do now, with reasons")
    async def plan() -> schema.PlanDocument:
        return target.plan()

    @router.get("/v1/health", summary="What works and what does not, worst first")
    async def get_health() -> list[schema.HealthDocument]:
        return [schema.HealthDocument.model_validate(entry) for entry in health.items()]

    @router.get("/v1/hosts", summary="The host directory: which ContrailVM serves which host")
    async def hosts() -> list[schema.HostDocument]:
        return [schema.HostDocument.model_validate(entry) for entry in target.hosts()]

    @router.get(
        "/v1/hosts/{host}/readiness",
        summary="Whether the host's vRouter forwards, and has all its ports",
        responses={404: {"model": schema.ErrorDocument, "description": "No such host"}},
    )
    async def readiness(host: str) -> schema.ReadinessDocument:
        if all(entry.host != host for entry in target.hosts()):
            raise NotFound(f"no host {host} in the directory", hint="GET /v1/hosts lists them")
        return schema.ReadinessDocument.model_validate(await target.readiness(HostId(host)))

    return router


def _commands(target: ControlTarget, tokens: TokenFile) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["change"], responses=_CHANGE_ERRORS)
    operator = Annotated[Caller, Depends(_require(tokens, "operator"))]

    @router.post("/apply", summary="Make a deployments file the desired state")
    async def apply(application: schema.Application, caller: operator) -> schema.Outcome:
        outcome = await target.apply(application, by=caller.name)
        return outcome if application.dry_run else _told(caller, "apply", outcome)

    @router.post("/deployments/{deployment}/remove", summary="Take a deployment and its ContrailVMs off its clusters")
    async def remove(deployment: str, removal: schema.Removal, caller: operator) -> schema.Outcome:
        if removal.confirm != deployment:
            raise UsageError(
                "the confirmation does not name the deployment", hint=f'send {{"confirm": "{deployment}"}}'
            )
        return _told(caller, "remove", await target.remove(deployment, by=caller.name))

    @router.post("/deployments/{deployment}/upgrade", summary="Begin a rolling upgrade")
    async def upgrade(deployment: str, upgrade: schema.Upgrade, caller: operator) -> schema.Outcome:
        outcome = await target.upgrade(deployment, upgrade, by=caller.name)
        return outcome if upgrade.dry_run else _told(caller, "upgrade", outcome)

    @router.post("/deployments/{deployment}/rollback", summary="Go back to what ran before the newest upgrade")
    async def rollback(deployment: str, rollback: schema.Rollback, caller: operator) -> schema.Outcome:
        outcome = await target.rollback(deployment, rollback, by=caller.name)
        return outcome if rollback.dry_run else _told(caller, "rollback", outcome)

    @router.post("/deployments/{deployment}/rollout/{step}", summary="Pause, resume or approve a rollout")
    async def steer_rollout(deployment: str, step: schema.RolloutStep, caller: operator) -> schema.Outcome:
        outcome = await target.steer_rollout(deployment, step, by=caller.name)
        return _told(caller, f"{step} the rollout", outcome)

    @router.post("/pause", summary="Change nothing there until resume")
    async def pause(selection: schema.Selection, caller: operator) -> schema.Outcome:
        return _told(caller, "pause", await target.pause(selection, by=caller.name))

    @router.post("/resume", summary="End a pause")
    async def resume(selection: schema.Selection, caller: operator) -> schema.Outcome:
        return _told(caller, "resume", await target.resume(selection, by=caller.name))

    @router.post("/resolve", summary="Release holds and try again now")
    async def resolve(selection: schema.Selection, caller: operator) -> schema.Outcome:
        return _told(caller, "resolve", await target.resolve(selection, by=caller.name))

    @router.post("/approve", summary="Allow repairs that cost a maintenance mode or a reboot, once")
    async def approve(approval: schema.Approval, caller: operator) -> schema.Outcome:
        return _told(caller, "approve", await target.approve(approval, by=caller.name))

    @router.post("/certificates/ca", summary="One step of a rotation of our CA")
    async def rotate_ca(step: schema.CaStep, caller: operator) -> schema.Outcome:
        return _told(caller, f"rotate-ca {step.step}", await target.rotate_ca(step, by=caller.name))

    @router.post("/certificates/extension", summary="Give our extension in vCenter a new certificate")
    async def renew_extension(caller: operator) -> schema.Outcome:
        return _told(caller, "renew-extension", await target.renew_extension(by=caller.name))

    @router.post("/reattach", summary="Make again what went with the extension that somebody unregistered")
    async def reattach(caller: operator) -> schema.Outcome:
        return _told(caller, "reattach", await target.reattach(by=caller.name))

    @router.post("/brakes/{name}/release", summary="Approve the deletions a brake refused")
    async def release(name: str, release: schema.Release, caller: operator) -> schema.Outcome:
        return _told(caller, "release", await target.release_brake(name, by=caller.name, reason=release.reason))

    return router


def _require(tokens: TokenFile, role: Role) -> Callable[..., Awaitable[Caller]]:
    bearer = HTTPBearer(auto_error=False, description="A token of the manager's token file")

    async def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
        found = tokens.caller(credentials.credentials) if credentials is not None else None
        if found is None:
            raise HTTPException(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})
        if not found.may(role):
            raise HTTPException(403, f"{found.name} is a {found.role}; this needs the role {role}")
        return found

    return caller


def _told(caller: Caller, command: str, outcome: schema.Outcome) -> schema.Outcome:
    """Leave a line in the log of who changed what."""
    _LOG.info("%s by %s: %s", command, caller.name, "; ".join(outcome.changes) or "nothing to change")
    return outcome


async def _on_error(_request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    message, hint = (error.message, error.hint) if isinstance(error, ContrailVsphereError) else (str(error), "")
    if status == 500:
        _LOG.error("request failed: %s", error, exc_info=error)
    return _answer(status, message, hint)


async def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AnyHttpError):
        raise error
    return _answer(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    places = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
    return _answer(422, "; ".join(places), "see /openapi.json")


def _answer(status: int, error: str, hint: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    document = schema.ErrorDocument(error=error, hint=hint)
    return JSONResponse(document.model_dump(), status_code=status, headers=headers)
