"""The collection's modules against Docker's own daemon, in a network without a way out.

Not part of the short form: Docker is no part that the tests install. ``apt-get install docker.io`` makes it run. The
container is not privileged: Docker gives such a one all capabilities, which not every test machine has itself.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time

import pytest
from test_collection_modules import run

from contrail_vsphere.demo.service_images import BUSYBOX, archive
from contrail_vsphere.servermanager.catalogue import catalogue

PROGRAMS = f"{os.environ['PATH']}:/usr/sbin:/sbin"

pytestmark = [
    pytest.mark.process,
    pytest.mark.soak,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("dockerd", path=PROGRAMS) or not BUSYBOX.exists(),
        reason="needs root, docker.io and busybox-static",
    ),
]


class Api(http.client.HTTPConnection):
    """Docker's API on its socket."""

    def __init__(self, path):
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)

    def ask(self, method, path, body=None):
        self.request(method, path, body=body, headers={"Content-Type": "application/x-tar"})
        answer = self.getresponse()
        raw = answer.read()
        assert answer.status < 300, raw
        return raw


@pytest.fixture
def docker(tmp_path):
    place = str(tmp_path / "docker.sock")
    command = ["unshare", "--net", "--mount", "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none",
               "--storage-driver=vfs", "--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec"),
               "--pidfile", str(tmp_path / "pid"), "-H", f"unix://{place}",
               "--default-ulimit", "nofile=20000:20000"]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": PROGRAMS})
    deadline = time.monotonic() + 60
    try:
        while not os.path.exists(place):  # noqa: PTH110
            assert daemon.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-1500:]
            time.sleep(0.1)
        api = Api(place)
        said = api.ask("POST", "/images/load", archive(catalogue().role("lb"), version="1")).decode()
        image = said.partition("sha256:")[2][:64]
        yield place, f"sha256:{image}", api
        api.close()
    finally:
        daemon.terminate()
        daemon.wait(60)


def test_docker_bears_a_role_like_podman(docker, tmp_path):
    place, image, api = docker
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "lb.conf").write_text("[GLOBAL]\n")
    spec = {"binds": [f"{tmp_path / 'conf'}:/etc/contrailctl:ro"], "network": "host",
            "restart": "unless-stopped", "tty": True, "capabilities": ["AUDIT_WRITE"]}  # fmt: skip
    wanted = {"name": "lb", "image": image, "spec": spec, "spec_hash": "h1", "socket": place, "role": "lb"}
    assert run("engine", socket=place)["engine"].startswith("Docker/")
    assert run("container", **wanted)["what"] == ["container lb is missing"]
    assert run("container", **wanted)["changed"] is False, "asked again, nothing is left to do"
    health = {"container": "lb", "socket": place, "kind": "none", "role": "lb", "timeout": 20}
    assert run("health", **health)["contrail"]["done"] is True
    shown = json.loads(api.ask("GET", "/containers/lb/json"))
    assert shown["State"]["Running"]
    assert shown["HostConfig"]["NetworkMode"] == "host"
    other = {**wanted, "spec_hash": "h2", "spec": {**spec, "restart": "always"}}
    assert run("container", check=True, **other)["what"] == ["container lb has another specification"]
    run("container", **other, grace=1)
    assert json.loads(api.ask("GET", "/containers/lb/json"))["HostConfig"]["RestartPolicy"]["Name"] == "always"
    run("container", **other, state="absent", grace=1)
    assert json.loads(api.ask("GET", "/containers/json?all=true")) == []
