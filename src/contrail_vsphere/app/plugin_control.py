"""The control API of a running plugin: what it sees, what it would do, and why a VM is not connected."""

# No postponed annotations here: FastAPI reads them, and they name things that are local to the functions below.

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHttpError

from contrail_vsphere.app import sandesh_pages
from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.control import _on_error, _on_http_error, _on_invalid, _require
from contrail_vsphere.app.metrics import CONTENT_TYPE, Metrics
from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.app.sandesh_pages import Ends
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.model.errors import ContrailVsphereError, NotFound
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vcenter_plugin.audit import audit
from contrail_vsphere.vcenter_plugin.books.port_states import PortState
from contrail_vsphere.vcenter_plugin.desired import instance_of
from contrail_vsphere.vcenter_plugin.explain import explain
from contrail_vsphere.vcenter_plugin.notices.troubles import FINE
from contrail_vsphere.vcenter_plugin.plan.migration import Migration, migration
from contrail_vsphere.vcenter_plugin.plan.networks import plan_network
from contrail_vsphere.vcenter_plugin.plan.ports import plan_machine
from contrail_vsphere.vcenter_plugin.plugin import VCenterPlugin


def create_app(
    *,
    reigns: Reigns[VCenterPlugin],
    tokens: TokenFile,
    health: HealthBook,
    metrics: Metrics,
    ends: Ends,
    local: bool,
) -> FastAPI:
    """The ASGI application; serve it with ``control_server.ControlServer``.

    ``local``: only this machine can ask, so that introspect pages with tenants' data need no token, as ever.
    """
    app = FastAPI(title="contrail-vsphere plugin API", version="1", docs_url=None, redoc_url=None)
    app.include_router(_probes(reigns))
    app.include_router(_readings(reigns, tokens, health, metrics))
    app.include_router(_commands(reigns, tokens))
    app.include_router(_introspect(reigns, ends, [] if local else [Depends(_require(tokens, "viewer"))]))
    app.add_exception_handler(ContrailVsphereError, _on_error)
    app.add_exception_handler(AnyHttpError, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    return app


def _probes(reigns: Reigns[VCenterPlugin]) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="The plugin does its work")
    async def readyz(response: Response) -> dict[str, Any]:
        missing = reigns.not_ready()
        response.status_code = 503 if missing else 200
        return {"ready": not missing, "missing": missing}

    return router


def _introspect(reigns: Reigns[VCenterPlugin], ends: Ends, access: list[Any]) -> APIRouter:
    router = APIRouter(tags=["introspect"])

    def page(document: bytes) -> Response:
        return Response(document, media_type="text/xml")

    @router.get("/Snh_VCenterPluginInfo", summary="For contrail-status: master or backup, and what is connected")
    async def info() -> Response:
        return page(sandesh_pages.plugin_info(reigns, ends))

    @router.get("/Snh_VirtualMachineRequest", summary="As of contrail-vcenter-manager", dependencies=access)
    async def machines(uuid: str = "", name: str = "") -> Response:
        return page(sandesh_pages.machines(reigns.acting, uuid=uuid, name=name))

    @router.get("/Snh_VirtualNetworkRequest", summary="As of contrail-vcenter-manager", dependencies=access)
    async def networks(uuid: str = "", key: str = "") -> Response:
        return page(sandesh_pages.networks(reigns.acting, uuid=uuid, key=key))

    @router.get("/Snh_VirtualMachineInterfaceRequest", summary="As of contrail-vcenter-manager", dependencies=access)
    async def interfaces(uuid: str = "") -> Response:
        return page(sandesh_pages.interfaces(reigns.acting, uuid=uuid))

    return router


def _readings(reigns: Reigns[VCenterPlugin], tokens: TokenFile, health: HealthBook, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["read"], dependencies=[Depends(_require(tokens, "viewer"))])

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def get_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @router.get("/v1/reign", summary="Whether this process acts, or stands by for another one")
    async def reign() -> dict[str, Any]:
        return {"leads": reigns.leads, "epoch": reigns.epoch, "begun": reigns.begun, "missing": reigns.not_ready()}

    @router.get("/v1/status", summary="Networks, ports and hosts, and what is wrong with them")
    async def status() -> dict[str, Any]:
        return status_of(reigns.acting, health)

    @router.get("/v1/plan", summary="What the plugin would do now, with reasons")
    async def plan() -> dict[str, Any]:
        return plan_of(reigns.acting)

    @router.get("/v1/audit", summary="Whether vCenter, Contrail and the ledger agree")
    async def get_audit() -> dict[str, Any]:
        plugin = reigns.acting
        await plugin.refresh()
        found = audit(plugin.observed)
        return {"findings": [asdict(each) for each in found], "good": not found}

    @router.get("/v1/adoption", summary="What predecessors left that can be taken over, and what that changes")
    async def adoption(network: Annotated[list[str] | None, Query()] = None) -> dict[str, Any]:
        plugin = reigns.acting
        await plugin.refresh()
        return adoption_of(migration(plugin.observed, networks=network or ()))

    @router.get("/v1/explain", summary="Why a VM is not connected")
    async def get_explain(vm: Annotated[str, Query(description="Name, moid or instance UUID")]) -> dict[str, Any]:
        return explain_of(reigns.acting, vm)

    @router.get("/v1/hosts/{host}/readiness", summary="Whether the host's vRouter forwards, and has all its ports")
    async def readiness(host: str) -> dict[str, Any]:
        plugin = reigns.acting
        if plugin.hosts.sight(HostId(host)) is None:
            raise NotFound(f"vCenter has no host {host}")
        return asdict(plugin.readiness(HostId(host)))

    return router


def _commands(reigns: Reigns[VCenterPlugin], tokens: TokenFile) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["change"], dependencies=[Depends(_require(tokens, "operator"))])

    @router.post("/resync", summary="Read everything again and look at every key")
    async def resync() -> dict[str, Any]:
        await reigns.acting.resync()
        return {"changes": ["everything is looked at again"]}

    @router.post("/adoption", summary="Take over what predecessors left")
    async def adopt(network: Annotated[list[str] | None, Query()] = None) -> dict[str, Any]:
        return adoption_of(await reigns.acting.adopt(network or ()))

    @router.post("/brakes/plugin/release", summary="Approve the deletions that the brake refused")
    async def release(reason: Annotated[str, Query()] = "") -> dict[str, Any]:
        plugin = reigns.acting
        if not plugin.brake.state.engaged:
            raise HTTPException(409, "the brake is not engaged")
        released = plugin.brake.release(by="operator", reason=reason)
        plugin.controller.mark_all()
        return {"changes": [f"may be deleted: {key}" for key in released]}

    return router


def status_of(plugin: VCenterPlugin, health: HealthBook) -> dict[str, Any]:
    """The whole picture, as the command line shows it."""
    observed, controller = plugin.observed, plugin.controller
    networks = []
    for network in sorted(observed.networks(), key=str):
        sight = observed.network(network)
        value = sight.network
        name = ":".join(value.fq_name) if value is not None else str(network)
        groups = [group.name for group in sight.groups]
        ports = sum(len(users) for users in sight.users.values())
        reason = controller.pending_deletes.get(network, "")
        networks.append({"uuid": str(network), "name": name, "port_groups": groups, "vms": ports, "waits_for": reason})
    ports_shown = [_port(plugin, health, port) for port in controller.ports()]
    hosts = [
        {**asdict(host), "vlans_free": plugin.capacity(host.id).free, **asdict(plugin.readiness(host.id))}
        for host in plugin.hosts.sights()
    ]
    brake, tally = plugin.brake.state, plugin.applier.tally
    return {
        "networks": networks,
        "ports": ports_shown,
        "hosts": hosts,
        "brake": {"engaged": brake.engaged, "reason": brake.reason, "refused": list(brake.refused)},
        "problems": [f"{each.source} {each.key}: {each.reason}" for each in health.bad()],
        "done": dict(tally.done),
        "moves": tally.moves,
        "plug_ms": _percentiles(tally.plug_seconds),
        "troubles": [each.text for each in plugin.troubles()],
        "missing": list(plugin.not_ready()),
    }


def _port(plugin: VCenterPlugin, health: HealthBook, port: PortState) -> dict[str, Any]:
    """One port; where nothing is waited for and it is not active, the reason is what failed last for its VM."""
    entry = health.get("vm", port.id.vm)
    failed = entry.reason if entry is not None and entry.bad and port.state not in FINE else ""
    host = plugin.observed.vsphere.hosts.get(port.host) if port.host is not None else None
    return {
        **asdict(port),
        "id": str(port.id),
        "reason": port.reason or failed,
        "host_name": host.name if host is not None else "",
        "vlan": _vlan(plugin, port.id, port.host),
    }


def _percentiles(seconds: Iterable[float]) -> dict[str, float | None]:
    """From when a running card needs a plug, and nobody else is waited for, until its VRouterAgent has confirmed it."""
    times = sorted(seconds)
    return {
        name: round(times[min(len(times) - 1, int(len(times) * share))] * 1000, 1) if times else None
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def _vlan(plugin: VCenterPlugin, port: Any, host: HostId | None) -> int | None:
    return plugin.vlans.of(port).get(host) if host is not None else None


def plan_of(plugin: VCenterPlugin) -> dict[str, Any]:
    """Every action that is due now, and every wait."""
    observed, controller = plugin.observed, plugin.controller
    rows: list[dict[str, Any]] = []
    for network in sorted(observed.networks(), key=str):
        for action in plan_network(observed.network(network), controller.network_policy):
            rows.append({"key": f"network {network}", "verb": action.verb, "reason": action.reason})
    for number in sorted(observed.machines()):
        machine = UUID(int=number)
        sight = observed.machine(machine)
        for each in plan_machine(sight, controller.port_policy) if sight is not None else ():
            rows.append({"key": f"vm {sight.name if sight else machine}", "verb": each.verb, "reason": each.reason})
    return {
        "actions": [row for row in rows if row["verb"] != "Wait"],
        "waits": [r for r in rows if r["verb"] == "Wait"],
    }


def adoption_of(found: Migration) -> dict[str, Any]:
    """Port groups with what changes, interfaces with what they keep, and what is left alone."""
    return {
        "port_groups": [
            {
                "network": each.name, "port_group": each.group.name, "switch": each.switch.name,
                "vms": list(each.users), "now": list(each.now), "later": list(each.later),
                "obstacle": each.obstacle,
            }
            for each in found.groups
        ],
        "interfaces": [
            {
                "vm": each.vm, "nic": each.nic, "uuid": str(each.vmi.uuid), "made_by": each.vmi.creator,
                "macs": list(each.vmi.macs), "addresses": list(each.addresses), "vlan": each.vlan,
            }
            for each in found.interfaces
        ],
        "left_alone": [{**asdict(each), "uuid": str(each.uuid)} for each in found.leftovers],
    }  # fmt: skip


def explain_of(plugin: VCenterPlugin, name: str) -> dict[str, Any]:
    """The chain of checks of every card. NotFound for a VM that vCenter does not have."""
    vms: Callable[[], Any] = plugin.vcenter.inventory.vms.values
    found = [vm for vm in vms() if name in (vm.id, vm.name, vm.instance_uuid)]
    if not found:
        raise NotFound(f"vCenter has no VM {name}", hint="give its name, moid or instance UUID")
    return {"vms": [_explained(plugin, vm) for vm in found]}


def _explained(plugin: VCenterPlugin, vm: VirtualMachine) -> dict[str, Any]:
    instance = instance_of(vm)
    sight = plugin.observed.machine(instance) if instance is not None else None
    cards = [{**asdict(card), "broken": card.broken} for card in explain(vm, sight)]
    return {"vm": vm.id, "name": vm.name, "host": vm.host, "cards": cards}
