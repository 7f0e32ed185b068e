"""How the seed era's answers look, which rows its queries mean, and its codes for what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import AlreadyExists, ContrailVsphereError, DocumentError, InvalidArgument, NotFound
from contrail_vsphere.servermanager import documents, filters
from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import clean, plain
from contrail_vsphere.servermanager.api.seed_era_words import (
    BAD_KEY,
    EXISTS,
    GENERAL,
    NOT_FOUND,
    PLAIN,
    SERVER_KEYS,
    SeedEraError,
)
from contrail_vsphere.servermanager.image_rows import shown_image
from contrail_vsphere.servermanager.objects import shown_cluster, shown_server
from contrail_vsphere.servermanager.records import Actor
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.states import SEED_ERA_STATUS, ServerState
from contrail_vsphere.servermanager.tables import Cluster, Image, Server

Work = Callable[[Session, Actor], Any]


class Era:
    """Runs units of work and turns their ends into the era's answers."""

    def __init__(self, service: ServerManager) -> None:
        self.service = service

    async def read(self, work: Callable[[Session], Any]) -> Response:
        """Answer with what a reading finds, as it is."""

        def unit() -> Any:
            with self.service.store.reading() as session:
                return work(session)

        return await self._told(lambda: asyncio.to_thread(unit), wrapped=False)

    async def write(self, caller: Caller, work: Work, message: str) -> Response:
        """Answer with ``message`` when the unit of work is kept."""

        def unit() -> Any:
            with self.service.store.writing() as session:
                return work(session, Actor(caller.name, self.service.now()))

        return await self._told(lambda: asyncio.to_thread(unit), wrapped=True, message=message)

    async def do(self, work: Callable[[], Awaitable[Any]]) -> Response:
        """Answer with what the coroutine returns, as it is."""
        return await self._told(work, wrapped=False)

    async def _told(self, work: Callable[[], Awaitable[Any]], *, wrapped: bool, message: str = "") -> Response:
        try:
            result = await work()
        except SeedEraError as error:
            return failure(error.code, str(error))
        except DocumentError as error:
            return failure(GENERAL, "; ".join(error.problems))
        except ContrailVsphereError as error:
            kind = next((word for word in EXISTS if word in error.message.lower()), "")
            code = GENERAL
            if isinstance(error, NotFound):
                code = NOT_FOUND.get(kind, GENERAL)
            elif isinstance(error, AlreadyExists):
                code = EXISTS.get(kind, GENERAL)
            return failure(code, str(error))
        if not wrapped:
            return answered(result)
        return answered({"return_code": 0, "return_msg": message, "return_data": result})


def failure(code: int, message: str) -> Response:
    """Whatever went wrong is a 404."""
    return answered({"return_code": code, "return_msg": message, "return_data": None}, 404)


def answered(value: Any, status: int = 200) -> Response:
    """JSON under the name of HTML: sorted, indented by four."""
    text = json.dumps(json.loads(plain(value)), sort_keys=True, indent=4)
    return Response(text, status_code=status, media_type="text/html")


async def body_of(request: Request) -> dict[str, Any]:
    """The request's document; ``DocumentError`` if it is none."""
    document: dict[str, Any] = clean(documents.parse(await request.body()))
    return document


def selected(session: Session, query: dict[str, str], *, kind: str, some: bool = False) -> list[Any]:
    """The rows that the query names, all without one; the era's codes for keys it does not know.

    ``some``: none found is a failure, as it was for what deletes or starts something. Asked whether an object is there,
    the era answered with an empty list, and its client asks that before every add.
    """
    table: Any = {"server": Server, "cluster": Cluster, "image": Image}[kind]
    keys = (*SERVER_KEYS, "discovered") if kind == "server" else ("id",)
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
        elif key == "discovered":
            # Nothing is discovered here: every server was added.
            rows = rows if value.lower() == "false" else []
        else:
            value = documents.normal_mac(value) if key == "mac_address" else value  # noqa: PLW2901
            rows = [row for row in rows if getattr(row, key) == value]
        if some and not rows:
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


def told_as(row: Any, query: dict[str, str], kind: str) -> dict[str, Any]:
    """The fields that ``select`` names, all with ``detail``, else those the era showed."""
    shown = _shown(row, kind)
    if "select" in query:
        fields = query["select"].split(",")
    elif "detail" in query:
        # Every column of the era is there, set or not: its client looks each of them up.
        told = {**dict.fromkeys(documents.FIELDS[kind], ""), **shown}
        return {**told, "email": ",".join(documents.emails(told["email"]))} if "email" in told else told
    else:
        fields = ["id", "mac_address", "ip_address"] if kind == "server" else ["id"]
    return {field: shown.get(field, "") for field in fields}
