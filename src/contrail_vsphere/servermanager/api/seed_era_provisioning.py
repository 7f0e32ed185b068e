"""The seed era's routes that do something with servers: provision, roles, progress, logs, restart."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import clean
from contrail_vsphere.servermanager.api.seed_era_answers import Era, body_of, selected
from contrail_vsphere.servermanager.api.seed_era_words import (
    BAD_KEY,
    GENERAL,
    NO_KEY,
    OPERATION,
    SERVER_KEYS,
    SeedEraError,
    role_order,
)
from contrail_vsphere.servermanager.planner import Order
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.states import SEED_ERA_STATUS, ServerState
from contrail_vsphere.servermanager.tables import Plan, Run, Server


def provisioning(made: APIRouter, era: Era, viewer: Any, operator: Any) -> None:
    """Add the routes; ``viewer`` and ``operator`` are the dependencies that let callers in."""
    service = era.service

    @made.get("/server_status", dependencies=[viewer])
    async def server_status(request: Request) -> Response:
        query = dict(request.query_params)
        return await era.read(
            lambda session: {
                "server": [
                    {
                        "id": row.id, "mac_address": row.mac_address or "", "ip_address": row.ip_address,
                        "status": SEED_ERA_STATUS[ServerState(row.state)],
                    }
                    for row in selected(session, query, kind="server")
                ]
            }
        )  # fmt: skip

    @made.get("/provision_status", dependencies=[viewer])
    async def provision_status(request: Request) -> Response:
        query = dict(request.query_params)

        def told(session: Session) -> Any:
            rows = selected(session, query, kind="server")
            return {"servers": [_progress(row) for row in rows]}

        return await era.read(told)

    @made.post("/server/provision")
    async def provision(request: Request, caller: Caller = operator) -> Response:
        async def work() -> Any:
            document = await body_of(request)
            order = await asyncio.to_thread(_order, service, document)
            actor = Actor(caller.name, service.now())
            run_id = await service.provisioner.provision(actor, order)
            package = await asyncio.to_thread(_image_of, service, run_id)
            return {
                "return_code": "0", "return_message": "server(s) provision issued",
                "server": [{"id": each, "package_id": package} for each in order.servers],
            }  # fmt: skip

        return await era.do(work)

    @made.post("/provision_role")
    async def provision_role(request: Request, caller: Caller = operator) -> Response:
        async def work() -> Any:
            order = role_order(await body_of(request))
            await service.provisioner.provision(Actor(caller.name, service.now()), order)
            return {"return_code": 0, "return_msg": "server(s) provision issued", "return_data": None}

        return await era.do(work)

    @made.get("/log", dependencies=[operator])
    async def log(request: Request) -> Response:
        async def work() -> Any:
            server_id, file = request.query_params.get("id", ""), request.query_params.get("file", "")
            if not server_id:
                raise SeedEraError(NO_KEY, "say which server: id=...")
            clean([server_id, file])
            if not file:
                return {"log files": await service.upkeep.log_files(server_id)}
            return {file: await service.upkeep.log(server_id, file)}

        return await era.do(work)

    @made.post("/server/restart")
    async def restart(request: Request, caller: Caller = operator) -> Response:
        document: dict[str, Any] = {}

        async def work() -> Any:
            document.update(await body_of(request))
            if str(document.pop("net_boot", "n")).lower() in ("y", "yes", "true"):
                raise SeedEraError(OPERATION, "net_boot is bare metal's: use what installs your servers")
            query = {key: str(value) for key, value in document.items()}
            if not query:
                raise SeedEraError(NO_KEY, "say which servers: id, cluster_id, tag, ...")
            rows = await asyncio.to_thread(_ids, service, query)
            done, failed = await _restarted(service, Actor(caller.name, service.now()), rows)
            message = f"Reboot Successful for ({', '.join(done)}),failed for ({', '.join(failed)})"
            return {"return_code": 0, "return_msg": message, "return_data": None}

        return await era.do(work)


def _image_of(service: ServerManager, run_id: str) -> str:
    """The image of the run: the order names none where the cluster's is meant."""
    with service.store.reading() as session:
        return session.scalars(
            select(Plan.image_id).join(Run, Run.plan_hash == Plan.hash).where(Run.id == run_id)
        ).one()


def _ids(service: ServerManager, query: dict[str, str]) -> list[str]:
    with service.store.reading() as session:
        return [row.id for row in selected(session, query, kind="server", some=True)]


async def _restarted(service: ServerManager, actor: Actor, servers: list[str]) -> tuple[list[str], list[str]]:
    """Which were asked to restart, and which could not be."""
    ends = await asyncio.gather(*(service.upkeep.restart(actor, each) for each in servers), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, ContrailVsphereError):
            raise end
    done = [each for each, end in zip(servers, ends, strict=True) if isinstance(end, str)]
    return done, [each for each in servers if each not in done]


def _progress(row: Server) -> dict[str, Any]:
    """Per role; the era wrote Python lists as texts, and its client prints them as they are."""
    by_state = {"pending": "provision_pending", "running": "provision_in_progress", "completed": "provision_completed"}
    told: dict[str, list[str]] = {name: [] for name in by_state.values()}
    for role, state in sorted(row.progress.items()):
        told[by_state.get(state, "provision_pending")].append(role)
    return {"id": row.id, "cluster_id": row.cluster_id or "", **{key: str(value) for key, value in told.items()}}


def _order(service: ServerManager, document: dict[str, Any]) -> Order:
    """``POST /server/provision``'s body as an order."""
    keys = (*SERVER_KEYS, "where")
    known = {"package_image_id", "contrail_image_id", "tasks", "provision_parameters", "opcode", *keys}
    unknown = set(document) - known
    if unknown:
        raise SeedEraError(BAD_KEY, f"unknown: {', '.join(sorted(unknown))}")
    if document.get("opcode"):
        raise SeedEraError(OPERATION, "in-service upgrade (ISSU) is not done here")
    query = {key: str(document[key]) for key in keys if document.get(key)}
    wanted = document.get("provision_parameters") or {}
    roles = wanted.get("roles") if isinstance(wanted, dict) else None
    if not query and not roles:
        raise SeedEraError(NO_KEY, "say which servers: id, cluster_id, tag, ... or provision_parameters.roles")
    with service.store.reading() as session:
        if roles and not query:
            if not isinstance(roles, dict) or not all(isinstance(each, list) for each in roles.values()):
                raise SeedEraError(GENERAL, "provision_parameters.roles is role -> list of servers")
            servers = sorted({str(each) for ids in roles.values() for each in ids})
        else:
            servers = [row.id for row in selected(session, query, kind="server", some=True)]
    image = document.get("package_image_id") or document.get("contrail_image_id") or ""
    given = {str(role): [str(each) for each in ids] for role, ids in (roles or {}).items()}
    return Order(servers=tuple(servers), image=str(image), roles=given)
