import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest

from contrail_vsphere.cli.main import main
from contrail_vsphere.cli.server_manager.main import app

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
        run_id = parse_qs(urlsplit(self.path).query)["id"][0]
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


class Done:
    """What a command said."""

    def __init__(self):
        self.out, self.err = io.StringIO(), io.StringIO()

    @property
    def stdout(self):
        return self.out.getvalue()

    @property
    def stderr(self):
        return self.err.getvalue()


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
            self.process.wait(60)
            self.process.stdout.close()
            self.process = None

    def run(self, *arguments, code=0, text=None):
        """A command in this process: what it would print and return."""
        done = Done()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True), contextlib.chdir(self.directory),
            contextlib.redirect_stdout(done.out), contextlib.redirect_stderr(done.err),
            mock.patch.object(sys, "stdin", text if isinstance(text, io.StringIO) else io.StringIO(text or "")),
        ):  # fmt: skip
            returned = main([*map(str, arguments)], application=app, name="server-manager")
        assert returned == code, (returned, done.stdout, done.stderr)
        return done

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def file(self, name, document):
        path = self.directory / name
        path.write_text(json.dumps(document))
        return path


@contextlib.contextmanager
def serving(directory):
    if shutil.which("docker-registry") is None:
        if os.environ.get("CI"):
            pytest.fail("docker-registry is not installed")
        pytest.skip("docker-registry is not installed")
    _Ansible.ends, _Ansible.requests = {}, {}
    ansible = ThreadingHTTPServer(("127.0.0.1", 0), _Ansible)
    thread = threading.Thread(target=ansible.serve_forever)
    thread.start()
    ansible.double = _Ansible
    made = Manager(directory, ansible)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        ansible.shutdown()
        ansible.server_close()
        thread.join(10)


@pytest.fixture
def manager(tmp_path):
    """A Server Manager of the test's own."""
    with serving(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def shared_manager(tmp_path_factory):
    """One for tests that leave nothing which others could trip over."""
    with serving(tmp_path_factory.mktemp("shared-manager")) as made:
        yield made
