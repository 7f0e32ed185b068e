"""The seed's three verbs as an operator types them, against a real process with a real registry."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
from image_kit import bundle, docker_archive

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("server-manager-cli")]

CANARY = "canary-5d5d"


def prepare(manager, *, port=22):
    archive = manager.directory / "controller.tar"
    archive.write_bytes(docker_archive("controller"))
    image = {"id": "contrail-container", "category": "container", "type": "contrail-container-ubuntu",
             "version": "4.0.0.0-3016", "parameters": {"containers": [{"role": "control",
             "container_path": str(archive)}]}}  # fmt: skip
    manager.run("add", "image", "-f", manager.file("image.json", {"image": [image]}), "--wait")
    cluster = {"id": "c1", "package_image_id": "contrail-container", "parameters": {"provision": {"containers": {
        "control": {"RABBITMQ": {"password": CANARY}}}}}}  # fmt: skip
    manager.run("add", "cluster", "-f", manager.file("cluster.json", {"cluster": [cluster]}))
    servers = [{"id": f"s{n}", "cluster_id": "c1", "ip_address": f"127.61.1.{n}", "roles": ["contrail-controller"],
                "password": CANARY, "ssh_port": port} for n in (1, 2)]  # fmt: skip
    return manager.run("add", "server", "-f", manager.file("server.json", {"server": servers}))


def test_from_image_to_provisioned(manager):
    said = prepare(manager, port=1)
    assert "host key is not pinned yet" in said.stderr
    assert [row["state"] for row in manager.json("display", "server")["items"]] == ["unreachable", "unreachable"]
    planned = manager.run("provision", "--cluster_id", "c1", "--plan").stdout
    assert "4 changes" in planned
    assert "create /etc/contrail/controller.conf" in planned
    assert CANARY not in planned
    assert "nobody to ask" in manager.run("provision", "--cluster-id", "c1", code=2).stderr
    manager.ansible.double.ends = {"s2": "failed"}
    failed = manager.run("provision", "--cluster-id", "c1", "--yes", "--wait", code=1)
    run_id = re.search(r"run-[0-9a-f]{16}", failed.stderr)[0]
    assert "the disk is full" in failed.stdout
    assert f"server-manager retry {run_id}" in failed.stderr
    manager.ansible.double.ends = {}
    manager.run("retry", run_id, "--wait")
    retried = next(r for i, r in manager.ansible.double.requests.items() if i != run_id)
    assert list(retried["hosts"]) == ["s2"]
    assert CANARY in retried["hosts"]["s2"]["roles"][0]["files"][0]["content"]
    assert [row["state"] for row in manager.json("status", "server")["items"]] == ["provisioned", "provisioned"]
    assert manager.json("provision", "--cluster-id", "c1", "--plan")["changes"] == 0
    (row,) = manager.json("explain", "s1", "controller", "--option", "RABBITMQ.password")["settings"]
    assert (row["value"], row["source"]) == ("*****", "cluster.controller")
    assert (
        "used by cluster c1" in manager.run("delete", "image", "--image_id", "contrail-container", "-y", code=1).stderr
    )
    everything = [path.read_bytes() for path in manager.directory.joinpath("data").rglob("*") if path.is_file()]
    everything.append((manager.directory / "log").read_bytes())
    assert not any(CANARY.encode() in content for content in everything)


def test_24_all_problems_of_a_file_at_once_and_exit_codes(manager):
    bad = manager.file("bad.json", {"server": [{"id": "s1", "ip_adress": "10.0.0.1", "roles": ["controler"]}]})
    told = manager.run("add", "server", "-f", bad, code=2).stderr
    assert "problem: $.server.ip_adress: unknown; 'ip_address' is meant?" in told
    assert "problem: $.server.roles[0].controler: unknown; 'controller' is meant?" in told
    broken = manager.directory / "broken.json"
    broken.write_text('{"server": [{"id": "s1"\n "x": 1}]}')
    assert "line 2 column 2" in manager.run("add", "server", "-f", broken, code=2).stderr
    assert manager.run("display", "server", "--server_id", "none", code=1).stderr.startswith("error: no server 'none'")
    manager.stop()
    assert "server-manager serve" in manager.run("display", "server", code=1).stderr


def test_kill_nine_loses_nothing_that_was_said(manager):
    prepare(manager, port=1)
    manager.stop(kill=True)
    manager.start()
    (image,) = manager.json("display", "image")["items"]
    assert image["state"] == "ready"
    assert len(manager.json("display", "server")["items"]) == 2
    assert len(manager.json("display", "all")["server"]) == 2
    told = manager.run("display", "all").stdout
    assert "servers\n" in told and "contrail-container" in told
    path = manager.directory / "contrail-cloud-docker_4.1.1.0-1-mitaka.tgz"
    path.write_bytes(bundle(["lb", "agent"]))
    manager.run("upload-image", "--id", "ct_4_1", "--version", "4.1.1.0-1", "--type", "contrail-ubuntu-package",
                "-f", path, "--wait")  # fmt: skip
    (image,) = manager.json("display", "image", "--image_id", "ct_4_1")["items"]
    assert [row["role"] for row in image["containers"]] == ["agent", "lb"]


def test_tokens_and_secrets_by_file(shared_manager):
    manager = shared_manager
    token = manager.directory / "eve.token"
    manager.run("token", "create", "eve", "--role", "viewer", "--out", token)
    assert token.stat().st_mode & 0o777 == 0o600
    refused = manager.run("--token-file", token, "delete", "cluster", "--cluster-id", "c1", "-y", code=1)
    assert "eve is a viewer" in refused.stderr
    manager.run("secret", "put", "rabbit", text="hunter2\n")
    assert manager.json("secret", "list")["items"] == [{"name": "rabbit"}]


@pytest.fixture
def sshd(tmp_path):
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or shutil.which("ssh-keyscan") is None:
        if os.environ.get("CI"):
            pytest.fail("openssh-server is not installed")
        pytest.skip("openssh-server is not installed")
    running = []

    def start(port=None):
        with socket.create_server(("127.61.1.1", 0)) as probe:
            port = port or probe.getsockname()[1]
        key = tmp_path / f"host{len(running)}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=60)
        config = tmp_path / f"sshd{len(running)}.conf"
        config.write_text(
            f"Port {port}\nListenAddress 127.61.1.1\nListenAddress 127.61.1.2\nHostKey {key}\nPidFile none\n"
        )
        os.makedirs("/run/sshd", exist_ok=True)  # noqa: PTH103
        running.append(subprocess.Popen([program, "-D", "-f", config], stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.61.1.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return port, key.with_suffix(".pub").read_text().split()[1]

    def stop():
        running[-1].terminate()
        running[-1].wait(60)

    yield start, stop
    for each in running:
        each.terminate()
        each.wait(60)


@pytest.mark.skipif(os.geteuid() != 0, reason="sshd's separation directory needs root")
def test_a_host_key_is_pinned_at_add_and_held_to(manager, sshd):
    start, stop = sshd
    port, key = start()
    prepare(manager, port=port)
    rows = manager.json("display", "server")["items"]
    assert [(row["state"], row["host_key"]) for row in rows] == [("checked", f"ssh-ed25519 {key}")] * 2
    stop()
    start(port)
    assert "another SSH host key" in manager.run("check", "s1", code=1).stderr
    assert manager.json("display", "server", "--server-id", "s1")["items"][0]["host_key"] == f"ssh-ed25519 {key}"


def test_it_starts_quickly():
    code = "import sys; import contrail_vsphere.cli.server_manager.main; print('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout == "False\n"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self):
        return True


def test_objects_are_chosen_by_where_and_asked_for_role_by_role(manager, monkeypatch):
    prepare(manager, port=1)
    rows = manager.json("display", "server", "--where", "ip_address like '%.2' and roles = 'controller'")["items"]
    assert [row["id"] for row in rows] == ["s2"]
    assert manager.json("display", "image", "--where", "state != 'ready'")["items"] == []
    assert [row["id"] for row in manager.json("status", "server", "--where", "id in (s1, s2)")["items"]] == ["s1", "s2"]
    assert "letter 1" in manager.run("display", "cluster", "--where", "1=1", code=2).stderr
    assert "no field 'colour'" in manager.run("delete", "server", "--where", "colour = red", "-y", code=2).stderr
    assert "no server fits" in manager.run("delete", "server", "--where", "id = 's9'", "-y", code=2).stderr
    planned = manager.json("provision", "--where", "id = 's2'", "--plan")
    assert [host["server"] for host in planned["hosts"]] == ["s2"]
    assert "asks on a terminal" in manager.run("provision", "-I", code=2).stderr
    roles = [row["role"] for row in manager.json("display", "role")["items"]]
    answers = ["contrail-container", *("s1" if each == "controller" else "" for each in roles), "y"]
    manager.run("provision", "--cluster-id", "c1", "-I", text=Terminal("\n".join(answers) + "\n"))
    (request,) = manager.ansible.double.requests.values()
    assert list(request["hosts"]) == ["s1"]
    nobody = Terminal("\n".join(["", "s1,s9", ""]))
    assert "no such server: s9" in manager.run("provision", "--cluster-id", "c1", "-I", text=nobody, code=2).stderr
    manager.run("delete", "server", "--where", "id = 's2'", "-y")
    assert [row["id"] for row in manager.json("display", "server")["items"]] == ["s1"]


def test_one_file_holds_what_names_each_other_and_all_of_it_is_added_or_nothing(shared_manager):
    archive = shared_manager.directory / "lb.tar"
    archive.write_bytes(docker_archive("lb"))
    image = {"id": "one-file", "category": "container", "type": "contrail-container-ubuntu", "version": "1",
             "parameters": {"containers": [{"role": "lb", "container_path": str(archive)}]}}  # fmt: skip
    servers = [{"id": f"f{n}", "cluster_id": "of-a-file", "ip_address": f"127.61.2.{n}", "roles": ["contrail-lb"],
                "ssh_port": 1} for n in (1, 2)]  # fmt: skip
    whole = {"server": servers, "cluster": [{"id": "of-a-file", "package_image_id": "one-file"}], "image": [image]}
    wrong = {**whole, "server": [*servers, {**servers[0], "id": "f 3"}, {**servers[1], "id": "f4", "ssh_port": 0}]}
    refused = shared_manager.run("add", "config", "-f", shared_manager.file("wrong.json", wrong), code=2).stderr
    assert re.search("problem: server f 3: .*\n.*\nproblem: server f4: ", refused)
    assert shared_manager.json("display", "image", "--where", "id = 'one-file'")["items"] == []
    file = shared_manager.file("whole.json", whole)
    for _ in range(2):
        added = shared_manager.json("add", "config", "-f", file, "--wait")["items"]
        assert [(each["id"], each.get("state")) for each in added] == [
            ("one-file", "ready"), ("of-a-file", None), ("f1", "unreachable"), ("f2", "unreachable")
        ]  # fmt: skip
    assert shared_manager.json("provision", "--cluster-id", "of-a-file", "--plan")["changes"] == 4
    assert (
        "'dhcp_host' is unknown"
        in shared_manager.run(
            "add", "config", "-f", shared_manager.file("dhcp.json", {"dhcp_host": [{}]}), code=2
        ).stderr
    )
    for kind, name in (("server", "f1"), ("server", "f2"), ("cluster", "of-a-file"), ("image", "one-file")):
        shared_manager.run("delete", kind, f"--{kind}-id", name, "-y")


def test_columns_and_what_is_bare_metals(shared_manager):
    shown = shared_manager.json("display", "columns", "--table", "server")["columns"]
    assert {"ip_address", "roles", "state"} <= set(shown)
    assert "MAAS" in shared_manager.run("restart", "--server-id", "s1", "--net_boot", "-y", code=2).stderr
    assert "say which servers" in shared_manager.run("restart", "-y", code=2).stderr
    assert "MAAS" in shared_manager.run("reimage", "ubuntu", "--server_id", "s1", "-F", code=2).stderr
