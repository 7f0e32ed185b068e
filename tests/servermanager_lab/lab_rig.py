"""Servers to provision, made of this machine, with the product's own processes beside them; all of it can be killed.

The test's process stays outside the lab's network; a thread of it goes in, and asks there as the command line does.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contrail_vsphere.cli.server_manager.client import Client, Where
from contrail_vsphere.demo.server_lab import GATEWAY, obstacles
from contrail_vsphere.demo.service_images import BUSYBOX, archive
from contrail_vsphere.model.errors import ContrailVsphereError, Unreachable
from contrail_vsphere.pki.secrets import write_private
from contrail_vsphere.servermanager.ansible_server.playbook import NAME as PLAYBOOK
from contrail_vsphere.servermanager.ansible_server.run_directory import NURSERY_MARK
from contrail_vsphere.servermanager.catalogue import catalogue

CLONE_NEWNET = 0x40000000
FINAL = ("succeeded", "failed", "canceled", "interrupted")
CANARIES = {
    "rabbit": "canary-rabbit-51c7", "keystone": "canary-keystone-93aa", "haproxy": "canary-haproxy-20fe",
}  # fmt: skip
PLACEMENT = {"server1": ["controller", "analytics"], "server2": ["controller"], "server3": ["lb", "agent"]}
SETTINGS = """\
[server_manager]
data_dir = "{data}/manager"
ansible_data_dir = "{data}/ansible"
ansible_token_file = "{data}/ansible.token"
registry_listen = "{gateway}:5100"
"""
# The Ansible server has a user of its own. Where this Python is in somebody's home it may at least read that.
OPEN = all(each.stat().st_mode & 0o001 for each in Path(sys.executable).resolve().parents)
AS_ANSIBLE = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    *(() if OPEN else ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")),
)  # fmt: skip


# A mount of this namespace, cloned and put into the server's.
LEND = """\
import ctypes, os, sys
libc, (pid, path) = ctypes.CDLL(None, use_errno=True), sys.argv[1:]
tree = libc.syscall(428, -100, path.encode(), 0x8001)
assert tree >= 0, os.strerror(ctypes.get_errno())
assert libc.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), 0x20000) == 0, os.strerror(ctypes.get_errno())
os.makedirs(path, exist_ok=True)
assert libc.syscall(429, tree, b"", -100, path.encode(), 4) == 0, os.strerror(ctypes.get_errno())
"""


def what_is_missing():
    found = list(obstacles())
    if shutil.which("docker-registry") is None:
        found.append("docker-registry is not installed")
    if not BUSYBOX.exists():
        found.append(f"{BUSYBOX} is missing (busybox-static)")
    return "; ".join(found)


class Rig:
    def __init__(self):
        # Not below pytest's own directory, which is closed to other users.
        self.directory = directory = Path(tempfile.mkdtemp(prefix="tests-lab-"))
        directory.chmod(0o711)
        self.config = directory / "contrail-vsphere.toml"
        self.config.write_text(SETTINGS.format(data=directory, gateway=GATEWAY))
        (directory / "ansible").mkdir(mode=0o700)
        write_private(directory / "ansible.token", b"token-of-the-lab\n")
        for each in ("ansible", "ansible.token"):
            shutil.chown(directory / each, "nobody", "nogroup")
        self.processes = {}
        self._door = None

    # -- parts --------------------------------------------------------------------------------------------------------

    def start(self, names):
        self.lab = self._spawn("lab", [sys.executable, "-m", "contrail_vsphere.demo.server_lab", *names])
        self._door = ThreadPoolExecutor(1, initializer=_enter, initargs=(self.lab["pid"],))
        for part in ("serve-ansible", "serve"):
            self.serve(part)

    def serve(self, part):
        module = "contrail_vsphere.cli.server_manager.main"
        command = [sys.executable, "-m", module, "--config", str(self.config), part]
        command = [*AS_ANSIBLE, *command] if part == "serve-ansible" else command
        self._spawn(part, ["nsenter", "--target", str(self.lab["pid"]), "--net", "--", *command])

    def kill(self, part):
        process = self.processes.pop(part)
        process.kill()
        process.wait(60)
        process.stdout.close()

    def nursery(self):
        """Where the Ansible server's workers come from: its child."""
        pid, found = self.processes["serve-ansible"].pid, []
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if f"{NURSERY_MARK}=".encode() in Path(f"/proc/{child}/environ").read_bytes():
                        found.append(int(child))
        return found

    def stop(self):
        for part in list(reversed(self.processes)):
            process = self.processes.pop(part)
            process.terminate()
            process.wait(180)
            process.stdout.close()
        if self._door is not None:
            self._door.shutdown()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _spawn(self, part, command):
        with (self.directory / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
        line = process.stdout.readline()
        assert line, (self.directory / f"{part}.log").read_text()[-2000:]
        self.processes[part] = process
        return json.loads(line)

    # -- the way in ---------------------------------------------------------------------------------------------------

    def ask(self, method, path, body=None):
        def inside():
            client = Client(Where(settings_file=self.config))
            try:
                return client.ask(method, path, body)
            finally:
                client.close()

        return self._door.submit(inside).result(180)

    def cli(self, *arguments, code=0):
        command = [sys.executable, "-m", "contrail_vsphere.cli.server_manager.main", "--config", str(self.config)]
        done = subprocess.run(
            ["nsenter", "--target", str(self.lab["pid"]), "--net", "--", *command, *arguments], capture_output=True,
            text=True, timeout=600, stdin=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "250"},
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def inside(self, *command):
        """Run something in the lab's own namespace, where the cables are."""
        subprocess.run(["nsenter", "-t", str(self.lab["pid"]), "--net", "--", *command], check=True, timeout=60)

    def lend(self, host, *directories):
        """Show directories of this machine to a server that cannot see them, as its home directory is its own."""
        pid = self.lab["hosts"][host]["pid"]
        for each in directories:
            if not Path(f"/proc/{pid}/root{each}/.").exists():
                subprocess.run([sys.executable, "-c", LEND, str(pid), str(each)], check=True, timeout=60)

    def simulate(self, host, *arguments):
        """Start a simulator on a server; its ready line. It ends with the lab."""
        entered = ["nsenter", "-t", str(self.lab["hosts"][host]["pid"]), "--mount", "--net", "--uts", "--"]
        command = [sys.executable, "-m", "contrail_vsphere.cli.main", "simulate", *arguments]
        return self._spawn(f"simulated {arguments[0]}", [*entered, *command])

    def on(self, host, *command, seconds=180):
        """Run something on a server, by the back door."""
        entered = ["nsenter", "-t", str(self.lab["hosts"][host]["pid"]), "-a", "env",
                   "CONTAINERS_CONF=/root/containers.conf", *command]  # fmt: skip
        done = subprocess.run(entered, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def containers(self, host):
        """Name -> (id, state) of what runs there."""
        rows = json.loads(self.on(host, "podman", "ps", "-a", "--format", "json") or "[]")
        return {row["Names"][0]: (row["Id"], row["State"]) for row in rows or []}

    def pids(self, host, name):
        """Of the server's processes of that name, as seen from here."""
        inside = Path(f"/proc/{self.lab['hosts'][host]['pid']}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if (entry / "ns/pid").readlink() == inside and (entry / "comm").read_text().strip() == name:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    # -- what people do -----------------------------------------------------------------------------------------------

    def add_image(self, image_id, roles, *, version="4.1.1.0-1", wait=True):
        parts = []
        for role in roles:
            path = self.directory / f"{image_id}-{role}.tar"
            path.write_bytes(archive(catalogue().role(role), version=f"{image_id} {version}"))
            parts.append({"role": role, "container_path": str(path)})
        self.ask("POST", "/v1/images", {
            "id": image_id, "category": "container", "type": "contrail-container-ubuntu", "version": version,
            "parameters": {"containers": parts}})  # fmt: skip
        return self.image(image_id) if wait else None

    def image(self, image_id, seconds=300):
        deadline = time.monotonic() + seconds
        while (found := self.ask("GET", f"/v1/images/{image_id}"))["state"] == "adding":
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return found

    def add_cluster(self, cluster, image, containers):
        given = {"provision": {"containers": containers}}
        document = {"id": cluster, "package_image_id": image, "parameters": given}
        self.ask("PUT", f"/v1/clusters/{cluster}", document)

    def add_server(self, name, cluster, roles, **more):
        key = Path(self.lab["private_key_file"]).read_text()
        self.ask("PUT", f"/v1/servers/{name}", {
            "id": name, "cluster_id": cluster, "ip_address": self.lab["hosts"][name]["address"], "roles": roles,
            "ssh_private_key": key, **more})  # fmt: skip
        self.ask("POST", f"/v1/servers/{name}/check")

    def provision(self, **order):
        return self.ask("POST", "/v1/provision", order)["id"]

    def run(self, run_id, seconds=600):
        """The run, once it is over; the API may be away in between."""
        deadline = time.monotonic() + seconds
        found = {}
        while time.monotonic() < deadline:
            try:
                found = self.ask("GET", f"/v1/runs/{run_id}")
                if found["state"] in FINAL:
                    return found
            except Unreachable:
                pass
            time.sleep(0.2)
        raise AssertionError(f"run {run_id} does not end: {found}")

    def provisioned(self, **order):
        """Provision to the end; it succeeds."""
        run = self.run(self.provision(**order))
        assert run["state"] == "succeeded", (run["reason"], run["hosts"])
        return run

    def debug_log(self):
        return (self.directory / "ansible" / "debug.log").read_text()


class OneRunAtATime:
    """Looks at /proc all the while: playbooks of how many runs of this lab are at work at once."""

    def __init__(self, directory):
        self._directory = directory

    def __enter__(self):
        self.most = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(20)

    def _look(self):
        while not self._end.wait(0.1):
            self.most = max(self.most, len(playbooks(self._directory)))


def playbooks(directory):
    """Lock files of the runs below the directory whose ansible-playbook is at work, or a fork of it."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "comm").read_bytes().strip() == PLAYBOOK[:15].encode():
                    handles = {each.readlink() for each in (entry / "fd").iterdir()}
                    found |= {path for path in handles if path.name == "worker.lock" and directory in path.parents}
    return found


def files_below(directory):
    """Path -> content of what is there now; others write and remove there meanwhile."""
    found = {}
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            if path.is_file():
                with contextlib.suppress(FileNotFoundError):
                    found[path] = path.read_bytes()
    return found


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _enter(pid):
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


__all__ = [
    "CANARIES", "PLACEMENT", "ContrailVsphereError", "OneRunAtATime", "Rig", "files_below", "kill_all",
    "what_is_missing",
]  # fmt: skip
