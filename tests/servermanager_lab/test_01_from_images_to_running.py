"""The whole way on real parts: registry, Ansible, SSH, Podman. The services in the containers are stand-ins.

The tests of this directory share one lab and stand in the order of their names.
"""

import json
import re

import pytest
from lab_rig import CANARIES, PLACEMENT

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]


def test_everything_runs_where_it_should(lab):
    assert lab.image_added["state"] == "ready"
    assert {name: host["state"] for name, host in lab.first["hosts"].items()} == dict.fromkeys(PLACEMENT, "completed")
    for name, roles in PLACEMENT.items():
        assert {each: state for each, (_, state) in lab.containers(name).items()} == dict.fromkeys(roles, "running")
        for role in roles:
            assert "[GLOBAL]" in lab.on(name, "cat", f"/etc/contrail/{role}.conf")
    text = lab.on("server1", "cat", "/etc/contrail/controller.conf")
    assert f"password = {CANARIES['rabbit']}" in text
    assert "vcenter_wsdl_path = {{ lookup('pipe', 'id') }}" in text, "what looks like a template stays text"
    assert lab.on("server1", "stat", "-c", "%a", "/etc/contrail/controller.conf").strip() == "640"
    found = json.loads(lab.on("server1", "podman", "inspect", "controller"))[0]
    assert f"{lab.lab['gateway']}:5100/contrail-container-controller@sha256:" in found["ImageName"]
    assert any(m["Source"] == "/var/lib/configdb" and m["Destination"] == "/var/lib/cassandra" for m in found["Mounts"])


def test_the_second_time_nothing_changes_and_one_module_looks(lab):
    before = {name: lab.containers(name) for name in PLACEMENT}
    events_before = lab.debug_log().count("\n")
    plan = lab.ask("POST", "/v1/plan", {"cluster": "c1"})
    assert plan["changes"] == 0
    run = lab.provisioned(cluster="c1")
    assert sum(host["changed"] for host in run["hosts"].values()) == 0
    assert {name: lab.containers(name) for name in PLACEMENT} == before
    lines = [line for line in lab.debug_log().splitlines()[events_before:] if run["id"] in line]
    for name, roles in PLACEMENT.items():
        done = [line for line in lines if f" {name} " in line and re.search(r" ok \w", line)]
        assert len(done) == 1 + len(roles), "the engine, then one line per role from a look at each stage"
        assert sum(" Look" in line for line in done) == len(roles)


def test_drift_is_found_and_provision_repairs_it_and_nothing_else(lab):
    before = {name: lab.containers(name) for name in PLACEMENT}
    lab.on("server1", "podman", "rm", "-f", "-t", "0", "analytics")
    lab.on("server3", "sh", "-c", "echo 'haproxy_auth_user = mallory' >> /etc/contrail/lb.conf")
    told = lab.cli("drift", "--cluster-id", "c1", code=1)
    assert re.search(r"server2 .*as planned", told.stdout)
    assert "analytics: container analytics is missing" in told.stdout
    assert "lb: file /etc/contrail/lb.conf" in told.stdout
    states = {row["id"]: row["state"] for row in lab.ask("GET", "/v1/servers")["items"]}
    assert states == {"server1": "drifted", "server2": "provisioned", "server3": "drifted"}
    assert "analytics" not in lab.containers("server1"), "looking changes nothing"
    lab.provisioned(servers=["server1", "server3"])
    after = {name: lab.containers(name) for name in PLACEMENT}
    replaced = [(name, each) for name in PLACEMENT for each in after[name] if after[name][each] != before[name][each]]
    assert replaced == [("server1", "analytics"), ("server3", "lb")]
    assert "mallory" not in lab.on("server3", "cat", "/etc/contrail/lb.conf")
    assert "mallory" in lab.on("server3", "cat", "/etc/contrail/lb.conf.previous")


def test_a_plan_of_one_option_is_one_file_and_one_container_per_server_and_the_controllers_take_turns(lab):
    order = {"servers": ["server1", "server2"], "overrides": {"controller": {"CONTROLLER": {"bgp_asn": 64999}}}}
    plan = lab.ask("POST", "/v1/plan", order)
    assert plan["changes"] == 4, "a file and a container on each of two servers"
    changed = [
        (host["server"], step["role"], [file["action"] for file in step["files"]], step["container"]["action"])
        for host in plan["hosts"] for step in host["roles"] if step["container"]["action"] != "leave"
    ]  # fmt: skip
    assert changed == [
        ("server1", "controller", ["change"], "recreate"), ("server2", "controller", ["change"], "recreate")
    ]  # fmt: skip
    diff = plan["hosts"][0]["roles"][0]["files"][0]["diff"]
    assert [line for line in diff.splitlines() if line.startswith(("-b", "+b"))] == [
        "-bgp_asn = 64512", "+bgp_asn = 64999"
    ]  # fmt: skip
    assert not any(canary in json.dumps(plan) for canary in CANARIES.values())
    before = {name: lab.containers(name) for name in PLACEMENT}
    run = lab.provisioned(**order, plan=plan["hash"])
    after = {name: lab.containers(name) for name in PLACEMENT}
    replaced = [(name, each) for name in PLACEMENT for each in after[name] if after[name][each] != before[name][each]]
    assert replaced == [("server1", "controller"), ("server2", "controller")]
    assert "bgp_asn = 64999" in lab.on("server2", "cat", "/etc/contrail/controller.conf")
    made = {name: int(lab.on(name, "podman", "inspect", "-f", "{{.Created.UnixNano}}", "controller"))
            for name in ("server1", "server2")}  # fmt: skip
    first, second = sorted(made, key=made.get)
    # Steps in their order, not their times: a step is written down when its end is heard of, which may be late.
    steps = [line.split(maxsplit=2)[2] for line in lab.debug_log().splitlines() if run["id"] in line]
    healthy = next(n for n, step in enumerate(steps) if step.startswith(f"{first} controller ok Health"))
    replaced = next(n for n, step in enumerate(steps) if step.startswith(f"{second} controller ok Container"))
    assert healthy < replaced, "the second is replaced when the first is healthy"
