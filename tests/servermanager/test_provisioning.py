"""From an order over the plan to states of servers, with an Ansible server that does as it is told."""

import asyncio

import pytest
from sm_stand import ACTOR

from contrail_vsphere.model.errors import Conflict, DocumentError, InvalidState, Unreachable
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.planner import Order, Planner
from contrail_vsphere.servermanager.provision import Provisioner
from contrail_vsphere.servermanager.records import history
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.states import RunState
from contrail_vsphere.servermanager.tables import Cluster, Image, ImagePart, Run, Server

CANARY = "canary-77aa"
ROLES = ("controller", "analytics", "analyticsdb", "agent", "lb")


def fill(store, objects, *, servers=3, cluster="c1", first=1):
    with store.writing() as session:
        if session.get(Image, "img") is None:
            image = Image(id="img", category="container", type="contrail-container", release="4.1", path="",
                          parameters={}, state="ready", reason="", since=ACTOR.at)  # fmt: skip
            image.parts = [ImagePart(role=r, source="", repository=f"reg:5100/img-{r}", tag="4.1",
                                     digest=f"sha256:{n:064d}", total_bytes=0, done_bytes=0, sent_bytes=0)
                           for n, r in enumerate(ROLES)]  # fmt: skip
            session.add(image)
            session.flush()
        objects.put_cluster(session, ACTOR, {"id": cluster, "package_image_id": "img", "parameters": {"provision": {
            "containers": {"controller": {"RABBITMQ": {"password": CANARY}}, "global": {"GLOBAL": {
                "controller_ip": f"10.0.0.{first}"}}}}}})  # fmt: skip
        session.flush()
        for number in range(first, first + servers):
            objects.put_server(session, ACTOR, {"id": f"s{number}", "cluster_id": cluster, "password": CANARY,
                               "ip_address": f"10.0.0.{number}", "roles": ["controller", "agent"]})  # fmt: skip


def change(store, objects, document):
    with store.writing() as session:
        put = objects.put_cluster if document["id"].startswith("c") else objects.put_server
        put(session, ACTOR, document)


async def run(provisioner, ansible, order, hosts=None, state=RunState.SUCCEEDED):
    run_id = await provisioner.provision(ACTOR, order)
    names = ansible.requests[run_id].hosts
    ansible.end(run_id, state, hosts or dict.fromkeys(names, "completed"))
    await provisioner.settled(run_id)
    return run_id


def states(store):
    with store.reading() as session:
        return {row.id: row.state for row in session.query(Server).order_by(Server.id)}


def steps(document):
    return [(host["server"], step["role"], step["container"]["action"], [file["action"] for file in step["files"]])
            for host in document["hosts"] for step in host["roles"]]  # fmt: skip


async def test_a_second_plan_changes_nothing_and_one_option_changes_one_file(provisioner, ansible, store, objects):
    fill(store, objects)
    order = Order(cluster="c1")
    first = await asyncio.to_thread(provisioner.plan, ACTOR, order)
    assert first["changes"] == 12
    assert [stage["roles"] for stage in first["stages"]] == [["controller"], ["agent"]]
    await run(provisioner, ansible, order)
    assert set(states(store).values()) == {"provisioned"}
    with store.reading() as session:
        assert session.get(Cluster, "c1").provisioned_id == "img"
    assert (await asyncio.to_thread(provisioner.plan, ACTOR, order))["changes"] == 0
    change(store, objects, {"id": "s2", "parameters": {"provision": {"containers": {"agent": {"AGENT": {
        "vrouter_physical_interface": "eth7"}}}}}})  # fmt: skip
    after = await asyncio.to_thread(provisioner.plan, ACTOR, order)
    assert [step for step in steps(after) if step[2] != "leave" or "change" in step[3]] == [
        ("s2", "agent", "recreate", ["change"])
    ]
    diff = next(f["diff"] for h in after["hosts"] for s in h["roles"] for f in s["files"] if f["diff"])
    assert "-vrouter_physical_interface = eth0\n+vrouter_physical_interface = eth7" in diff


async def test_a_changed_secret_recreates_and_shows_nowhere(provisioner, ansible, store, objects):
    fill(store, objects, servers=1)
    await run(provisioner, ansible, Order(cluster="c1"))
    change(store, objects, {"id": "c1", "parameters": {"provision": {"containers": {"controller": {"RABBITMQ": {
        "password": CANARY + "2"}}}}}})  # fmt: skip
    document = await asyncio.to_thread(provisioner.plan, ACTOR, Order(cluster="c1"))
    assert CANARY not in str(document)
    (step,) = [s for h in document["hosts"] for s in h["roles"] if s["container"]["action"] == "recreate"]
    assert step["files"][0]["diff"] == "(only a secret value changes)\n"
    request = next(iter(ansible.requests.values()))
    assert CANARY not in repr(request)
    assert any(CANARY in file.content for host in request.hosts.values() for r in host.roles for file in r.files)


async def test_a_role_that_is_taken_off_is_removed(provisioner, ansible, store, objects):
    fill(store, objects, servers=1)
    await run(provisioner, ansible, Order(cluster="c1"))
    change(store, objects, {"id": "s1", "roles": ["controller"]})
    document = await asyncio.to_thread(provisioner.plan, ACTOR, Order(cluster="c1"))
    assert ("s1", "agent", "remove", []) in steps(document)
    await run(provisioner, ansible, Order(cluster="c1"))
    with store.reading() as session:
        assert set(session.get(Server, "s1").deployed) == {"controller"}


async def test_19_each_server_ends_by_itself_and_retry_takes_what_is_left(provisioner, ansible, store, objects):
    fill(store, objects)
    ends = {"s1": "completed", "s2": "failed", "s3": "unreachable"}
    run_id = await run(provisioner, ansible, Order(cluster="c1"), ends, RunState.FAILED)
    assert states(store) == {"s1": "provisioned", "s2": "failed", "s3": "unreachable"}
    with store.reading() as session:
        assert session.get(Server, "s3").reason == "why"
        assert session.get(Cluster, "c1").provisioned_id is None
    order = await asyncio.to_thread(provisioner.retry_order, run_id)
    again = await run(provisioner, ansible, order)
    assert set(ansible.requests[again].hosts) == {"s2", "s3"}
    assert set(states(store).values()) == {"provisioned"}


async def test_06_nobody_is_told_that_it_runs_when_the_ansible_server_is_away(provisioner, ansible, store, objects):
    fill(store, objects)
    ansible.away = True
    with pytest.raises(Unreachable):
        await provisioner.provision(ACTOR, Order(cluster="c1"))
    assert set(states(store).values()) == {"failed"}
    ansible.away = False
    await run(provisioner, ansible, Order(cluster="c1"))
    assert set(states(store).values()) == {"provisioned"}


async def test_a_server_is_in_one_run_at_a_time(provisioner, ansible, store, objects):
    fill(store, objects)
    run_id = await provisioner.provision(ACTOR, Order(cluster="c1"))
    with pytest.raises(Conflict, match="in run run-"):
        await provisioner.provision(ACTOR, Order(servers=("s2",)))
    await provisioner.cancel(ACTOR, run_id)
    with store.reading() as session:
        assert session.get(Run, run_id).state == "canceled"
    assert set(states(store).values()) == {"failed"}
    with pytest.raises(InvalidState):
        await provisioner.cancel(ACTOR, run_id)
    await provisioner.stop()


async def test_runs_of_a_killed_process_are_followed_and_lost_ones_end(provisioner, ansible, store, objects, vault):
    fill(store, objects, servers=2)
    fill(store, objects, servers=1, cluster="c2", first=5)
    kept = await provisioner.provision(ACTOR, Order(cluster="c1"))
    lost = await provisioner.provision(ACTOR, Order(cluster="c2"))
    await provisioner.stop()
    ansible.end(kept, RunState.SUCCEEDED, {"s1": "completed", "s2": "completed"})
    del ansible.reports[lost]
    planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
    again = Provisioner(store, planner=planner, ansible=ansible, registry=RegistryToPull(address="reg:5100"))
    assert set(await again.resume()) == {kept, lost}
    await again.settled(kept)
    await again.settled(lost)
    assert states(store) == {"s1": "provisioned", "s2": "provisioned", "s5": "failed"}
    with store.reading() as session:
        assert [each["after"] for each in history(session, "run", lost)] == ["queued", "running", "interrupted"]


async def test_two_clusters_do_not_see_each_other(provisioner, ansible, store, objects):
    fill(store, objects, servers=2)
    fill(store, objects, servers=2, cluster="c2", first=11)
    one, two = (
        await run(provisioner, ansible, Order(cluster="c1")),
        await run(provisioner, ansible, Order(cluster="c2")),
    )
    for run_id, mine, other in ((one, "10.0.0.1", "10.0.0.11"), (two, "10.0.0.11", "10.0.0.1")):
        for host in ansible.requests[run_id].hosts.values():
            for file in (file for role in host.roles for file in role.files):
                nodes = next(line for line in file.content.splitlines() if line.startswith("controller_nodes"))
                addresses = nodes.partition(" = ")[2].split(",")
                assert mine in addresses
                assert other not in addresses


async def test_a_plan_is_what_is_done_or_nothing_is(provisioner, ansible, store, objects):
    fill(store, objects)
    shown = await asyncio.to_thread(provisioner.plan, ACTOR, Order(cluster="c1"))
    change(store, objects, {"id": "s2", "roles": ["agent"]})
    with pytest.raises(Conflict, match="not what would be done"):
        await provisioner.provision(ACTOR, Order(cluster="c1"), plan_hash=shown["hash"])
    assert ansible.requests == {}


async def test_everything_that_is_missing_is_told_before_anything_is_done(provisioner, ansible, store, objects):
    fill(store, objects)
    change(store, objects, {"id": "s1", "roles": ["contrailvm-manager", "neutron-worker"]})
    with pytest.raises(DocumentError) as caught:
        await provisioner.provision(ACTOR, Order(cluster="c1"))
    told = "\n".join(caught.value.problems)
    assert "vcenter.main.host must be set" in told
    assert "holds nothing for the role" in told
    assert set(states(store).values()) == {"added"}
