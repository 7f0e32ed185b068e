"""The control API: the scenario verbs over HTTP, described by OpenAPI.

Verbs answer when they are done, with what became of the object; a refusal of the simulated vCenter is a 409 with the
fault's name, an object that does not exist a 404.
"""

# No postponed annotations here: FastAPI reads them at run time.

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from contrail_vsphere.model.errors import UsageError
from contrail_vsphere.simulator.control.inventory import add_inventory
from contrail_vsphere.simulator.control.page import PAGE, PAGE_HEADERS
from contrail_vsphere.simulator.control.vrouters import add_vrouters
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.scenario import Scenario, plain
from contrail_vsphere.wire.soap.fault import SoapFault

HostVerb = Literal[
    "enter-maintenance", "exit-maintenance", "disconnect", "reconnect", "lose", "crash", "boot", "standby", "wake"
]
VmVerb = Literal["power-on", "power-off", "suspend", "reset"]


class Body(BaseModel):
    """Base of request bodies; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class NewHost(Body):
    """A host to add."""

    name: str
    cluster: str = ""


class NewVm(Body):
    """A tenant virtual machine to create."""

    name: str
    host: str = ""
    nics: int = Field(default=1, ge=0, le=10)
    power_on: bool = True


class Rename(Body):
    """A new name."""

    name: str


class Move(Body):
    """Where to."""

    host: str


class Fault(Body):
    """A fault rule; see ``FaultRule`` for what the fields mean."""

    method: str = ""
    point: str = ""
    type: str = ""
    moid: str = ""
    name: str = ""
    user: str = ""
    where: dict[str, str] = {}
    fault: str = ""
    fields: dict[str, Any] = {}
    message: str = ""
    http_status: int = 0
    delay: float = Field(default=0, ge=0)
    drop: bool = False
    drop_reply: bool = False
    truncate: int = -1
    skip: int = 0
    times: int | None = None
    probability: float = Field(default=1.0, ge=0, le=1)


class Switch(Body):
    """A switch and its position, as text."""

    name: str
    value: str


class ClockChange(Body):
    """Seconds to jump ahead, and a new rate."""

    advance: float = Field(default=0, ge=0)
    rate: float | None = Field(default=None, gt=0)


def make_app(scenario: Scenario, *, token: str = "") -> FastAPI:
    """The application; with a ``token`` every request must carry it as a bearer token."""

    async def admit(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and not hmac.compare_digest(given, token):
            raise HTTPException(401, "the control token is missing or wrong")

    app = FastAPI(
        title="Simulated vCenter: control", version="1", dependencies=[Depends(admit)], docs_url=None, redoc_url=None
    )

    @app.exception_handler(SoapFault)
    async def refused(_request: Request, error: SoapFault) -> JSONResponse:
        return JSONResponse({"error": error.kind, "message": error.message}, status_code=409)

    @app.exception_handler(LookupError)
    async def absent(_request: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": "NotFound", "message": str(error.args[0])}, status_code=404)

    _add_hosts(app, scenario)
    _add_vms(app, scenario)
    _add_service(app, scenario)
    _add_view(app, scenario)
    add_inventory(app, scenario)
    add_vrouters(app, lambda: scenario.vrouters, act=scenario.vrouter)
    return app


def _add_view(app: FastAPI, scenario: Scenario) -> None:
    # A plain route, outside of FastAPI's dependencies: the page is no secret, what it shows then asks for the token.
    app.add_route("/", lambda _request: HTMLResponse(PAGE, headers=PAGE_HEADERS), include_in_schema=False)

    @app.get("/v1/view")
    async def view(after: int = -1, wait: Annotated[float, Query(ge=0, le=60)] = 0) -> dict[str, Any]:
        """The inventory at a glance; with ``after`` (the ``seq`` of the last answer) not before something changed.

        ``wait``: most seconds to wait for that.
        """
        shown = scenario.view()
        if wait and shown["seq"] == after:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(scenario.changed_after(after), wait)
            shown = scenario.view()
        return shown

    @app.get("/v1/view/{moid}")
    async def view_of(moid: str) -> dict[str, Any]:
        return scenario.view_of(moid)


def _shown(entity: Any) -> dict[str, Any]:
    state = ("connection_state", "power_state", "in_maintenance")
    return {"id": entity.moid, "name": entity.name} | {
        name: getattr(entity, name) for name in state if hasattr(entity, name)
    }


def _add_hosts(app: FastAPI, scenario: Scenario) -> None:
    verbs: Mapping[str, Callable[[Any], Awaitable[None]]] = {
        "enter-maintenance": scenario.enter_maintenance,
        "exit-maintenance": scenario.exit_maintenance,
        "disconnect": scenario.disconnect_host,
        "reconnect": scenario.reconnect_host,
        "lose": scenario.lose_host,
        "crash": scenario.crash_host,
        "boot": scenario.boot_host,
        "standby": scenario.standby_host,
        "wake": scenario.wake_host,
    }

    @app.get("/v1/hosts")
    async def hosts() -> list[dict[str, Any]]:
        """All hosts."""
        return [_shown(host) for host in scenario.hosts()]

    @app.post("/v1/hosts", status_code=201)
    async def add_host(body: NewHost) -> dict[str, Any]:
        """Add a host to a cluster, the first one when none is named."""
        return _shown(await scenario.add_host(body.name, body.cluster))

    @app.delete("/v1/hosts/{host}", status_code=204)
    async def remove_host(host: str) -> None:
        """Remove a host that is disconnected or in maintenance mode."""
        await scenario.remove_host(host)

    @app.post("/v1/hosts/{host}/{verb}")
    async def do_with_host(host: str, verb: HostVerb) -> dict[str, Any]:
        """What happens to a host; answers when it is done."""
        found = scenario.host(host)
        await verbs[verb](found)
        return _shown(found)


def _add_vms(app: FastAPI, scenario: Scenario) -> None:
    verbs: Mapping[str, Callable[[Any], Awaitable[None]]] = {
        "power-on": scenario.power_on,
        "power-off": scenario.power_off,
        "suspend": scenario.suspend,
        "reset": scenario.reset_vm,
    }

    @app.get("/v1/vms")
    async def vms() -> list[dict[str, Any]]:
        """All virtual machines."""
        return [_shown(vm) | {"host": vm.host.name if vm.host is not None else ""} for vm in scenario.vms()]

    @app.post("/v1/vms", status_code=201)
    async def create_vm(body: NewVm) -> dict[str, Any]:
        """Create a tenant VM."""
        made = await scenario.create_vm(body.name, host=body.host, nics=body.nics, power_on=body.power_on)
        return _shown(made)

    @app.delete("/v1/vms/{vm}", status_code=204)
    async def delete_vm(vm: str) -> None:
        """Power it off if need be and delete it with its files."""
        await scenario.delete_vm(vm)

    @app.post("/v1/vms/{vm}/rename")
    async def rename_vm(vm: str, body: Rename) -> dict[str, Any]:
        """Give it another name."""
        found = scenario.vm(vm)
        await scenario.rename_vm(found, body.name)
        return _shown(found)

    @app.post("/v1/vms/{vm}/move")
    async def move_vm(vm: str, body: Move) -> dict[str, Any]:
        """Move it to another host."""
        found = scenario.vm(vm)
        await scenario.move_vm(found, body.host)
        return _shown(found)

    @app.post("/v1/vms/{vm}/{verb}")
    async def do_with_vm(vm: str, verb: VmVerb) -> dict[str, Any]:
        """Power it on or off, suspend or reset it."""
        found = scenario.vm(vm)
        await verbs[verb](found)
        return _shown(found)


def _add_service(app: FastAPI, scenario: Scenario) -> None:
    @app.get("/v1/stats")
    async def stats() -> dict[str, Any]:
        """Calls per method, sessions, objects, defects of the simulator."""
        return scenario.stats()

    @app.get("/v1/snapshot")
    async def snapshot() -> dict[str, Any]:
        """The whole inventory as plain data."""
        return scenario.snapshot()

    @app.get("/v1/faults")
    async def faults() -> list[dict[str, Any]]:
        """The fault rules in force, and how often each acted."""
        return [{"key": key, "acted": acted, "rule": plain(rule)} for key, (rule, acted) in scenario.faults().items()]

    @app.post("/v1/faults", status_code=201)
    async def add_fault(body: Fault) -> dict[str, int]:
        """Put a fault rule in force; answers its key."""
        try:
            return {"key": scenario.add_fault(FaultRule(**body.model_dump()))}
        except KeyError as error:
            raise LookupError(f"the API has no fault {error.args[0]}") from error
        except TypeError as error:
            raise HTTPException(422, f"the fault cannot be made: {error}") from error

    @app.delete("/v1/faults", status_code=204)
    async def clear_faults() -> None:
        """Take all fault rules out."""
        scenario.clear_faults()

    @app.delete("/v1/faults/{key}", status_code=204)
    async def remove_fault(key: int) -> None:
        """Take one fault rule out."""
        scenario.remove_fault(key)

    @app.get("/v1/clock")
    async def clock() -> dict[str, Any]:
        """Simulated time, and how fast it runs."""
        return scenario.clock()

    @app.post("/v1/clock")
    async def change_clock(body: ClockChange) -> dict[str, Any]:
        """Jump ahead, or run at another rate."""
        if body.rate is not None:
            scenario.set_clock_rate(body.rate)
        scenario.advance_clock(body.advance)
        return scenario.clock()

    @app.get("/v1/switches")
    async def switches() -> dict[str, Any]:
        """Name and position of every switch."""
        return scenario.switches()

    @app.post("/v1/switches")
    async def set_switch(body: Switch) -> dict[str, Any]:
        """Put a switch into another position; it counts from then on."""
        try:
            scenario.set_switch(body.name, body.value)
        except UsageError as error:
            raise HTTPException(422, f"{error.message}; {error.hint}") from error
        return {body.name: scenario.switches()[body.name]}

    @app.post("/v1/eam/restart", status_code=204)
    async def restart_eam() -> None:
        """EAM goes down and comes back."""
        await scenario.restart_eam()

    @app.post("/v1/connections/drop")
    async def drop_connections() -> dict[str, int]:
        """Reset every open connection."""
        return {"dropped": await scenario.drop_connections()}

    @app.post("/v1/sessions/expire")
    async def expire_sessions() -> dict[str, int]:
        """End every session."""
        return {"expired": scenario.expire_sessions()}

    @app.post("/v1/reset", status_code=204)
    async def reset() -> None:
        """Begin anew, at the same addresses."""
        await scenario.reset()
