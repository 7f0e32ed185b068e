"""The seed era's routes and JSON: for clients that are not changed any more.

Their conventions are kept where a client depends on them: objects in lists, ``return_code`` / ``return_msg`` /
``return_data``, 200 for success as text/html and 404 for every failure. What is behind them is ``/v1``'s: nothing is
shown or stored otherwise. ``show_pass`` is refused: it showed passwords to anybody. ``where`` was SQL, and is what
``filters`` understands. Verbs of bare metal answer 501 and say where to go.
"""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import AlreadyExists, ContrailVsphereError, DocumentError, InvalidArgument, NotFound
from contrail_vsphere.servermanager import documents, filters
from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import clean, plain
from contrail_vsphere.servermanager.api.routes_upkeep import TABLES
from contrail_vsphere.servermanager.api.routes_upkeep import columns as table_columns
from contrail_vsphere.servermanager.api.seed_era_words import (
    BAD_KEY,
    BARE_METAL,
    EXISTS,
    GENERAL,
    NO_KEY,
    NO_VALUE,
    NOT_FOUND,
    OPERATION,
    PLAIN,
    SERVER_KEYS,
    SeedEraError,
    role_order,
)
from contrail_vsphere.servermanager.images import shown_image
from contrail_vsphere.servermanager.objects import shown_cluster, shown_server, tags
from contrail_vsphere.servermanager.planner import Order
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.states import SEED_ERA_STATUS, ServerState
from contrail_vsphere.servermanager.tables import Cluster, Image, Server

Work = Callable[[Session, Actor], Any]


def router(service: ServerManager, require: Any) -> APIRouter:
    """The routes; ``require`` None lets callers without a token in, as operators."""

    async def anybody() -> Caller:
        return Caller("seed-era", "operator")

    viewer = Depends(anybody if require is None else require("viewer"))
    operator = Depends(anybody if require is None else require("operator"))
    made = APIRouter(tags=["seed era"], include_in_schema=False)
    era = _Era(service)
    _readings(made, era, viewer)
    _changes(made, era, operator)
    _provisioning(made, era, viewer, operator)
    for path, methods in BARE_METAL.items():
        made.add_api_route(path, _bare_metal, methods=list(methods), dependencies=[viewer])
    return made


async def _bare_metal() -> Response:
    return _answer(
        {"return_code": OPERATION, "return_msg": "bare metal is not done here: install the servers with MAAS, "
         "Foreman or your own tools, then add server", "return_data": None}, 501,
    )  # fmt: skip


class _Era:
    """Runs units of work and turns their ends into the era's answers."""

    def __init__(self, service: ServerManager) -> None:
        self.service = service

    async def read(self, work: Callable[[Session], Any]) -> Response:
        def unit() -> Any:
            with self.service.store.reading() as session:
                return work(session)

        return await self._told(lambda: asyncio.to_thread(unit), wrapped=False)

    async def write(self, caller: Caller, work: Work, message: str) -> Response:
        def unit() -> Any:
            with self.service.store.writing() as session:
                return work(session, Actor(caller.name, self.service.now()))

        return await self._told(lambda: asyncio.to_thread(unit), wrapped=True, message=message)

    async def do(self, work: Callable[[], Awaitable[Any]]) -> Response:
        return await self._told(work, wrapped=False)

    async def _told(self, work: Callable[[], Awaitable[Any]], *, wrapped: bool, message: str = "") -> Response:
        try:
            result = await work()
        except SeedEraError as error:
            return _failure(error.code, str(error))
        except DocumentError as error:
            return _failure(GENERAL, "; ".join(error.problems))
        except ContrailVsphereError as error:
            kind = next((word for word in EXISTS if word in error.message.lower()), "")
            code = GENERAL
            if isinstance(error, NotFound):
                code = NOT_FOUND.get(kind, GENERAL)
            elif isinstance(error, AlreadyExists):
                code = EXISTS.get(kind, GENERAL)
            return _failure(code, str(error))
        if not wrapped:
            return _answer(result)
        return _answer({"return_code": 0, "return_msg": message, "return_data": result})


def _failure(code: int, message: str) -> Response:
    return _answer({"return_code": code, "return_msg": message, "return_data": None}, 404)


def _answer(value: Any, status: int = 200) -> Response:
    text = json.dumps(json.loads(plain(value)), sort_keys=True, indent=4)
    return Response(text, status_code=status, media_type="text/html")


async def _body(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = clean(documents.parse(await request.body()))
    return document


def _selected(session: Session, query: dict[str, str], *, kind: str) -> list[Any]:
    """The rows that the query names, all without one; the era's codes for keys it does not know."""
    table: Any = {"server": Server, "cluster": Cluster, "image": Image}[kind]
    keys = SERVER_KEYS if kind == "server" else ("id",)
    given = {key: value for key, value in query.items() if key not in PLAIN}
    if set(given) & {"show_pass", "show_passwords"}:
        raise SeedEraError(BAD_KEY, "'show_pass' is not served any more")
    if len(given) > 1 or set(given) - {*keys, "where"}:
        raise SeedEraError(BAD_KEY, f"one of {', '.join(keys)}, where is expected")
    rows = list(session.scalars(select(table).order_by(table.id)))
    for key, value in given.items():
        clean(value)
        if key == "tag":
            wanted = dict(each.partition("=")[::2] for each in value.split(","))
            rows = [row for row in rows if wanted.items() <= row.tags.items()]
        elif key == "where":
            rows = _where(rows, value, kind=kind)
        else:
            value = documents.normal_mac(value) if key == "mac_address" else value  # noqa: PLW2901
            rows = [row for row in rows if getattr(row, key) == value]
        if not rows:
            raise SeedEraError(NOT_FOUND[kind], f"no {kind} with {key} {value}")
    return rows


def _where(rows: list[Any], expression: str, *, kind: str) -> list[Any]:
    try:
        test = filters.parse(expression, fields=documents.FIELDS[kind])
        return [row for row in rows if test(_shown(row, kind))]
    except InvalidArgument as error:
        raise SeedEraError(BAD_KEY, f"where: {error.message}") from error


def _shown(row: Any, kind: str) -> dict[str, Any]:
    """Every field, secrets masked."""
    views: dict[str, Callable[[Any], dict[str, Any]]] = {
        "server": shown_server, "cluster": shown_cluster, "image": shown_image
    }  # fmt: skip
    shown = views[kind](row)
    if kind == "server":
        shown["status"] = SEED_ERA_STATUS[ServerState(row.state)]
    return shown


def _told_as(row: Any, query: dict[str, str], kind: str) -> dict[str, Any]:
    shown = _shown(row, kind)
    if "select" in query:
        fields = query["select"].split(",")
    elif "detail" in query:
        return shown
    else:
        fields = ["id", "mac_address", "ip_address"] if kind == "server" else ["id"]
    return {field: shown.get(field, "") for field in fields}


def _readings(made: APIRouter, era: _Era, viewer: Any) -> None:
    def listing(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            query = dict(request.query_params)
            return await era.read(
                lambda session: {kind: [_told_as(row, query, kind) for row in _selected(session, query, kind=kind)]}
            )

        return handler

    for kind in ("server", "cluster", "image"):
        made.add_api_route(f"/{kind}", listing(kind), methods=["GET"], dependencies=[viewer])

    @made.get("/all", dependencies=[viewer])
    async def everything(request: Request) -> Response:
        query = {key: value for key, value in request.query_params.items() if key in PLAIN}
        return await era.read(
            lambda session: {
                **{kind: [_told_as(row, query, kind) for row in _selected(session, query, kind=kind)]
                   for kind in ("server", "cluster", "image")},
                "tag": tags(session), "dhcp_host": [], "dhcp_subnet": [],
            }
        )  # fmt: skip

    @made.get("/tag", dependencies=[viewer])
    async def get_tag() -> Response:
        return await era.read(tags)

    @made.get("/columns", dependencies=[viewer])
    async def columns(request: Request) -> Response:
        def told(_session: Session) -> Any:
            table = request.query_params.get("table", "")
            if table not in TABLES:
                raise SeedEraError(NO_VALUE, f"table is one of {', '.join(TABLES)}")
            return {"header": "columns", "columns": table_columns(table)}

        return await era.read(told)


def _changes(made: APIRouter, era: _Era, operator: Any) -> None:
    service = era.service

    def put_objects(session: Session, actor: Actor, document: dict[str, Any]) -> list[str]:
        """Clusters, then servers, then images; returns the images whose jobs are to begin."""
        for each in document.get("cluster", []) and documents.listed(document, "cluster"):
            service.objects.put_cluster(session, actor, each)
        session.flush()
        for each in document.get("server", []) and documents.listed(document, "server"):
            service.objects.put_server(session, actor, each)
        images = []
        for each in document.get("image", []) and documents.listed(document, "image"):
            images.append(service.images.register(session, actor, each).id)
        return images

    def adding(kinds: tuple[str, ...], message: str) -> Callable[..., Awaitable[Response]]:
        async def handler(request: Request, caller: Caller = operator) -> Response:
            begun: list[str] = []

            async def work() -> Any:
                document = await _body(request)
                if kinds != ("cluster", "server", "image"):
                    documents.listed(document, kinds[0])

                def unit() -> None:
                    with service.store.writing() as session:
                        actor = Actor(caller.name, service.now())
                        chosen = {kind: document.get(kind, document.get(f"{kind}s", [])) for kind in kinds}
                        begun.extend(put_objects(session, actor, chosen))

                await asyncio.to_thread(unit)
                for image_id in begun:
                    service.images.begin(image_id)
                return {"return_code": 0, "return_msg": message, "return_data": None}

            return await era.do(work)

        return handler

    background = "Image add of containers happens in the background: see its state"
    for path, kinds, message in (
        ("/cluster", ("cluster",), "Cluster add/modify success"),
        ("/server", ("server",), "Server add/modify success"),
        ("/image", ("image",), background),
        ("/config", ("cluster", "server", "image"), "Config add/modify success"),
        ("/all", ("cluster", "server"), "Config add/modify success"),
    ):
        made.add_api_route(path, adding(kinds, message), methods=["PUT"])

    @made.put("/tag")
    async def put_tag(request: Request, caller: Caller = operator) -> Response:
        try:
            document = await _body(request)
        except DocumentError as error:
            return _failure(GENERAL, str(error))
        return await era.write(
            caller, lambda session, actor: service.objects.put_tags(session, actor, document), "Tags changed"
        )

    @made.delete("/server")
    async def delete_server(request: Request, caller: Caller = operator) -> Response:
        return await era.write(caller, _deleting(service, dict(request.query_params), "server"), "Server deleted")

    @made.delete("/cluster")
    async def delete_cluster(request: Request, caller: Caller = operator) -> Response:
        return await era.write(caller, _deleting(service, dict(request.query_params), "cluster"), "Cluster deleted")

    @made.delete("/image")
    async def delete_image(request: Request, caller: Caller = operator) -> Response:
        image_id = request.query_params.get("id", "")
        answer = await era.write(caller, _deleting(service, dict(request.query_params), "image"), "Image Deleted")
        if answer.status_code == 200:
            service.images.begin(image_id)
        return answer

    @made.delete("/tag")
    async def delete_tag(request: Request, caller: Caller = operator) -> Response:
        names = dict.fromkeys((key for key in request.query_params if key in documents.TAGS), "")
        return await era.write(
            caller, lambda session, actor: service.objects.put_tags(session, actor, names), "Tag deleted"
        )

    @made.put("/image/upload")
    async def upload(request: Request, caller: Caller = operator) -> Response:
        return await era.do(lambda: _upload(service, request, caller))


def _deleting(service: ServerManager, query: dict[str, str], kind: str) -> Work:
    def work(session: Session, actor: Actor) -> Any:
        if not query:
            raise SeedEraError(NO_KEY, "say which one: id=...")
        for row in _selected(session, query, kind=kind):
            if kind == "server":
                service.objects.delete_server(session, actor, row.id)
            elif kind == "cluster":
                service.objects.delete_cluster(session, actor, row.id)
            else:
                service.images.mark_deleting(session, actor, row.id)

    return work


async def _upload(service: ServerManager, request: Request, caller: Caller) -> Any:
    """``multipart/form-data`` with the archive in ``file``; Starlette spools it to disk."""
    claimed = request.headers.get("content-length", "")
    service.room_for(int(claimed) if claimed.isascii() and claimed.isdigit() else 0)
    async with request.form(max_files=3, max_fields=20) as form:
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise InvalidArgument("the form has no file")
        place = service.uploads / uuid4().hex
        await asyncio.to_thread(place.mkdir, 0o700)
        path = place / (Path(file.filename or "image.tgz").name or "image.tgz")
        with await asyncio.to_thread(path.open, "xb") as target:
            while block := await file.read(1 << 20):
                await asyncio.to_thread(target.write, block)
        document = {key: str(form[key]) for key in ("id", "version", "type", "category") if key in form}

    def register() -> str:
        with service.store.writing() as session:
            row = service.images.register(
                session, Actor(caller.name, service.now()), clean({**document, "path": str(path)})
            )
            return row.id

    service.images.begin(await asyncio.to_thread(register))
    return {"return_code": 0, "return_msg": "Image Uploaded", "return_data": None}


def _provisioning(made: APIRouter, era: _Era, viewer: Any, operator: Any) -> None:
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
                    for row in _selected(session, query, kind="server")
                ]
            }
        )  # fmt: skip

    @made.get("/provision_status", dependencies=[viewer])
    async def provision_status(request: Request) -> Response:
        query = dict(request.query_params)

        def told(session: Session) -> Any:
            rows = _selected(session, query, kind="server")
            return {"servers": [_progress(row) for row in rows]}

        return await era.read(told)

    @made.post("/server/provision")
    async def provision(request: Request, caller: Caller = operator) -> Response:
        async def work() -> Any:
            document = await _body(request)
            order = await asyncio.to_thread(_order, service, document)
            actor = Actor(caller.name, service.now())
            await service.provisioner.provision(actor, order)
            package = order.image
            return {
                "return_code": "0", "return_message": "server(s) provision issued",
                "server": [{"id": each, "package_id": package} for each in order.servers],
            }  # fmt: skip

        return await era.do(work)

    @made.post("/provision_role")
    async def provision_role(request: Request, caller: Caller = operator) -> Response:
        async def work() -> Any:
            order = role_order(await _body(request))
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
            document.update(await _body(request))
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


def _ids(service: ServerManager, query: dict[str, str]) -> list[str]:
    with service.store.reading() as session:
        return [row.id for row in _selected(session, query, kind="server")]


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
            servers = [row.id for row in _selected(session, query, kind="server")]
    image = document.get("package_image_id") or document.get("contrail_image_id") or ""
    given = {str(role): [str(each) for each in ids] for role, ids in (roles or {}).items()}
    return Order(servers=tuple(servers), image=str(image), roles=given)
