"""The part of the control API that is about VRouterAgents: of a vCenter's guests, or of ``simulate vrouter``."""

# No postponed annotations here: FastAPI reads them at run time.

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

VRouterVerb = Literal["xmpp-up", "xmpp-down", "kill", "restart", "hang", "unhang", "lossy", "lossless"]


def make_app(fleet: VRouterFleet) -> FastAPI:
    """The application of a simulator that has nothing but VRouterAgents."""
    app = FastAPI(title="Simulated VRouterAgents: control", version="1", docs_url=None, redoc_url=None)

    @app.exception_handler(LookupError)
    async def absent(_request: Any, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": "NotFound", "message": str(error.args[0])}, status_code=404)

    add_vrouters(app, lambda: fleet)
    return app


def add_vrouters(
    app: FastAPI, fleet: Callable[[], VRouterFleet], *, act: Callable[[str, str], Awaitable[None]] | None = None
) -> None:
    """Routes under ``/v1/vrouters``; ``fleet`` is asked anew each time, since a reset brings another one.

    ``act`` does a verb, the fleet itself when it is not given; a scenario's own is recorded.
    """

    @app.get("/v1/vrouters")
    async def vrouters() -> list[dict[str, Any]]:
        """Every agent: where it answers, whether it runs, its channels to the control nodes."""
        return [_shown(fleet(), name) for name in fleet().agents]

    @app.get("/v1/vrouters/calls")
    async def calls() -> dict[str, int]:
        """Requests to all agents together: ``POST port``, ``DELETE port``, ``GET Snh_...``."""
        return dict(sorted(fleet().calls.items()))

    @app.post("/v1/vrouters/{agent}/{verb}")
    async def do_with_vrouter(agent: str, verb: VRouterVerb) -> dict[str, Any]:
        """Break or mend one agent; ``kill`` leaves it dead until ``restart``."""
        await (act or fleet().act)(agent, verb)
        return _shown(fleet(), agent)


def _shown(fleet: VRouterFleet, name: str) -> dict[str, Any]:
    agent = fleet.agents[name]
    return {
        "name": name,
        **fleet.ready[name],
        "life": agent.life,
        "forwards": agent.forwards,
        "ports": len(agent.table.ports),
        "active_ports": len(agent.active_ports()),
        "xmpp": {channel.controller: channel.state for channel in agent.channels},
    }
