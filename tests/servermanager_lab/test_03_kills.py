"""Whatever dies at whatever moment: afterwards nothing runs for ever, and provisioning again completes it.

The kinds of death are drawn without replacement, the moments by a seeded generator; every second is tried in the long
form.
"""

import random
import time

import pytest
from lab_rig import ContrailVsphereError, OneRunAtATime, kill_all

from contrail_vsphere.servermanager.ansible_server.run_directory import processes_of

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]

DEATHS = ["serve", "serve", "serve-ansible", "serve-ansible", "worker", "worker", "sshd", "registry",
          "registry of image", "serve of image"]  # fmt: skip


def registry_pid(lab):
    return int((lab.directory / "manager" / "registry" / "pid").read_text())


def strike(lab, part, run_ids):
    part = part.removesuffix(" of image")
    if part in ("serve", "serve-ansible"):
        lab.kill(part)
        lab.serve(part)
    elif part == "worker":
        # One of its processes, whichever it is.
        pids = [pid for run_id in run_ids for pid in processes_of(lab.directory / "ansible" / "runs" / run_id)]
        kill_all([random.Random(len(pids)).choice(pids)] if pids else [])
    elif part == "sshd":
        kill_all(lab.pids("server3", "sshd"))
    else:
        kill_all([registry_pid(lab)])


def unfinished(lab):
    return [row["id"] for row in lab.ask("GET", "/v1/runs?limit=500")["items"] if row["state"] in ("queued", "running")]


def one_run(lab, part, number, wait):
    """A provision in which all of server3 is replaced, struck after a while."""
    order = {"servers": ["server3"], "overrides": {
        "lb": {"HAPROXY": {"haproxy_auth_user": f"user-{number}"}},
        "agent": {"AGENT": {"vrouter_physical_interface": f"eth{number}"}}}}  # fmt: skip
    if part == "registry":
        # Nothing of the image is on the server: it has to be pulled.
        lab.on("server3", "sh", "-c", "podman rm -fa -t 0 && podman rmi -fa")
    run_id = lab.provision(**order)
    time.sleep(wait)
    strike(lab, part, [run_id])
    first = lab.run(run_id)
    second = lab.run(lab.provision(**order))
    assert second["state"] == "succeeded", (part, wait, first["reason"], second)
    assert f"haproxy_auth_user = user-{number}\n" in lab.on("server3", "cat", "/etc/contrail/lb.conf")
    assert {name: state for name, (_, state) in lab.containers("server3").items()} == {
        "lb": "running", "agent": "running"
    }  # fmt: skip
    assert lab.ask("POST", "/v1/plan", order)["changes"] == 0


def one_image(lab, part, number, wait):
    """An image that is being added when its way breaks is ready or failed afterwards, and adding it again is all."""
    name = f"killed-{number}"
    lab.add_image(name, ["lb", "agent"], wait=False)
    time.sleep(wait / 6)
    strike(lab, part, [])
    image = lab.image(name)
    if image["state"] != "ready":
        assert image["state"] == "failed"
        image = lab.add_image(name, ["lb", "agent"])
    assert image["state"] == "ready", image
    assert all(each["digest"].startswith("sha256:") for each in image["containers"])
    lab.provisioned(servers=["server3"], image=name)


def trials(lab, count, seed):
    chance = random.Random(seed)
    deaths = [DEATHS[number % len(DEATHS)] for number in range(count)]
    chance.shuffle(deaths)
    with OneRunAtATime(lab.directory) as looker:
        for number, part in enumerate(deaths):
            trial = one_image if part.endswith("of image") else one_run
            trial(lab, part, number, chance.uniform(0, 4))
            assert unfinished(lab) == []
    assert looker.most == 1, "two runs on one server"
    kept = (lab.directory / "ansible" / "runs").rglob("*")
    assert [path for path in kept if path.name in ("request.json", "private", "control")] == []
    lab.provisioned(cluster="c1")


def test_ten_kills_at_random_moments(lab):
    trials(lab, 10, seed=1963)


@pytest.mark.soak
def test_two_hundred_kills_at_random_moments(lab):
    trials(lab, 200, seed=time.time_ns())


def test_a_run_outlives_the_ansible_servers_restart(lab):
    """SIGKILL in the middle; the worker goes on, and its run succeeds without being asked for again."""
    order = {"servers": ["server3"], "overrides": {"lb": {"HAPROXY": {"haproxy_auth_user": "survivor"}}}}
    run_id = lab.provision(**order)
    deadline = time.monotonic() + 60
    while f"{run_id} server3" not in lab.debug_log():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lab.kill("serve-ansible")
    with pytest.raises(ContrailVsphereError, match="9003"):
        lab.provision(servers=["server1"])
    lab.serve("serve-ansible")
    assert lab.run(run_id)["state"] == "succeeded"
    lines = [line for line in lab.debug_log().splitlines() if run_id in line]
    assert len(lines) == len(set(lines)), "no event stands there twice"
    lab.provisioned(cluster="c1")
