"""Whatever dies at whatever moment: afterwards nothing runs for ever, and provisioning again completes it.

The kinds of death are drawn without replacement, the moments by a seeded generator. Up to four things die in each
trial; the long form has twenty times as many deaths, other moments every time, and a server of two roles.
"""

import contextlib
import random
import time
from pathlib import Path

import pytest
from lab_rig import ContrailVsphereError, OneRunAtATime, files_below, kill_all

from contrail_vsphere.servermanager.ansible_server.run_directory import processes_of

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-lab")]

DEATHS = ["serve", "serve", "serve-ansible", "serve-ansible", "worker", "worker", "sshd", "registry", "nursery"]
DEATHS_OF_IMAGES = ["registry", "serve"]
OVERRIDES = {
    "server2": lambda number: {"controller": {"CONTROLLER": {"bgp_asn": 64600 + number}}},
    "server3": lambda number: {"lb": {"HAPROXY": {"haproxy_auth_user": f"user-{number}"}},
                               "agent": {"AGENT": {"vrouter_physical_interface": f"eth{number}"}}},
}  # fmt: skip
WRITTEN = {
    "server2": lambda number: {"controller": f"bgp_asn = {64600 + number}\n"},
    "server3": lambda number: {
        "lb": f"haproxy_auth_user = user-{number}\n", "agent": f"vrouter_physical_interface = eth{number}\n"
    },
}  # fmt: skip


def registry_pids(lab):
    """Of the registry that runs; none while one is on its way up, whose number may be another process's by now."""
    pid = int((lab.directory / "manager" / "registry" / "pid").read_text())
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if b"docker-registry" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return [pid]
    return []


def strike(lab, part, *, server, run_id=""):
    if part in ("serve", "serve-ansible"):
        lab.kill(part)
        lab.serve(part)
    elif part == "worker":
        # One of its processes, whichever it is.
        pids = processes_of(lab.directory / "ansible" / "runs" / run_id)
        kill_all([random.Random(len(pids)).choice(pids)] if pids else [])
    elif part == "sshd":
        kill_all(lab.pids(server, "sshd"))
    elif part == "nursery":
        kill_all(lab.nursery())
    else:
        kill_all(registry_pids(lab))


def unfinished(lab):
    return [row["id"] for row in lab.ask("GET", "/v1/runs?limit=500")["items"] if row["state"] in ("queued", "running")]


def one_run(lab, server, parts, number, moments):
    """A provision in which all of the server is replaced, struck at these moments."""
    order = {"servers": [server], "overrides": OVERRIDES[server](number)}
    if "registry" in parts:
        # Nothing of the image is on the server: it has to be pulled.
        lab.on(server, "sh", "-c", "podman rm -fa -t 0 && podman rmi -fa")
    run_id = lab.provision(**order)
    begun = time.monotonic()
    for part, moment in zip(parts, moments, strict=True):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        strike(lab, part, server=server, run_id=run_id)
    first = lab.run(run_id)
    second = lab.run(lab.provision(**order))
    assert second["state"] == "succeeded", (parts, moments, first["reason"], second)
    for role, line in WRITTEN[server](number).items():
        assert line in lab.on(server, "cat", f"/etc/contrail/{role}.conf")
    running = {name: state for name, (_, state) in lab.containers(server).items()}
    assert running == dict.fromkeys(WRITTEN[server](number), "running")
    assert lab.ask("POST", "/v1/plan", order)["changes"] == 0


def one_image(lab, server, parts, number, moments):
    """An image that is being added when its way breaks is ready or failed afterwards, and adding it again is all."""
    name, roles = f"killed-{number}", sorted(WRITTEN[server](number))
    lab.add_image(name, roles, wait=False)
    begun = time.monotonic()
    for part, moment in zip(parts, moments, strict=True):
        time.sleep(max(0.0, begun + moment / 6 - time.monotonic()))
        strike(lab, part, server=server)
    image = lab.image(name)
    for _ in range(30):
        if image["state"] == "ready":
            break
        assert image["state"] == "failed"
        # Its registry may be on its way up again.
        time.sleep(1)
        image = lab.add_image(name, roles)
    assert image["state"] == "ready", image
    assert all(each["digest"].startswith("sha256:") for each in image["containers"])
    lab.provisioned(servers=[server], image=name)


def trials(lab, count, seed, *, server, at_once):
    """``count`` kills, a fifth of them while an image is added, ``at_once`` of them per trial."""
    chance = random.Random(seed)
    drawn = []
    for trial, deaths, number in (
        (one_run, DEATHS, count - count // 5), (one_image, DEATHS_OF_IMAGES, count // 5)
    ):  # fmt: skip
        parts = [deaths[each % len(deaths)] for each in range(number)]
        chance.shuffle(parts)
        drawn += [(trial, parts[each : each + at_once]) for each in range(0, number, at_once)]
    chance.shuffle(drawn)
    assert sum(len(parts) for _, parts in drawn) == count
    with OneRunAtATime(lab.directory) as looker:
        for number, (trial, parts) in enumerate(drawn):
            trial(lab, server, parts, number, sorted(chance.uniform(0, 4) for _ in parts))
            assert unfinished(lab) == []
    assert looker.most == 1, "two runs on one server"
    kept = files_below(lab.directory / "ansible" / "runs")
    assert [path for path in kept if {"request.json", "private", "control"} & set(path.parts)] == []
    lab.provisioned(servers=[server])


def test_ten_kills_at_random_moments(lab):
    trials(lab, 10, seed=1963, server="server2", at_once=4)


@pytest.mark.soak
def test_two_hundred_kills_at_random_moments(lab):
    trials(lab, 200, seed=time.time_ns(), server="server3", at_once=4)


def test_a_run_outlives_the_ansible_servers_restart(lab):
    """SIGKILL in the middle; the worker goes on, and its run succeeds without being asked for again."""
    order = {"servers": ["server2"], "overrides": {"controller": {"CONTROLLER": {"bgp_asn": 64777}}}}
    run_id = lab.provision(**order)
    deadline = time.monotonic() + 300
    while f"{run_id} server2" not in lab.debug_log():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lab.kill("serve-ansible")
    with pytest.raises(ContrailVsphereError, match="9003"):
        lab.provision(servers=["server1"])
    lab.serve("serve-ansible")
    assert lab.run(run_id)["state"] == "succeeded"
    lines = [line for line in lab.debug_log().splitlines() if run_id in line]
    assert len(lines) == len(set(lines)), "no event stands there twice"
