"""Servers that are away, services that do not come up, what somebody changed by hand, roles that leave."""

import contextlib
import json
import time

import pytest
from lab_rig import PLACEMENT

from contrail_vsphere.demo.service_images import archive
from contrail_vsphere.servermanager.catalogue import catalogue

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]


def ids(lab):
    return {name: {each: at for each, (at, _) in lab.containers(name).items()} for name in PLACEMENT}


def controllers(lab):
    return {name: found.get("controller") for name, found in ids(lab).items()}


@contextlib.contextmanager
def away(lab, host):
    """The server's network cable is out."""
    link = f"lab-{list(PLACEMENT).index(host) + 1}"
    lab.inside("ip", "link", "set", link, "down")
    try:
        yield
    finally:
        lab.inside("ip", "link", "set", link, "up")


def test_a_dead_server_is_unreachable_holds_up_nobody_and_alone_is_tried_again(lab):
    with away(lab, "server2"):
        order = {
            "servers": ["server2", "server3"],
            "overrides": {"agent": {"AGENT": {"vrouter_physical_interface": "eth5"}}},
        }
        run = lab.run(lab.provision(**order))
        assert {name: host["state"] for name, host in run["hosts"].items()} == {
            "server2": "unreachable", "server3": "completed"
        }  # fmt: skip
        assert "server2" in run["reason"]
        assert "eth5" in lab.on("server3", "cat", "/etc/contrail/agent.conf")
        failed = lab.cli("status", "provision", "--run", run["id"]).stdout
        assert "unreachable" in failed
    states = {row["id"]: row["state"] for row in lab.ask("GET", "/v1/servers")["items"]}
    assert states == {"server1": "provisioned", "server2": "unreachable", "server3": "provisioned"}
    before = lab.debug_log().count("\n")
    again = lab.run(lab.ask("POST", f"/v1/runs/{run['id']}/retry")["id"])
    assert (again["state"], list(again["hosts"])) == ("succeeded", ["server2"])
    hosts = {line.split()[2] for line in lab.debug_log().splitlines()[before:] if again["id"] in line}
    assert hosts == {"server2", "-"}, "nobody else was touched"


def test_a_controller_that_does_not_come_up_stops_the_roll_and_the_other_serves_on(lab):
    parts = []
    for role, content in (("controller", "lb"), ("analytics", "analytics")):
        path = lab.directory / f"broken-{role}.tar"
        path.write_bytes(archive(catalogue().role(content), version="broken"))
        parts.append({"role": role, "container_path": str(path)})
    lab.ask("POST", "/v1/images", {"id": "broken", "category": "container", "type": "contrail-container-ubuntu",
                                   "version": "5", "parameters": {"containers": parts}})  # fmt: skip
    assert lab.image("broken")["state"] == "ready"
    before = ids(lab)
    run_id = lab.provision(servers=["server1", "server2"], image="broken")
    deadline = time.monotonic() + 400
    # None where it is being replaced at this very moment.
    while all(controllers(lab)[name] in (None, before[name]["controller"]) for name in ("server1", "server2")):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    time.sleep(2)
    left = [name for name in ("server1", "server2") if controllers(lab)[name] == before[name]["controller"]]
    assert len(left) == 1, "the other one waits for a health that does not come"
    assert lab.containers(left[0])["controller"][1] == "running"
    lab.ask("POST", f"/v1/runs/{run_id}/cancel")
    run = lab.run(run_id)
    assert run["state"] == "canceled"
    assert run["hosts"][left[0]]["roles"]["controller"] == "pending"
    assert lab.containers(left[0])["controller"][0] == before[left[0]]["controller"]
    lab.provisioned(servers=["server1", "server2"], image="contrail-container")
    assert all(lab.containers(name)["controller"][1] == "running" for name in ("server1", "server2"))


def test_a_role_that_is_taken_from_a_server_leaves_it_and_comes_back_when_it_is_added(lab):
    plan = json.loads(
        lab.cli("role", "delete", "contrail-agent", "--server_list", "server3", "--plan", "--json").stdout
    )
    assert [step["container"]["action"] for step in plan["hosts"][0]["roles"] if step["role"] == "agent"] == ["remove"]
    assert lab.ask("GET", "/v1/servers/server3")["roles"] == ["lb", "agent"], "a plan changes nothing"
    lab.cli("role", "delete", "contrail-agent", "--server_list", "server3", "--yes", "--wait")
    assert list(lab.containers("server3")) == ["lb"]
    assert lab.ask("GET", "/v1/servers/server3")["roles"] == ["lb"]
    lab.cli("role", "add", "contrail-agent", "--server_list", "server3", "--yes", "--wait")
    assert sorted(lab.containers("server3")) == ["agent", "lb"]
    assert lab.ask("GET", "/v1/servers/server3")["roles"] == PLACEMENT["server3"]
