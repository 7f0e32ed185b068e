"""The control API through its ASGI application: roles, documents, errors, OpenAPI."""

from datetime import UTC, datetime
from random import Random

import httpx
import pytest

from contrail_vsphere.app import control_schema as schema
from contrail_vsphere.app.access import TokenFile
from contrail_vsphere.app.control import create_app
from contrail_vsphere.app.metrics import Metrics
from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.engine.reconcile import Controller, Done
from contrail_vsphere.model.errors import BrakeEngaged, DesiredStateError, InvalidState, NotFound, Unreachable
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.model.protocols import HostEntry, ReadinessState

pytestmark = pytest.mark.looptime


def now():
    return datetime(2026, 1, 1, tzinfo=UTC)


class Target:
    """A manager with one host; records what it is told to do."""

    def __init__(self):
        self.missing = ("vcenter lab: no connection",)
        self.told = []
        self.error = None

    def not_ready(self):
        return self.missing

    def hosts(self):
        return (HostEntry(HostId("host-7"), "esx-00", VmId("vm-9"), "50-1", "1.0.0", "127.1.0.1", "healthy"),)

    async def readiness(self, host):
        return ReadinessState(forwards=False, synced=True, reason="no controller")

    def status(self):
        unit = schema.UnitStatus(deployment="dc1", cluster="domain-c8", host="host-7", state="healthy")
        return schema.StatusDocument(
            converged=True,
            deployments=(
                schema.DeploymentStatus(deployment="dc1", cluster="domain-c8", status="green", units=(unit,)),
            ),
        )

    def plan(self):
        action = schema.ActionDocument(deployment="dc1", cluster="domain-c8", action="resolve", reason="VmPoweredOff")
        return schema.PlanDocument(actions=(action,))

    async def _do(self, *what):
        if self.error is not None:
            raise self.error
        self.told.append(what)
        return schema.Outcome(changes=("done",))

    async def apply(self, application, *, by):
        return await self._do("apply", application.document, application.dry_run, by)

    async def remove(self, deployment, *, by):
        return await self._do("remove", deployment, by)

    async def upgrade(self, deployment, upgrade, *, by):
        return await self._do("upgrade", deployment, upgrade.to, upgrade.dry_run, by)

    async def rollback(self, deployment, rollback, *, by):
        return await self._do("rollback", deployment, rollback.dry_run, by)

    async def steer_rollout(self, deployment, step, *, by):
        return await self._do("steer", deployment, step, by)

    async def pause(self, selection, *, by):
        return await self._do("pause", selection.deployment, by)

    async def resume(self, selection, *, by):
        return await self._do("resume", selection.deployment, by)

    async def resolve(self, selection, *, by):
        return await self._do("resolve", selection.host, by)

    async def approve(self, approval, *, by):
        return await self._do("approve", approval.issues, by)

    async def release_brake(self, name, *, by, reason):
        return await self._do("release", name, reason, by)


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def tokens(tmp_path):
    return TokenFile(tmp_path / "control.tokens")


@pytest.fixture
def health():
    return HealthBook(now)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
async def client(target: schema.ControlTarget, tokens, health, metrics):
    app = create_app(target=target, tokens=tokens, health=health, metrics=metrics)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://manager") as client:
        yield client


def bearer(tokens, role):
    lines = [line.split() for line in tokens.path.read_text().splitlines()]
    return {"Authorization": f"Bearer {next(token for name, _, token in lines if name == role)}"}


READINGS = ["/metrics", "/v1/status", "/v1/plan", "/v1/health", "/v1/hosts", "/v1/hosts/host-7/readiness"]
COMMANDS = {
    "/v1/apply": ({"document": "[deployment.x]"}, ("apply", "[deployment.x]", False, "operator")),
    "/v1/deployments/dc1/remove": ({"confirm": "dc1"}, ("remove", "dc1", "operator")),
    "/v1/pause": ({"deployment": "dc1"}, ("pause", "dc1", "operator")),
    "/v1/resume": ({}, ("resume", "", "operator")),
    "/v1/resolve": ({"host": "esx-00"}, ("resolve", "esx-00", "operator")),
    "/v1/approve": ({"issues": ["VibRequiresHostReboot"]}, ("approve", ("VibRequiresHostReboot",), "operator")),
    "/v1/deployments/dc1/upgrade": ({"to": "1.1.0"}, ("upgrade", "dc1", "1.1.0", False, "operator")),
    "/v1/deployments/dc1/rollback": ({"dry_run": True}, ("rollback", "dc1", True, "operator")),
    "/v1/deployments/dc1/rollout/approve": ({}, ("steer", "dc1", "approve", "operator")),
    "/v1/brakes/esx-agents/release": ({"reason": "meant"}, ("release", "esx-agents", "meant", "operator")),
}


@pytest.mark.parametrize("path", READINGS)
async def test_viewers_and_operators_may_read_and_nobody_else(client, tokens, path):
    assert (await client.get(path)).status_code == 401
    refused = await client.get(path, headers={"Authorization": f"Bearer {'x' * 43}"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json() == {"error": "a valid token is needed", "hint": ""}
    for role in ("viewer", "operator"):
        assert (await client.get(path, headers=bearer(tokens, role))).status_code == 200


@pytest.mark.parametrize("path", COMMANDS)
async def test_only_operators_may_change_and_their_name_is_passed_on(client, target, tokens, path):
    body, told = COMMANDS[path]
    assert (await client.post(path, json=body)).status_code == 401
    refused = await client.post(path, json=body, headers=bearer(tokens, "viewer"))
    assert (refused.status_code, refused.json()["error"]) == (403, "viewer is a viewer; this needs the role operator")
    assert target.told == []
    done = await client.post(path, json=body, headers=bearer(tokens, "operator"))
    assert (done.status_code, done.json()) == (200, {"changes": ["done"]})
    assert target.told == [told]


async def test_documents(client, tokens, health):
    health.failed("vcenter", "lab", reason="no connection", hint="check it", attempts=2, next_try=4)
    viewer = bearer(tokens, "viewer")
    status = (await client.get("/v1/status", headers=viewer)).json()
    assert status["deployments"][0]["units"][0]["state"] == "healthy"
    assert (await client.get("/v1/plan", headers=viewer)).json()["actions"][0]["reason"] == "VmPoweredOff"
    assert (await client.get("/v1/hosts", headers=viewer)).json()[0]["agent_address"] == "127.1.0.1"
    entry = (await client.get("/v1/health", headers=viewer)).json()[0]
    assert (entry["state"], entry["attempts"], entry["next_try"]) == ("failing", 2, "2026-01-01T00:00:04Z")
    ready = await client.get("/v1/hosts/host-7/readiness", headers=viewer)
    assert ready.json() == {"forwards": False, "synced": True, "reason": "no controller"}
    assert (await client.get("/v1/hosts/host-8/readiness", headers=viewer)).status_code == 404


async def test_probes_need_no_token_and_say_what_is_missing(client, target):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "missing": ["vcenter lab: no connection"]})
    target.missing = ()
    assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no cluster X", hint="did you mean Y?"), 404),
        (DesiredStateError("bad file"), 422),
        (InvalidState("not engaged"), 409),
        (BrakeEngaged("stop"), 409),
        (Unreachable("vCenter is away"), 503),
    ],
)
async def test_errors_are_documents(client, target, tokens, error, status):
    target.error = error
    answer = await client.post("/v1/resolve", json={}, headers=bearer(tokens, "operator"))
    assert (answer.status_code, answer.json()) == (status, {"error": error.message, "hint": error.hint})


async def test_a_request_that_makes_no_sense_says_where(client, target, tokens):
    operator = bearer(tokens, "operator")
    answer = await client.post("/v1/pause", json={"deploment": "dc1"}, headers=operator)
    assert (answer.status_code, answer.json()["hint"]) == (422, "see /openapi.json")
    assert "deploment" in answer.json()["error"]
    answer = await client.post("/v1/deployments/dc1/remove", json={"confirm": "dc2"}, headers=operator)
    assert answer.status_code == 422
    assert (await client.get("/v1/nothing", headers=operator)).json()["error"] == "Not Found"
    assert target.told == []


async def test_openapi_describes_every_operation_and_loads_nothing_from_outside(client):
    document = (await client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {*READINGS[:-1], *list(COMMANDS)[2:6]} <= set(document["paths"])
    assert all(operation["summary"] for operation in operations)
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert "description" in document["components"]["schemas"]["UnitStatus"]["properties"]["next"]
    assert (await client.get("/docs")).status_code == 404


async def test_metrics_are_read_when_asked_for(client, tokens, health, metrics, tmp_path):
    async def reconcile(key):
        if key == "bad":
            raise Unreachable("gone")
        return Done()

    async def flush(group, values):
        return values

    controller = Controller("agencies", reconcile, health=health, random=Random(0))
    batcher = Batcher(flush, size=1, age=0, idle=0)
    with Journal(tmp_path / "journal.db", now=now) as journal:
        brake = DeletionBrake("esx-agents", journal=journal, now=now)
        metrics.watch_controller(controller)
        metrics.watch_batcher("nics", batcher)
        metrics.watch_brake(brake)
        metrics.watch_health(health)
        calls = {("lab", "RetrieveProperties"): 3.0}
        metrics.counter("vcenter_calls", "Calls to vCenter.", ("vcenter", "method"), lambda: calls)
        metrics.gauge("units", "ContrailVMs by state.", ("state",), lambda: {("healthy",): 4})
        controller.start()
        for key in ("good", "bad"):
            controller.mark(key)
        await controller.idle()
        await batcher.submit("g", 1)
        with pytest.raises(BrakeEngaged):
            brake.permit("abcd", population=4)
        calls["lab", "RetrieveProperties"] += 1
        answer = await client.get("/metrics", headers=bearer(tokens, "viewer"))
    await controller.stop()
    assert answer.headers["content-type"].startswith("text/plain")
    lines = set(answer.text.splitlines())
    assert {
        'contrail_vsphere_reconcile_passes_total{controller="agencies",outcome="done"} 1.0',
        'contrail_vsphere_reconcile_passes_total{controller="agencies",outcome="transient"} 1.0',
        'contrail_vsphere_keys{source="agencies",state="ok"} 1.0',
        'contrail_vsphere_key_failures{key="bad",source="agencies",state="failing"} 1.0',
        'contrail_vsphere_batches_total{batcher="nics",what="items"} 1.0',
        'contrail_vsphere_brake_engaged{brake="esx-agents"} 1.0',
        'contrail_vsphere_vcenter_calls_total{method="RetrieveProperties",vcenter="lab"} 4.0',
        'contrail_vsphere_units{state="healthy"} 4.0',
    } <= lines, answer.text


async def test_what_would_change_is_not_logged_as_changed(client, tokens, caplog):
    headers = bearer(tokens, "operator")
    with caplog.at_level("INFO", logger="contrail_vsphere.app.control"):
        await client.post("/v1/apply", json={"document": "x", "dry_run": True}, headers=headers)
        assert "apply by" not in caplog.text
        await client.post("/v1/apply", json={"document": "x"}, headers=headers)
        assert "apply by operator: done" in caplog.text
