"""The drift check: it changes nothing, leaves out what is only planned, and moves servers by what it finds."""

import asyncio

import pytest
from sm_stand import ACTOR
from test_provisioning import fill

from contrail_vsphere.model.errors import Conflict, InvalidState
from contrail_vsphere.servermanager.planner import Order
from contrail_vsphere.servermanager.runs import HostReport, RunReport
from contrail_vsphere.servermanager.states import RunState
from contrail_vsphere.servermanager.tables import Run, Server


async def provisioned(provisioner, ansible, store, objects):
    fill(store, objects, servers=2)
    run_id = await provisioner.provision(ACTOR, Order(cluster="c1"))
    ansible.end(run_id, RunState.SUCCEEDED, dict.fromkeys(("s1", "s2"), "completed"))
    await asyncio.wait_for(provisioner.settled(run_id), 20)


async def look(provisioner, ansible, found, **order):
    run_id = await provisioner.look_for_drift(ACTOR, Order(cluster="c1", **order))
    hosts = {name: HostReport(state=state, drift=drift, message="why") for name, (state, drift) in found.items()}
    ansible.reports[run_id] = RunReport(id=run_id, state=RunState.SUCCEEDED, hosts=hosts)
    await asyncio.wait_for(provisioner.settled(run_id), 20)
    return run_id


def servers(store):
    with store.reading() as session:
        return {name: (row.state, row.reason) for name in ("s1", "s2") if (row := session.get_one(Server, name))}


async def test_what_differs_is_told_and_what_was_repaired_too(provisioner, ansible, store, objects):
    await provisioned(provisioner, ansible, store, objects)
    drift = [f"lb: file {number}" for number in range(5)]
    run_id = await look(provisioner, ansible, {"s1": ("completed", drift), "s2": ("unreachable", [])})
    assert ansible.requests[run_id].check is True
    assert servers(store) == {
        "s1": ("drifted", "lb: file 0; lb: file 1; lb: file 2; and 2 more"), "s2": ("unreachable", "why")
    }  # fmt: skip
    with pytest.raises(InvalidState, match="only looked"):
        provisioner.retry_order(run_id)
    await look(provisioner, ansible, {"s1": ("completed", ["lb: container lb is missing"]), "s2": ("completed", [])})
    assert servers(store)["s1"] == ("drifted", "lb: container lb is missing")
    await look(provisioner, ansible, {"s1": ("completed", []), "s2": ("completed", [])})
    assert servers(store) == dict.fromkeys(("s1", "s2"), ("provisioned", "as planned"))


async def test_what_is_only_planned_is_no_drift(provisioner, ansible, store, objects):
    fill(store, objects, servers=2)
    with pytest.raises(InvalidState, match="nothing runs there"):
        await provisioner.look_for_drift(ACTOR, Order(cluster="c1"))
    run_id = await provisioner.provision(ACTOR, Order(cluster="c1"))
    ansible.end(run_id, RunState.SUCCEEDED, dict.fromkeys(("s1", "s2"), "completed"))
    await asyncio.wait_for(provisioner.settled(run_id), 20)
    again = await provisioner.provision(ACTOR, Order(cluster="c1"))
    with pytest.raises(Conflict, match=again):
        await provisioner.look_for_drift(ACTOR, Order(cluster="c1"))
    ansible.end(again, RunState.SUCCEEDED, dict.fromkeys(("s1", "s2"), "completed"))
    await asyncio.wait_for(provisioner.settled(again), 20)
    given = {"provision": {"containers": {"agent": {"AGENT": {"vrouter_physical_interface": "eth7"}}}}}
    with store.writing() as session:
        objects.put_server(session, ACTOR, {"id": "s1", "parameters": given})
    looked = await look(provisioner, ansible, {"s1": ("completed", []), "s2": ("completed", [])})
    asked = {name: [role.role for role in host.roles] for name, host in ansible.requests[looked].hosts.items()}
    assert asked == {"s1": ["controller"], "s2": ["controller", "agent"]}
    with store.reading() as session:
        assert session.get_one(Run, looked).kind == "drift"
