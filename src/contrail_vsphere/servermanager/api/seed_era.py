"""The seed era's routes and JSON: for clients that are not changed any more.

Their conventions are kept where a client depends on them: objects in lists, ``return_code`` / ``return_msg`` /
``return_data``, 200 for success as text/html and 404 for every failure. What is behind them is ``/v1``'s: nothing is
shown or stored otherwise. ``show_pass`` is refused: it showed passwords to anybody. ``where`` was SQL, and is what
``filters`` understands. Verbs of bare metal answer 501 and say where to go.
"""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import DocumentError, InvalidArgument
from contrail_vsphere.servermanager import config_file, documents
from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import clean
from contrail_vsphere.servermanager.api.routes_upkeep import TABLES
from contrail_vsphere.servermanager.api.routes_upkeep import columns as table_columns
from contrail_vsphere.servermanager.api.seed_era_answers import Era, Work, answered, body_of, failure, selected, told_as
from contrail_vsphere.servermanager.api.seed_era_pages import defaults, logs_page
from contrail_vsphere.servermanager.api.seed_era_provisioning import provisioning
from contrail_vsphere.servermanager.api.seed_era_words import (
    BARE_METAL,
    GENERAL,
    NO_KEY,
    NO_VALUE,
    OPERATION,
    PLAIN,
    SeedEraError,
)
from contrail_vsphere.servermanager.objects import tags
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.tables import Server


def router(service: ServerManager, require: Any) -> APIRouter:
    """The routes; ``require`` None lets callers without a token in, as operators."""

    async def anybody() -> Caller:
        return Caller("seed-era", "operator")

    viewer = Depends(anybody if require is None else require("viewer"))
    operator = Depends(anybody if require is None else require("operator"))
    made = APIRouter(tags=["seed era"], include_in_schema=False)
    era = Era(service)
    _readings(made, era, viewer)
    _changes(made, era, operator)
    provisioning(made, era, viewer, operator)
    for path, methods in BARE_METAL.items():
        made.add_api_route(path, _bare_metal, methods=list(methods), dependencies=[viewer])
    return made


async def _bare_metal() -> Response:
    return answered(
        {"return_code": OPERATION, "return_msg": "bare metal is not done here: install the servers with MAAS, "
         "Foreman or your own tools, then add server", "return_data": None}, 501,
    )  # fmt: skip


def _readings(made: APIRouter, era: Era, viewer: Any) -> None:
    def listing(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            query = dict(request.query_params)
            return await era.read(
                lambda session: {kind: [told_as(row, query, kind) for row in selected(session, query, kind=kind)]}
            )

        return handler

    for kind in ("server", "cluster", "image"):
        made.add_api_route(f"/{kind}", listing(kind), methods=["GET"], dependencies=[viewer])

    @made.get("/all", dependencies=[viewer])
    async def everything(request: Request) -> Response:
        query = {key: value for key, value in request.query_params.items() if key in PLAIN}
        return await era.read(
            lambda session: {
                **{kind: [told_as(row, query, kind) for row in selected(session, query, kind=kind)]
                   for kind in ("server", "cluster", "image")},
                "tag": tags(session), "dhcp_host": [], "dhcp_subnet": [],
            }
        )  # fmt: skip

    @made.get("/tag", dependencies=[viewer])
    async def get_tag() -> Response:
        return await era.read(tags)

    @made.get("/defaults", dependencies=[viewer])
    async def object_defaults(request: Request) -> Response:
        return await era.read(lambda _session: defaults(era.service.catalogue, dict(request.query_params)))

    @made.get("/logs", dependencies=[viewer])
    @made.get("/logs/{name}", dependencies=[viewer])
    async def provision_logs(name: str = "") -> Response:
        return await asyncio.to_thread(logs_page, era.service.store, name)

    @made.get("/columns", dependencies=[viewer])
    async def columns(request: Request) -> Response:
        def told(_session: Session) -> Any:
            table = request.query_params.get("table", "")
            if table not in TABLES:
                raise SeedEraError(NO_VALUE, f"table is one of {', '.join(TABLES)}")
            return {"header": "columns", "columns": table_columns(table)}

        return await era.read(told)


def _changes(made: APIRouter, era: Era, operator: Any) -> None:
    service = era.service

    def adding(kinds: tuple[str, ...], message: str) -> Callable[..., Awaitable[Response]]:
        async def handler(request: Request, caller: Caller = operator) -> Response:
            async def work() -> Any:
                document = await body_of(request)
                again = kinds == config_file.KINDS
                if not again:
                    documents.listed(document, kinds[0])
                chosen = {kind: document.get(kind, document.get(f"{kind}s", [])) for kind in kinds}
                await service.put_file(Actor(caller.name, service.now()), chosen, again=again)
                return {"return_code": 0, "return_msg": message, "return_data": None}

            return await era.do(work)

        return handler

    background = "Image add of containers happens in the background: see its state"
    for path, kinds, message in (
        ("/cluster", ("cluster",), "Cluster add/modify success"),
        ("/server", ("server",), "Server add/modify success"),
        ("/image", ("image",), background),
        ("/config", config_file.KINDS, "Config add/modify success"),
        ("/all", ("cluster", "server"), "Config add/modify success"),
    ):
        made.add_api_route(path, adding(kinds, message), methods=["PUT"])

    @made.put("/tag")
    async def put_tag(request: Request, caller: Caller = operator) -> Response:
        try:
            document = await body_of(request)
        except DocumentError as error:
            return failure(GENERAL, str(error))
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
        marked: list[str] = []
        work = _deleting(service, dict(request.query_params), "image", deleted=marked)
        answer = await era.write(caller, work, "Image Deleted")
        if answer.status_code == 200:
            for image_id in marked:
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


def _deleting(service: ServerManager, query: dict[str, str], kind: str, *, deleted: list[str] | None = None) -> Work:
    """Every row that the query names; their ids go into ``deleted``. ``force`` takes a cluster's servers out of it."""
    chosen = {key: value for key, value in query.items() if key != "force"}
    force = "force" in query

    def work(session: Session, actor: Actor) -> Any:
        if not chosen:
            raise SeedEraError(NO_KEY, "say which one: id=...")
        for row in selected(session, chosen, kind=kind, some=True):
            if deleted is not None:
                deleted.append(row.id)
            if kind == "server":
                service.objects.delete_server(session, actor, row.id, force=force)
            elif kind == "cluster":
                if force:
                    for server in session.scalars(select(Server.id).where(Server.cluster_id == row.id)).all():
                        service.objects.put_server(session, actor, {"id": server, "cluster_id": None})
                    session.flush()
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
        # The era's client sends none.
        document.setdefault("category", "package" if document.get("type", "").endswith("-package") else "container")

    def register() -> str:
        with service.store.writing() as session:
            row = service.images.register(
                session, Actor(caller.name, service.now()), clean({**document, "path": str(path)})
            )
            return row.id

    service.images.begin(await asyncio.to_thread(register))
    return {"return_code": 0, "return_msg": "Image Uploaded", "return_data": None}
