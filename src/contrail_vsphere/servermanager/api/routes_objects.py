"""``/v1``: clusters, servers, images, tags, roles, secrets, tokens, audit log.

Handlers that only ask the database are plain functions, which FastAPI runs on threads: SQLAlchemy blocks. Those that
start a job are coroutines and hand their unit of work to a thread themselves.
"""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import DocumentError, InvalidArgument, InvalidState, NotFound, OutOfResources
from contrail_vsphere.servermanager import config_file
from contrail_vsphere.servermanager.access import Caller, Role, create_token, delete_token
from contrail_vsphere.servermanager.api.answers import PageDocument, clean, errors, expected_version, tagged
from contrail_vsphere.servermanager.catalogue import parameters_schema, role_schema
from contrail_vsphere.servermanager.checks import check_server
from contrail_vsphere.servermanager.image_rows import shown_image
from contrail_vsphere.servermanager.objects import found, shown_cluster, shown_server, tags
from contrail_vsphere.servermanager.records import Actor, audit, history
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.tables import Audit, Cluster, Image, Secret, Server, Token
from contrail_vsphere.servermanager.vault import references

ObjectId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Limit = Annotated[int, Query(ge=1, le=500, description="Objects per page")]
After = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9._@-]*$", description="Last id of the page before")]
Document = Annotated[dict[str, Any], Body(description="As in the seed era's JSON files")]
OBJECT: dict[int | str, dict[str, Any]] = {200: {"model": dict[str, Any]}, 304: {"description": "As the caller has it"}}


class NewToken(BaseModel):
    """A token to be made."""

    name: str = Field(max_length=100)
    role: Role


class SecretValue(BaseModel):
    """A secret to be kept."""

    value: str = Field(min_length=1, max_length=20_000, repr=False)


class ConfigDocument(BaseModel):
    """What a combined file added or changed."""

    items: list[dict[str, str]] = Field(description="`kind` and `id` of every object")
    notes: list[str]


class GarbageDocument(BaseModel):
    """What a collection of garbage gained."""

    freed_bytes: int


def actor(service: ServerManager, caller: Caller) -> Actor:
    """Who does it, now."""
    return Actor(caller.name, service.now())


def page(
    session: Session, kind: Any, shown: Callable[[Any], dict[str, Any]], *, limit: int, after: str, **by: Any
) -> dict[str, Any]:
    """One page of a table, in the order of ids, of rows with these column values."""
    query = select(kind).where(kind.id > after).order_by(kind.id).limit(limit + 1)
    for column, value in by.items():
        query = query.where(getattr(kind, column) == value)
    rows = list(session.scalars(query))
    items = [shown(row) for row in rows[:limit]]
    return {"items": items, "next": rows[limit - 1].id if len(rows) > limit else None}


def router(service: ServerManager, require: Any) -> APIRouter:
    """The routes; ``require(role)`` is the dependency that lets callers with that role in."""
    made = APIRouter(prefix="/v1")
    _clusters(made, service, require)
    _servers(made, service, require)
    _images(made, service, require)
    _uploads(made, service, require)
    _others(made, service, require)
    _administration(made, service, require)
    return made


def _clusters(made: APIRouter, service: ServerManager, require: Any) -> None:
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    def shown(session: Session, row: Cluster) -> dict[str, Any]:
        inside = session.scalars(select(Server.id).where(Server.cluster_id == row.id).order_by(Server.id))
        return shown_cluster(row, list(inside))

    @made.get("/clusters", tags=["clusters"], response_model=PageDocument, responses=errors(), dependencies=[viewer])
    def clusters(request: Request, limit: Limit = 200, after: After = "") -> Response:
        """All clusters."""
        with service.store.reading() as session:
            return tagged(request, page(session, Cluster, lambda row: shown(session, row), limit=limit, after=after))

    @made.get("/clusters/{id}", tags=["clusters"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def cluster(request: Request, id: ObjectId) -> Response:
        """One cluster."""
        with service.store.reading() as session:
            row = found(session, Cluster, id)
            return tagged(request, shown(session, row), version=row.version)

    @made.put("/clusters/{id}", tags=["clusters"], responses=errors(409, 412) | OBJECT)
    def put_cluster(request: Request, id: ObjectId, document: Document, caller: Caller = operator) -> Response:
        """Add a cluster, or merge the document into the one that is there."""
        expect = expected_version(request)
        with service.store.writing() as session:
            whole = {**clean(document), "id": id}
            row, notes = service.objects.put_cluster(session, actor(service, caller), whole, expect=expect)
            session.flush()
            answer = {**shown(session, row), "notes": notes}
            return tagged(request, answer, version=row.version)

    @made.delete("/clusters/{id}", tags=["clusters"], status_code=204, responses=errors(404, 409))
    def delete_cluster(id: ObjectId, caller: Caller = operator) -> None:
        """Delete a cluster without servers."""
        with service.store.writing() as session:
            service.objects.delete_cluster(session, actor(service, caller), id)


def _servers(made: APIRouter, service: ServerManager, require: Any) -> None:
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    @made.get("/servers", tags=["servers"], response_model=PageDocument, responses=errors(), dependencies=[viewer])
    def servers(request: Request, limit: Limit = 200, after: After = "", cluster: After = "") -> Response:
        """All servers, or those of a cluster."""
        by = {"cluster_id": cluster} if cluster else {}
        with service.store.reading() as session:
            return tagged(request, page(session, Server, shown_server, limit=limit, after=after, **by))

    @made.get("/servers/{id}", tags=["servers"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def server(request: Request, id: ObjectId) -> Response:
        """One server with its state."""
        with service.store.reading() as session:
            row = found(session, Server, id)
            return tagged(request, shown_server(row), version=row.version)

    @made.put("/servers/{id}", tags=["servers"], responses=errors(409, 412) | OBJECT)
    def put_server(request: Request, id: ObjectId, document: Document, caller: Caller = operator) -> Response:
        """Add a server, or merge the document into the one that is there."""
        expect = expected_version(request)
        with service.store.writing() as session:
            whole = {**clean(document), "id": id}
            row, notes = service.objects.put_server(session, actor(service, caller), whole, expect=expect)
            session.flush()
            return tagged(request, {**shown_server(row), "notes": notes}, version=row.version)

    @made.delete("/servers/{id}", tags=["servers"], status_code=204, responses=errors(404, 409))
    def delete_server(id: ObjectId, caller: Caller = operator, force: bool = False) -> None:
        """Forget a server; by force even one that bears containers, which stay there."""
        with service.store.writing() as session:
            service.objects.delete_server(session, actor(service, caller), id, force=force)

    @made.post("/servers/{id}/check", tags=["servers"], responses=errors(404, 409, 503))
    async def check(id: ObjectId, caller: Caller = operator) -> dict[str, str]:
        """Reach the server by SSH and pin its host key, or hold it to the pinned one."""
        key = await check_server(service.store, actor(service, caller), id)
        return {"id": id, "host_key": key}

    @made.get("/servers/{id}/history", tags=["servers"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def server_history(request: Request, id: ObjectId) -> Response:
        """Every change of its state, with the reason."""
        with service.store.reading() as session:
            found(session, Server, id)
            return tagged(request, {"items": history(session, "server", id)})

    @made.get("/servers/{id}/effective", tags=["servers"], responses=errors(404, 409) | OBJECT, dependencies=[viewer])
    def effective(request: Request, id: ObjectId, role: Annotated[str, Query(max_length=60)]) -> Response:
        """A role's configuration on the server: each value, where it comes from, what it overrode."""
        clean(role)
        with service.store.reading() as session:
            result = service.planner.effective(session, found(session, Server, id), role)
            return tagged(request, {"server": id, "role": result.role.role, "settings": result.explain(),
                                    "problems": list(result.problems)})  # fmt: skip


def _images(made: APIRouter, service: ServerManager, require: Any) -> None:
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    @made.get("/images", tags=["images"], response_model=PageDocument, responses=errors(), dependencies=[viewer])
    def images(request: Request, limit: Limit = 200, after: After = "") -> Response:
        """All images."""
        with service.store.reading() as session:
            return tagged(request, page(session, Image, shown_image, limit=limit, after=after))

    @made.get("/images/{id}", tags=["images"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def image(request: Request, id: ObjectId) -> Response:
        """One image, with the bytes that are done per role."""
        with service.store.reading() as session:
            return tagged(request, shown_image(found(session, Image, id)))

    @made.post("/images", tags=["images"], status_code=202, responses=errors(409))
    async def add_image(document: Document, caller: Caller = operator) -> dict[str, Any]:
        """Begin to add an image; its state says how far it is. `path` may be what an upload answered."""

        def register() -> dict[str, Any]:
            with service.store.writing() as session:
                row = service.images.register(session, actor(service, caller), clean(document))
                session.flush()
                return {"id": row.id, "state": row.state}

        answer = await asyncio.to_thread(register)
        service.images.begin(answer["id"])
        return answer

    @made.delete("/images/{id}", tags=["images"], status_code=202, responses=errors(404, 409))
    async def delete_image(id: ObjectId, caller: Caller = operator) -> dict[str, Any]:
        """Begin to delete an image that nobody uses, from the registry too."""

        def mark() -> None:
            with service.store.writing() as session:
                service.images.mark_deleting(session, actor(service, caller), id)

        await asyncio.to_thread(mark)
        service.images.begin(id)
        return {"id": id, "state": "deleting"}


def _uploads(made: APIRouter, service: ServerManager, require: Any) -> None:
    operator = Depends(require("operator"))

    @made.post(
        "/uploads", tags=["images"], status_code=201, responses=errors(), dependencies=[operator],
        openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string",
                       "format": "binary"}}}, "required": True}},
    )  # fmt: skip
    async def upload(
        request: Request, name: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$")]
    ) -> dict[str, Any]:
        """Take an archive as the raw body; answers the `path` to name in an image."""
        claimed = request.headers.get("Content-Length", "")
        service.room_for(int(claimed) if re.fullmatch(r"[0-9]{1,18}", claimed) else 0)
        place = service.uploads / uuid4().hex
        await asyncio.to_thread(place.mkdir, 0o700)
        size = 0
        try:
            with await asyncio.to_thread((place / name).open, "xb") as file:
                async for block in request.stream():
                    size += len(block)
                    if size > service.upload_limit:
                        raise OutOfResources(f"an upload may have {service.upload_limit:,} bytes")
                    await asyncio.to_thread(file.write, block)
            if size == 0:
                raise InvalidArgument("the upload is empty")
        except BaseException:
            await asyncio.to_thread(_discard, place)
            raise
        return {"path": str(place / name), "bytes": size}


def _discard(place: Path) -> None:
    for each in place.iterdir():
        each.unlink()
    place.rmdir()


def _others(made: APIRouter, service: ServerManager, require: Any) -> None:
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    @made.put("/config", tags=["images"], status_code=202, responses=errors(409))
    async def put_config(document: Document, caller: Caller = operator) -> ConfigDocument:
        """Add everything of `{"image": [...], "cluster": [...], "server": [...]}`, or nothing of it."""
        for key in document:
            if key.removesuffix("s") not in config_file.KINDS:
                raise DocumentError(f"{key!r} is unknown", hint=f"one of {', '.join(config_file.KINDS)}")
        added = await service.put_file(actor(service, caller), clean(document))
        return ConfigDocument(items=[{"kind": kind, "id": id} for kind, id in added.ids], notes=added.notes)

    @made.get("/tags", tags=["tags"], responses=errors() | OBJECT, dependencies=[viewer])
    def get_tags(request: Request) -> Response:
        """The names of `tag1` to `tag7`."""
        with service.store.reading() as session:
            return tagged(request, tags(session))

    @made.put("/tags", tags=["tags"], responses=errors(409))
    def put_tags(document: Document, caller: Caller = operator) -> dict[str, str]:
        """Name tags; an empty name removes one that nobody carries."""
        with service.store.writing() as session:
            return service.objects.put_tags(session, actor(service, caller), clean(document))

    @made.get("/roles", tags=["roles"], responses=errors() | OBJECT, dependencies=[viewer])
    def roles(request: Request) -> Response:
        """All roles, and the JSON Schema of a role file."""
        items = [{"role": r.role, "aliases": list(r.aliases), "title": r.title, "stage": r.stage, "rolling": r.rolling,
                  "ports": list(r.ports), "mounts": [m.host for m in r.mounts]} for r in service.catalogue]  # fmt: skip
        return tagged(request, {"items": items, "schema": role_schema()})

    @made.get("/roles/{role}/schema", tags=["roles"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def schema(request: Request, role: ObjectId) -> Response:
        """The JSON Schema of the role's parameters."""
        known = service.catalogue.find(role)
        if known is None:
            raise NotFound(f"no role {role!r}", hint="GET /v1/roles lists them")
        return tagged(request, parameters_schema(known))


def _administration(made: APIRouter, service: ServerManager, require: Any) -> None:
    admin = Depends(require("admin"))

    @made.post("/registry/gc", tags=["administration"], responses=errors(409, 503))
    async def collect_garbage(caller: Caller = admin) -> GarbageDocument:
        """Free the layers of deleted images. The embedded registry is down for the moment; others are not ours."""
        freed = await service.images.collect_garbage()

        def note() -> None:
            with service.store.writing() as session:
                audit(session, actor(service, caller), "collect garbage", kind="registry", object_id="embedded",
                      detail={"freed_bytes": freed})  # fmt: skip

        await asyncio.to_thread(note)
        return GarbageDocument(freed_bytes=freed)

    @made.get("/audit", tags=["administration"], response_model=PageDocument, responses=errors(), dependencies=[admin])
    def audit_log(limit: Limit = 200, after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0) -> dict[str, Any]:
        """Who did what, the oldest first."""
        with service.store.reading() as session:
            rows = list(session.scalars(select(Audit).where(Audit.id > after).order_by(Audit.id).limit(limit + 1)))
        items = [{"id": r.id, "at": r.at, "who": r.who, "action": r.action, "kind": r.kind, "object": r.object_id,
                  "detail": r.detail} for r in rows[:limit]]  # fmt: skip
        return {"items": items, "next": str(rows[limit - 1].id) if len(rows) > limit else None}

    @made.get("/tokens", tags=["administration"], response_model=PageDocument, responses=errors(), dependencies=[admin])
    def token_list() -> dict[str, Any]:
        """The tokens' names and roles."""
        with service.store.reading() as session:
            rows = list(session.scalars(select(Token).order_by(Token.name)))
        return {"items": [{"name": row.name, "role": row.role, "created": row.created} for row in rows]}

    @made.post("/tokens", tags=["administration"], status_code=201, responses=errors(409))
    def new_token(wanted: NewToken, caller: Caller = admin) -> dict[str, str]:
        """Make a token; it is shown this once."""
        with service.store.writing() as session:
            token = create_token(session, actor(service, caller), clean(wanted.name), wanted.role)
        return {"name": wanted.name, "role": wanted.role, "token": token.reveal()}

    @made.delete("/tokens/{name}", tags=["administration"], status_code=204, responses=errors(404, 409))
    def drop_token(name: ObjectId, caller: Caller = admin) -> None:
        """End a token."""
        with service.store.writing() as session:
            delete_token(session, actor(service, caller), name)

    @made.get(
        "/secrets", tags=["administration"], response_model=PageDocument, responses=errors(), dependencies=[admin]
    )
    def secret_list() -> dict[str, Any]:
        """The names of secrets that documents may refer to as `{"secret": NAME}`."""
        with service.store.reading() as session:
            names = session.scalars(select(Secret.name).where(~Secret.name.contains("/")).order_by(Secret.name))
            return {"items": [{"name": name} for name in names]}

    @made.put("/secrets/{name}", tags=["administration"], status_code=204, responses=errors(409))
    def put_secret(name: ObjectId, secret: SecretValue, caller: Caller = admin) -> None:
        """Keep a secret under a name, encrypted."""
        with service.store.writing() as session:
            service.vault.put(session, name, clean(secret.value))
            audit(session, actor(service, caller), "put", kind="secret", object_id=name)

    @made.delete("/secrets/{name}", tags=["administration"], status_code=204, responses=errors(404, 409))
    def drop_secret(name: ObjectId, caller: Caller = admin) -> None:
        """Delete a secret that nothing refers to."""
        with service.store.writing() as session:
            row = session.get(Secret, name)
            if row is None:
                raise NotFound(f"no secret {name!r}")
            users = [each for each in (*session.scalars(select(Server)), *session.scalars(select(Cluster)))
                     if name in references({"p": each.parameters, "a": each.attributes})]  # fmt: skip
            if users:
                raise InvalidState(f"secret {name} is used by {', '.join(each.id for each in users[:5])}")
            session.delete(row)
            audit(session, actor(service, caller), "delete", kind="secret", object_id=name)
