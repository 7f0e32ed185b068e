"""The REST API through its ASGI application: who may, pages, ETags, limits, and nonsense from outside."""

import asyncio
import threading
import time

import pytest
import schemathesis
import uvicorn
from api_stand import Stand, serving
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from sm_stand import free_port, now
from sqlalchemy import event, text
from test_provisioning import CANARY, fill

from contrail_vsphere.servermanager.api import remembered
from contrail_vsphere.servermanager.states import RunState
from contrail_vsphere.servermanager.store import Store


async def test_each_role_may_what_it_may(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as admin:
        tokens = {"nobody": "smt1.wrong"}
        for role in ("viewer", "operator"):
            tokens[role] = (await admin.post("/v1/tokens", json={"name": role, "role": role})).json()["token"]
        asked = [("GET", "/v1/servers"), ("PUT", "/v1/clusters/c1"), ("GET", "/v1/audit")]
        seen = {}
        for name, token in tokens.items():
            async with stand.client(token) as client:
                answers = [await client.request(m, p, json={} if m == "PUT" else None) for m, p in asked]
                seen[name] = [answer.status_code for answer in answers]
        assert seen == {"nobody": [401, 401, 401], "viewer": [200, 403, 403], "operator": [200, 200, 403]}
        assert (await admin.delete("/v1/tokens/admin")).status_code == 409
        entries = (await admin.get("/v1/audit")).json()["items"]
        assert [(e["who"], e["action"], e["object"]) for e in entries][-1] == ("operator", "add", "c1")
    with store.reading() as session:
        stored = str(session.execute(text("SELECT * FROM token")).all())
        assert all(token not in stored for token in tokens.values())


async def test_two_people_change_one_object(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        first = await client.put("/v1/clusters/c1", json={})
        seen = (await client.get("/v1/clusters/c1")).headers["ETag"]
        assert first.status_code == 200
        assert (await client.get("/v1/clusters/c1", headers={"If-None-Match": seen})).status_code == 304
        change = {"email": "a@example.com"}
        assert (await client.put("/v1/clusters/c1", json=change, headers={"If-Match": seen})).status_code == 200
        assert (await client.put("/v1/clusters/c1", json=change, headers={"If-Match": seen})).status_code == 412
        assert (await client.get("/v1/clusters/c1", headers={"If-None-Match": seen})).status_code == 200


async def test_pages_hold_everything_once(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        for number in range(12):
            document = {"ip_address": f"10.0.0.{number + 1}"}
            assert (await client.put(f"/v1/servers/s{number:02}", json=document)).status_code == 200
        seen, after = [], ""
        while after is not None:
            answer = (await client.get("/v1/servers", params={"limit": 5, "after": after})).json()
            seen += [each["id"] for each in answer["items"]]
            after = answer["next"]
        assert seen == [f"s{number:02}" for number in range(12)]


async def test_all_problems_come_with_their_paths(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        answer = await client.put("/v1/servers/s1", json={"ip_address": "x", "rolls": []})
        assert answer.status_code == 422
        assert answer.json()["problems"] == ["$.server.rolls: unknown; 'roles' is meant?",
                                             "$.server.ip_address: 'x' is not an IP address"]  # fmt: skip


async def test_a_provision_over_the_api(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        fill(store, stand.service.objects, servers=2)
        plan = (await client.post("/v1/plan", json={"cluster": "c1"})).json()
        assert plan["changes"] == 8
        answer = await client.post("/v1/provision", json={"cluster": "c1", "plan": plan["hash"]})
        run_id = answer.json()["id"]
        stand.ansible.end(run_id, RunState.FAILED, {"s1": "completed", "s2": "failed"})
        await stand.service.provisioner.settled(run_id)
        shown = (await client.get(f"/v1/runs/{run_id}")).json()
        assert (shown["state"], shown["hosts"]["s2"]["message"]) == ("failed", "why")
        again = (await client.post(f"/v1/runs/{run_id}/retry")).json()["id"]
        assert list(stand.ansible.requests[again].hosts) == ["s2"]
        explained = (await client.get("/v1/servers/s1/effective", params={"role": "control"})).json()["settings"]
        assert {"cluster.global"} == {r["source"] for r in explained if r["option"] == "controller_ip"}
        everything = "".join([(await client.get(path)).text for path in (
            "/v1/servers", "/v1/clusters", "/v1/runs", "/v1/audit", f"/v1/plans/{plan['hash']}",
            "/v1/servers/s1/effective?role=controller")])  # fmt: skip
        assert CANARY not in everything
        stand.ansible.away = True
        assert (await client.post("/v1/provision", json={"servers": ["s1"]})).status_code == 503


async def test_many_who_watch_a_run_read_the_database_once_and_see_every_change(store, tmp_path, monkeypatch):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        fill(store, stand.service.objects, servers=1)
        run_id = (await client.post("/v1/provision", json={"cluster": "c1"})).json()["id"]
        viewer = (await client.post("/v1/tokens", json={"name": "v", "role": "viewer"})).json()["token"]
        asked = []

        def seen(_connection, _cursor, statement, *_more):
            asked.append(statement)

        async with stand.client(viewer) as watching:
            event.listen(store.engine, "before_cursor_execute", seen)
            path = f"/v1/runs/{run_id}"
            answers = await asyncio.gather(*(watching.get(path) for _ in range(50)))
            assert {each.json()["state"] for each in answers} <= {"queued", "running"}
            assert sum("FROM token" in each for each in asked) <= 5, "it may be written meanwhile, and is read again"
            assert sum("FROM run" in each for each in asked) <= 10
            event.remove(store.engine, "before_cursor_execute", seen)
            stand.ansible.end(run_id, RunState.SUCCEEDED, {"s1": "completed"})
            await stand.service.provisioner.settled(run_id)
            assert (await watching.get(path)).json()["state"] == "succeeded"
            assert (await watching.get(path + "x")).status_code == 404
            known = {"If-None-Match": (await watching.get(path)).headers["ETag"]}
            assert (await watching.get(path, params={"wait": 0.05}, headers=known)).status_code == 304
            waiting = asyncio.create_task(watching.get(path, params={"wait": 20}, headers=known))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            with store.writing() as session:
                session.execute(text("UPDATE run SET reason = 'news'"))
            assert (await asyncio.wait_for(waiting, 10)).json()["reason"] == "news"
            # What another process writes shows when the answer is too old.
            other = Store(store.engine.url.render_as_string(hide_password=False), now=now)
            with other.writing() as session:
                session.execute(text("UPDATE run SET reason = 'from elsewhere'"))
            other.close()
            monkeypatch.setattr(remembered, "AGE", 0.0)
            assert (await watching.get(path)).json()["reason"] == "from elsewhere"
            monkeypatch.setattr(remembered, "AGE", 1.0)
            assert (await watching.get(path)).status_code == 200
            await client.delete("/v1/tokens/v")
            assert (await watching.get(path)).status_code == 401, "at once"


async def test_a_named_secret_is_put_used_and_kept_while_used(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        assert (await client.put("/v1/secrets/rabbit", json={"value": CANARY})).status_code == 204
        await client.put("/v1/servers/s1", json={"ip_address": "10.0.0.1", "password": {"secret": "rabbit"}})
        assert (await client.delete("/v1/secrets/rabbit")).status_code == 409
        assert (await client.get("/v1/secrets")).json()["items"] == [{"name": "rabbit"}]
        assert CANARY not in (await client.get("/v1/servers/s1")).text


async def test_too_much_is_refused(store, tmp_path):
    async with serving(store, tmp_path, rate=1.0) as stand, stand.client() as client:
        assert (await client.put("/v1/clusters/c1", content=b"x" * 1_000_001)).status_code == 413
        codes = [(await client.get("/v1/servers")).status_code for _ in range(6)]
        assert codes[-1] == 429
    async with serving(store, tmp_path) as stand, stand.client() as client:
        stand.service.upload_limit = 1000
        answer = await client.post("/v1/uploads?name=big.tar", content=b"x" * 5000)
        assert answer.status_code == 413

        async def chunks():
            for _ in range(5):
                yield b"x" * 400

        assert (await client.post("/v1/uploads?name=big.tar", content=chunks())).status_code == 413
        assert list(stand.service.uploads.iterdir()) == []
        answer = await client.post("/v1/uploads?name=ok.tar", content=b"x" * 900)
        assert answer.json()["bytes"] == 900


async def test_an_uploaded_archive_goes_when_its_image_is_settled(sqlite_store, tmp_path):
    async with serving(sqlite_store, tmp_path) as stand, stand.client() as client:
        path = (await client.post("/v1/uploads?name=x.tgz", content=b"not a tar")).json()["path"]
        kept = (await client.post("/v1/uploads?name=y.tgz", content=b"another")).json()["path"]
        document = {"id": "up", "category": "package", "type": "contrail-ubuntu-package", "version": "1", "path": path}
        assert (await client.post("/v1/images", json=document)).status_code == 202
        await stand.service.images.settled("up")
        assert [each.name for each in stand.service.uploads.glob("*/*")] == ["y.tgz"]
        assert kept.endswith("y.tgz")
        await stand.service.images.resume()
        assert list(stand.service.uploads.iterdir()) == []


async def test_reads_are_answered_while_jobs_run(sqlite_store, tmp_path):
    async with serving(sqlite_store, tmp_path) as stand, stand.client() as client:
        fill(sqlite_store, stand.service.objects)
        await client.post("/v1/provision", json={"cluster": "c1"})
        async with asyncio.timeout(120):
            answers = await asyncio.gather(*(client.get("/v1/servers") for _ in range(100)))
        assert {each.status_code for each in answers} == {200}


async def test_an_image_that_cannot_be_pushed_says_so(store, tmp_path):
    async with serving(store, tmp_path) as stand, stand.client() as client:
        document = {"id": "Contrail", "category": "container", "type": "contrail-container", "version": "4.1+1",
                    "parameters": {"containers": [{"role": "agnt"}]}}  # fmt: skip
        told = (await client.post("/v1/images", json=document)).json()["problems"]
        assert [each.split(":")[0] for each in told] == ["$.image.id", "$.image.version",
                                                         "$.image.parameters.containers[0].role.agnt"]  # fmt: skip
        good = {**document, "id": "contrail", "version": "4.1", "parameters": {"containers": [{"role": "agent"}]}}
        assert (await client.post("/v1/images", json=good)).status_code == 202
        await stand.service.images.settled("contrail")
        shown = (await client.get("/v1/images/contrail")).json()
        assert (shown["state"], "does not answer" in shown["reason"]) == ("failed", True)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """On a socket of its own, for a fuzzer that brings no loop."""
    directory = tmp_path_factory.mktemp("fuzz")
    store = Store(f"sqlite:///{directory / 'x.db'}", now=now)
    port = free_port("127.61.0.2")
    told = {}

    async def serve():
        stand = Stand(store, directory, rate=1e6)
        await stand.start()
        fill(store, stand.service.objects, servers=1)
        options = {"host": "127.61.0.2", "port": port, "log_config": None, "lifespan": "off", "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(stand.app, **options))
        told.update(token=stand.token, server=server)
        await server.serve()
        await stand.service.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    deadline = time.monotonic() + 60
    while not ("server" in told and told["server"].started) and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.61.0.2:{port}", told["token"]
    told["server"].should_exit = True
    thread.join(20)


def test_no_nonsense_breaks_it(served):
    """Every operation of the OpenAPI document, with what it allows and what it does not."""
    url, token = served
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [each.ok() for each in document.get_all_operations()]
    assert len(operations) > 30
    seen = set()
    for operation in operations:

        @seed(7)
        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def one(case):
            if case.method == "DELETE" and case.path_parameters.get("name") == "admin":
                return
            answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=60)
            seen.add(answer.status_code)
            case.validate_response(answer, checks=[status_code_conformance, response_schema_conformance])
            assert answer.status_code != 500

        one()
    assert {200, 404, 422} <= seen
