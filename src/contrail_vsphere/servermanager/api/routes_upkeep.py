"""``/v1``: servers' logs, their restart, and what columns the objects have."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import clean, errors
from contrail_vsphere.servermanager.api.routes_objects import ObjectId, actor
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.tables import Cluster, Image, Server, Tag
from contrail_vsphere.servermanager.upkeep import MOST_BYTES

TABLES: Any = {"server": Server, "cluster": Cluster, "image": Image, "tag": Tag}


class LogFiles(BaseModel):
    """The names of a server's log files."""

    items: list[str]


class LogLines(BaseModel):
    """The end of a log file."""

    file: str
    lines: list[str]


class Boot(BaseModel):
    """What names a server's boot."""

    id: str
    boot: str


class Columns(BaseModel):
    """Name -> type."""

    columns: dict[str, str]


def columns(table: str) -> dict[str, str]:
    """The columns of an object's table."""
    return {each.name: str(each.type) for each in TABLES[table].__table__.columns}


def router(service: ServerManager, require: Any) -> APIRouter:
    """The routes; ``require(role)`` is the dependency that lets callers with that role in."""
    made = APIRouter(prefix="/v1")
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    @made.get("/columns/{table}", tags=["servers"], responses=errors(), dependencies=[viewer])
    def get_columns(table: Literal["server", "cluster", "image", "tag"]) -> Columns:
        """The columns that objects have."""
        return Columns(columns=columns(table))

    @made.get("/servers/{id}/logs", tags=["servers"], responses=errors(404, 409, 503), dependencies=[operator])
    async def logs(id: ObjectId) -> LogFiles:
        """The server's log files, asked of it now."""
        return LogFiles(items=await service.upkeep.log_files(id))

    @made.get("/servers/{id}/log", tags=["servers"], responses=errors(404, 409, 503), dependencies=[operator])
    async def log(
        id: ObjectId,
        file: Annotated[str, Query(max_length=300, description="A name as the list of them has it")],
        size: Annotated[int, Query(alias="bytes", ge=1, le=MOST_BYTES, description="At most, from its end")] = 65536,
    ) -> LogLines:
        """The end of a log file."""
        clean(file)
        return LogLines(file=file, lines=await service.upkeep.log(id, file, size=size))

    @made.get("/servers/{id}/boot", tags=["servers"], responses=errors(404, 409, 503), dependencies=[viewer])
    async def boot(id: ObjectId) -> Boot:
        """Which boot the server is in; another one after a restart."""
        return Boot(id=id, boot=await service.upkeep.boot(id))

    @made.post("/servers/{id}/restart", tags=["servers"], status_code=202, responses=errors(404, 409, 503))
    async def restart(id: ObjectId, caller: Caller = operator) -> Boot:
        """Ask the server to restart; answers the boot that ends."""
        return Boot(id=id, boot=await service.upkeep.restart(actor(service, caller), id))

    return made
