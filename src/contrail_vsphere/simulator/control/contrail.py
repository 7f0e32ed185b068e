"""The control API of the simulated Contrail: its scenario verbs over HTTP, described by OpenAPI.

A refusal of the simulated API server is a 409 with its text and status, an object that does not exist a 404.
"""

# No postponed annotations here: FastAPI reads them at run time.

from typing import Any, Literal

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.simulator.contrail.answers import RefusedError
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator
from contrail_vsphere.simulator.contrail.store import ApiObject
from contrail_vsphere.simulator.control.api import ClockChange, Fault
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.scenario import plain

BrokerVerb = Literal["stop", "start"]


class Body(BaseModel):
    """Base of request bodies; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class NewProject(Body):
    """A project to create, with an ipam and a default security group."""

    name: str
    uuid: str = ""


class NewNetwork(Body):
    """A network to create; its project is made if it is not there."""

    name: str
    prefix: str = ""
    project: str = "vCenter"
    external_ipam: bool = False


class NewPorts(Body):
    """Ports to create in bulk, without notifications."""

    network: str
    count: int = Field(ge=0, le=200_000)
    prefix: str = "vm"
    creator: str | None = None


class Rename(Body):
    """A new display name."""

    display_name: str


class Restart(Body):
    """How the API servers go down and come back, in simulated seconds."""

    down: float = Field(default=1.0, ge=0)
    starting: float = Field(default=2.0, ge=0)
    empty: bool = False


class Messages(Body):
    """How notifications travel: lose that many of the next (-1: all), and how long they take."""

    lose: int = Field(default=0, ge=-1)
    delay: float | None = Field(default=None, ge=0)
    jitter: float = Field(default=0.0, ge=0)


def make_app(contrail: ContrailSimulator) -> FastAPI:
    """The application."""
    app = FastAPI(title="Simulated Contrail: control", version="1", docs_url=None, redoc_url=None)

    @app.exception_handler(RefusedError)
    async def refused(_request: Any, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": "Refused", "message": error.text, "status": error.status}, status_code=409)

    @app.exception_handler(LookupError)
    async def absent(_request: Any, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": "NotFound", "message": str(error.args[0])}, status_code=404)

    _add_objects(app, contrail)
    _add_service(app, contrail)
    _add_faults(app, contrail)
    return app


def _shown(item: ApiObject) -> dict[str, Any]:
    return {"uuid": item.uuid, "type": item.type.name, "fq_name": list(item.fq_name)}


def _add_objects(app: FastAPI, contrail: ContrailSimulator) -> None:
    scenario = contrail.scenario

    @app.get("/v1/objects/{type_name}")
    async def objects(type_name: str) -> list[dict[str, Any]]:
        """All objects of a type."""
        return [_shown(item) for item in scenario.all(type_name)]

    @app.get("/v1/objects/{type_name}/{name}")
    async def one_object(type_name: str, name: str) -> dict[str, Any]:
        """One object, whole; by uuid or name."""
        return contrail.store.as_dict(scenario.find(type_name, name))

    @app.delete("/v1/objects/{type_name}/{name}", status_code=204)
    async def delete_object(type_name: str, name: str) -> None:
        """Delete one object, as another client of the API would."""
        scenario.delete(scenario.find(type_name, name))

    @app.post("/v1/projects", status_code=201)
    async def create_project(body: NewProject) -> dict[str, Any]:
        """Create a project."""
        return _shown(scenario.create_project(body.name, uuid=body.uuid))

    @app.post("/v1/networks", status_code=201)
    async def create_network(body: NewNetwork) -> dict[str, Any]:
        """Create a network."""
        made = scenario.create_network(body.name, body.prefix, project=body.project, external_ipam=body.external_ipam)
        return _shown(made)

    @app.post("/v1/networks/{network}/rename")
    async def rename_network(network: str, body: Rename) -> dict[str, Any]:
        """Give a network another display name."""
        scenario.rename_network(network, body.display_name)
        return _shown(scenario.find("virtual-network", network))

    @app.delete("/v1/networks/{network}", status_code=204)
    async def delete_network(network: str) -> None:
        """Delete a network that nothing is in."""
        scenario.delete_network(network)

    @app.post("/v1/ports", status_code=201)
    async def create_ports(body: NewPorts) -> dict[str, int]:
        """Create ports in bulk."""
        network = scenario.find("virtual-network", body.network)
        made = contrail.builder.ports(network, body.count, prefix=body.prefix, creator=body.creator)
        return {"created": len(made)}


def _add_service(app: FastAPI, contrail: ContrailSimulator) -> None:
    scenario = contrail.scenario

    @app.get("/v1/stats")
    async def stats() -> dict[str, Any]:
        """Calls per verb and type, objects per type, notifications."""
        outbox = contrail.outbox
        return {
            "calls": {" ".join(filter(None, call)): count for call, count in sorted(contrail.calls.items())},
            "objects": dict(sorted(contrail.store.counts().items())),
            "notifications": {"sent": outbox.sent, "lost": outbox.lost, "pending": outbox.pending},
            "most_concurrent": contrail.most_concurrent,
            "defects": contrail.defects,
        }

    @app.post("/v1/restart", status_code=204)
    async def restart(body: Restart) -> None:
        """All API servers die and come back."""
        await scenario.restart_api(down=body.down, starting=body.starting, empty=body.empty)

    @app.post("/v1/servers/{number}/{verb}", status_code=204)
    async def server(number: int, verb: BrokerVerb) -> None:
        """Stop or start one API server; the first one is 0."""
        if not 0 <= number < len(contrail.doors):
            raise LookupError(f"there is no API server {number}")
        await (scenario.stop_api(number) if verb == "stop" else scenario.start_api(number))

    @app.post("/v1/connections/drop")
    async def drop_connections() -> dict[str, int]:
        """Reset every open connection."""
        return {"dropped": scenario.drop_connections()}

    @app.post("/v1/tokens/expire")
    async def expire_tokens() -> dict[str, int]:
        """Make every token worthless."""
        return {"expired": scenario.expire_tokens()}

    @app.post("/v1/messages", status_code=204)
    async def messages(body: Messages) -> None:
        """Lose, delay or disorder notifications."""
        scenario.lose_messages(body.lose)
        if body.delay is not None:
            scenario.delay_messages(body.delay, jitter=body.jitter)

    @app.get("/v1/clock")
    async def clock() -> dict[str, Any]:
        """Simulated time, and how fast it runs."""
        return {"now": contrail.clock.now().isoformat(), "rate": contrail.clock.rate}

    @app.post("/v1/clock")
    async def change_clock(body: ClockChange) -> dict[str, Any]:
        """Jump ahead, or run at another rate."""
        if body.rate is not None:
            contrail.clock.set_rate(body.rate)
        contrail.clock.advance(body.advance)
        return {"now": contrail.clock.now().isoformat(), "rate": contrail.clock.rate}


def _add_faults(app: FastAPI, contrail: ContrailSimulator) -> None:
    @app.get("/v1/faults")
    async def faults() -> list[dict[str, Any]]:
        """The fault rules in force, and how often each acted."""
        rules = contrail.faults.rules().items()
        return [{"key": key, "acted": acted, "rule": plain(rule)} for key, (rule, acted) in rules]

    @app.post("/v1/faults", status_code=201)
    async def add_fault(body: Fault) -> dict[str, int]:
        """Put a fault rule in force; ``method`` is a verb such as ``create``, ``type`` the dashed type."""
        try:
            return {"key": contrail.faults.add(FaultRule(**body.model_dump()))}
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.delete("/v1/faults", status_code=204)
    async def clear_faults() -> None:
        """Take all fault rules out."""
        contrail.faults.clear()

    @app.delete("/v1/faults/{key}", status_code=204)
    async def remove_fault(key: int) -> None:
        """Take one fault rule out."""
        contrail.faults.remove(key)
