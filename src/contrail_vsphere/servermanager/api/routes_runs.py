"""``/v1``: plans and runs."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from contrail_vsphere.model.errors import NotFound
from contrail_vsphere.servermanager.access import Caller
from contrail_vsphere.servermanager.api.answers import (
    PageDocument,
    Tagged,
    answer_of,
    clean,
    errors,
    has,
    tagged,
    with_tag,
)
from contrail_vsphere.servermanager.api.remembered import Remembered
from contrail_vsphere.servermanager.api.routes_objects import OBJECT, After, Limit, ObjectId, actor, page
from contrail_vsphere.servermanager.planner import Order
from contrail_vsphere.servermanager.provision import PROVISION
from contrail_vsphere.servermanager.records import history
from contrail_vsphere.servermanager.runs import EngineToSetUp
from contrail_vsphere.servermanager.service import ServerManager
from contrail_vsphere.servermanager.tables import Plan, Run

Wait = Annotated[float, Query(ge=0, le=20, description="Seconds to wait for another answer than that of If-None-Match")]


class OrderDocument(BaseModel):
    """What to provision: a cluster, or servers of one."""

    model_config = ConfigDict(extra="forbid")

    cluster: str = Field(default="", max_length=200)
    servers: list[str] = Field(default_factory=list, max_length=5000)
    image: str = Field(default="", max_length=200, description="Empty: the cluster's")
    roles: dict[str, list[str]] = Field(default_factory=dict, description="Role -> servers that get it")
    without: dict[str, list[str]] = Field(default_factory=dict, description="Role -> servers that lose it")
    lasting: bool = Field(
        default=False, description="The servers keep `roles` and `without`; else these are for this run"
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="As `provision.containers`, above all layers")

    engine: EngineToSetUp = Field(default="", description="Container engine to install first; empty: none")

    def order(self) -> Order:
        """As the planner takes it."""
        clean(self.model_dump())
        return Order(
            self.cluster, tuple(self.servers), self.image, roles=self.roles, without=self.without,
            lasting=self.lasting, overrides=self.overrides, engine=self.engine,
        )  # fmt: skip


class ProvisionDocument(OrderDocument):
    """As an order, and the plan it must still be."""

    plan: str = Field(default="", max_length=64, description="Hash of the plan that was looked at")


def shown_run(row: Run) -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        "id": row.id, "kind": row.kind, "cluster": row.cluster_id, "plan": row.plan_hash, "servers": row.servers,
        "state": row.state, "reason": row.reason, "since": row.since, "started": row.started,
        "hosts": row.hosts, "who": row.who,
    }  # fmt: skip


def router(service: ServerManager, require: Any, remembered: Remembered) -> APIRouter:
    """The routes; ``require(role)`` is the dependency that lets callers with that role in."""
    made = APIRouter(prefix="/v1")
    viewer, operator = Depends(require("viewer")), Depends(require("operator"))

    @made.post("/plan", tags=["runs"], responses=errors(404, 409) | {200: {"model": dict[str, Any]}})
    def make_plan(request: Request, wanted: OrderDocument, caller: Caller = operator) -> Response:
        """What a provision would do, and why; stored under its hash."""
        return tagged(request, service.provisioner.plan(actor(service, caller), wanted.order()))

    @made.get("/plans/{hash}", tags=["runs"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def get_plan(request: Request, hash: ObjectId) -> Response:
        """A plan that was made."""
        with service.store.reading() as session:
            row = session.get(Plan, hash)
            if row is None:
                raise NotFound(f"no plan {hash!r}")
            return tagged(request, row.document)

    @made.post("/provision", tags=["runs"], status_code=202, responses=errors(404, 409, 502, 503))
    async def provision(wanted: ProvisionDocument, caller: Caller = operator) -> dict[str, str]:
        """Begin a run."""
        order = wanted.order()
        run_id = await service.provisioner.provision(actor(service, caller), order, plan_hash=wanted.plan)
        return {"id": run_id, "state": "queued"}

    @made.post("/drift", tags=["runs"], status_code=202, responses=errors(404, 409, 502, 503))
    async def look_for_drift(wanted: OrderDocument, caller: Caller = operator) -> dict[str, str]:
        """Begin a run that changes nothing and tells, per server, what is not as it was put there."""
        run_id = await service.provisioner.look_for_drift(actor(service, caller), wanted.order())
        return {"id": run_id, "state": "queued"}

    @made.get("/runs", tags=["runs"], response_model=PageDocument, responses=errors(), dependencies=[viewer])
    def runs(request: Request, limit: Limit = 200, after: After = "", cluster: After = "") -> Response:
        """All runs, or those of a cluster, in the order of their ids."""
        by = {"cluster_id": cluster} if cluster else {}
        with service.store.reading() as session:
            return tagged(request, page(session, Run, shown_run, limit=limit, after=after, **by))

    @made.get("/clusters/{id}/last-run", tags=["runs"], responses=errors(404) | OBJECT, dependencies=[viewer])
    def last_run(request: Request, id: ObjectId) -> Response:
        """The provisioning of a cluster that began last."""
        with service.store.reading() as session:
            mine = select(Run).where(Run.cluster_id == id, Run.kind == PROVISION)
            row = session.scalar(mine.order_by(Run.started.desc()).limit(1))
            if row is None:
                raise NotFound(f"nothing was provisioned in cluster {id!r}")
            return tagged(request, shown_run(row))

    @made.get("/runs/{id}", tags=["runs"], responses=errors(404) | OBJECT, dependencies=[viewer])
    async def run(request: Request, id: ObjectId, wait: Wait = 0.0) -> Response:
        """One run: where servers and roles stand, and its history. To watch: ask with `If-None-Match` and `wait`."""

        def read() -> Tagged:
            with service.store.reading() as session:
                row = session.get(Run, id)
                if row is None:
                    raise NotFound(f"no run {id!r}")
                return with_tag({**shown_run(row), "history": history(session, "run", id)})

        made = await remembered.other(("run", id), read, than=lambda answer: has(request, answer), wait=wait)
        return answer_of(request, made)

    @made.post("/runs/{id}/cancel", tags=["runs"], status_code=202, responses=errors(404, 409, 502, 503))
    async def cancel(id: ObjectId, caller: Caller = operator) -> dict[str, str]:
        """Ask a run to end."""
        await service.provisioner.cancel(actor(service, caller), id)
        return {"id": id}

    @made.post("/runs/{id}/retry", tags=["runs"], status_code=202, responses=errors(404, 409, 502, 503))
    async def retry(id: ObjectId, caller: Caller = operator) -> dict[str, str]:
        """A new run for those servers of a finished one that did not complete."""
        order = await asyncio.to_thread(service.provisioner.retry_order, id)
        return {"id": await service.provisioner.provision(actor(service, caller), order), "state": "queued"}

    return made
