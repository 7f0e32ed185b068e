import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "servermanager"))

HOST = "127.61.0.3"


class _Ansible(BaseHTTPRequestHandler):
    """Takes every run, and says at once that all of it completed, but for what ``ends`` says."""

    ends: ClassVar[dict[str, str]] = {}
    requests: ClassVar[dict[str, dict]] = {}

    def do_POST(self):
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests[document["id"]] = document
        self._answer(document["id"], "running", {})

    def do_GET(self):
        run_id = self.path.partition("id=")[2]
        hosts = {}
        for name, host in self.requests[run_id]["hosts"].items():
            state = self.ends.get(name, "completed")
            role_state = "completed" if state == "completed" else "failed"
            hosts[name] = {"state": state, "message": "the disk is full" if state == "failed" else "",
                           "roles": {role["role"]: role_state for role in host["roles"]}}  # fmt: skip
        bad = any(host["state"] != "completed" for host in hosts.values())
        self._answer(run_id, "failed" if bad else "succeeded", hosts)

    def _answer(self, run_id, state, hosts):
        body = json.dumps({"id": run_id, "state": state, "reason": "", "hosts": hosts}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Manager:
    """A running ``server-manager serve`` and its command line."""

    def __init__(self, directory, ansible):
        self.directory = directory
        self.ansible = ansible
        self.process = None
        (directory / "contrail-vsphere.toml").write_text(
            f"""[server_manager]
data_dir = "{directory / "data"}"
listen = "{HOST}:0"
registry_listen = "{HOST}:{self._port()}"
ansible_url = "http://127.0.0.1:{ansible.server_port}"
"""
        )
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "COLUMNS": "200"}

    @staticmethod
    def _port():
        from socket import create_server

        with create_server((HOST, 0)) as probe:
            return probe.getsockname()[1]

    def start(self):
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "contrail_vsphere.cli.server_manager.main", "serve"],
                cwd=self.directory, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, (self.directory / "log").read_text()
        self.ready = json.loads(line)
        self.environment["SERVER_MANAGER_URL"] = self.ready["url"]

    def stop(self, *, kill=False):
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)
            self.process.stdout.close()
            self.process = None

    def run(self, *arguments, code=0, text=None):
        done = subprocess.run(
            [sys.executable, "-m", "contrail_vsphere.cli.server_manager.main", *map(str, arguments)], timeout=60,
            cwd=self.directory, env=self.environment, capture_output=True, text=True, input=text or "",
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def file(self, name, document):
        path = self.directory / name
        path.write_text(json.dumps(document))
        return path


@pytest.fixture
def manager(tmp_path):
    if shutil.which("docker-registry") is None:
        if os.environ.get("CI"):
            pytest.fail("docker-registry is not installed")
        pytest.skip("docker-registry is not installed")
    _Ansible.ends, _Ansible.requests = {}, {}
    ansible = ThreadingHTTPServer(("127.0.0.1", 0), _Ansible)
    thread = threading.Thread(target=ansible.serve_forever)
    thread.start()
    ansible.double = _Ansible
    made = Manager(tmp_path, ansible)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        ansible.shutdown()
        ansible.server_close()
        thread.join(10)
