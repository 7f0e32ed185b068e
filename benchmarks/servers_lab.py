"""What the measurements of Server Manager share: a lab of servers, both services in it, and an operator.

The lab is one of ``demo.server_lab``; what is measured runs in its network, as ``python -m MODULE inside``.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contrail_vsphere.cli.server_manager.client import Client, Where
from contrail_vsphere.demo.server_lab import GATEWAY, obstacles
from contrail_vsphere.demo.service_images import archive
from contrail_vsphere.servermanager.catalogue import catalogue

Measure = Callable[[dict[str, Any], Path], Awaitable[dict[str, Any]]]
"""From the lab's ready line and an empty directory to figures."""


def run(measure: Measure, main: Callable[[int], dict[str, Any]]) -> None:
    """A measurement's own command line: ``inside`` a lab, or with a number of servers for one to be set up."""
    if sys.argv[1] != "inside":
        print(json.dumps(main(int(sys.argv[1]))))
        return
    directory = Path(tempfile.mkdtemp(prefix="bench-servers-"))

    async def inside() -> dict[str, Any]:
        return await measure(json.loads(sys.stdin.readline()), directory)

    try:
        print(json.dumps(asyncio.run(inside())))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def in_a_lab(module: str, hosts: int) -> dict[str, Any]:
    """What ``python -m MODULE inside`` prints in the network of a lab of so many servers."""
    wrong = [*obstacles(), *([] if shutil.which("docker-registry") else ["docker-registry is not installed"])]
    if wrong:
        return {"skipped": "; ".join(wrong)}
    names = [f"s{number}" for number in range(1, hosts + 1)]
    # On a site the servers' own work is done elsewhere: here it yields to what is measured.
    command = ["nice", "-n", "19", sys.executable, "-m", "contrail_vsphere.demo.server_lab", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        try:
            ready = lab.stdout.readline() if lab.stdout else ""
            pid = str(json.loads(ready)["pid"])
            inside = ["nsenter", "--target", pid, "--net", "--", sys.executable, "-m", module, "inside"]
            done = subprocess.run(inside, input=ready, capture_output=True, text=True, timeout=1500, check=False)
        finally:
            lab.terminate()
            lab.wait(60)
    if done.returncode:
        raise SystemExit(f"{module}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Path]:
    """Both servers in this process; the settings file that leads to them."""
    from contrail_vsphere.app.ansible_server import AnsibleService
    from contrail_vsphere.app.server_manager import ServerManagerService
    from contrail_vsphere.config.load import load

    config = directory / "contrail-vsphere.toml"
    config.write_text(
        f'[server_manager]\ndata_dir = "{directory}/manager"\nansible_data_dir = "{directory}/ansible"\n'
        f'registry_listen = "{GATEWAY}:5100"\n'
    )
    settings = load(config, {}).server_manager
    async with AnsibleService(settings), ServerManagerService(settings):
        yield config


def cpu_seconds(*, own: bool = True) -> float:
    """Of what this process started and has waited for, and of the servers in it itself.

    Workers are children of the nursery, which is still there: what it has waited for counts, too, Ansible among it.
    """
    counted = [resource.getrusage(resource.RUSAGE_CHILDREN)]
    counted += [resource.getrusage(resource.RUSAGE_SELF)] if own else []
    return sum(each.ru_utime + each.ru_stime for each in counted) + (_waited_for_by_children() if own else 0.0)


def _waited_for_by_children() -> float:
    """Fields 16 and 17 of proc(5)'s stat, of every child of ours."""
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")


class Side:
    """An operator of the Server Manager that serves here."""

    def __init__(self, config: Path, directory: Path, roles: Sequence[str]) -> None:
        self.client = Client(Where(settings_file=config))
        self._directory = directory
        self._roles = roles
        self._request = b""

    def fill(self, lab: dict[str, Any]) -> None:
        """An image, a cluster, its servers."""
        client = self.client
        parts = []
        for role in self._roles:
            path = self._directory / f"{role}.tar"
            path.write_bytes(archive(catalogue().role(role), version="1"))
            parts.append({"role": role, "container_path": str(path)})
        client.ask("POST", "/v1/images", {
            "id": "img", "category": "container", "type": "contrail-container", "version": "1",
            "parameters": {"containers": parts}})  # fmt: skip
        while client.get("/v1/images/img")["state"] == "adding":
            time.sleep(0.2)
        client.ask("PUT", "/v1/clusters/c", {"id": "c", "package_image_id": "img", "parameters": {"provision": {
            "containers": {"global": {"GLOBAL": {"cloud_orchestrator": "vcenter"}}}}}})  # fmt: skip
        key = Path(lab["private_key_file"]).read_text()
        for name, host in lab["hosts"].items():
            client.ask("PUT", f"/v1/servers/{name}", {"id": name, "cluster_id": "c", "ip_address": host["address"],
                                                      "roles": list(self._roles), "ssh_private_key": key})  # fmt: skip
            client.ask("POST", f"/v1/servers/{name}/check")

    def begin(self) -> str:
        """A run of all servers."""
        run_id: str = self.client.ask("POST", "/v1/provision", {"cluster": "c"})["id"]
        directory = self._directory / "ansible" / "runs" / run_id
        self._request = self._request or (directory / "request.json").read_bytes()
        return run_id

    def provision(self, *, fails: bool = False) -> dict[str, Any]:
        """One run, watched to its end; ``cpu`` is what both servers, their worker and Ansible used for it."""
        at, began, used = time.time(), time.perf_counter(), cpu_seconds()
        told = self.follow(self.begin(), since=at, fails=fails)
        return {**told, "seconds": time.perf_counter() - began, "cpu": cpu_seconds() - used}

    def follow(self, run_id: str, *, since: float = 0.0, fails: bool = False) -> dict[str, Any]:
        """Watch a run to its end: when what happened was shown, and what the run's own log of events says."""
        seen: dict[tuple[str, str], float] = {}
        run: dict[str, Any] = {}
        tag = ""
        while True:
            news, tag = self.client.news(f"/v1/runs/{run_id}", tag=tag, wait=10.0)
            run = news or run
            for name, host in run["hosts"].items():
                for role, state in host["roles"].items():
                    if state == "completed":
                        seen.setdefault((name, role), time.time())
            if run["state"] not in ("queued", "running"):
                break
        if run["state"] != "succeeded" and not fails:
            raise SystemExit(f"run {run_id}: {run['reason']}")
        log = self._directory / "ansible" / "runs" / run_id / "events.jsonl"
        events = [json.loads(line) for line in log.read_text().splitlines()]
        steps = [each for each in events if each.get("role")]
        done = {(each["host"], each["role"]): each["at"] for each in steps if each.get("done")}
        return {
            "id": run_id, "changed": sum(host["changed"] for host in run["hosts"].values()),
            "event": events[0]["at"] - since if events else 0.0, "modules": len(steps) / max(1, len(done)),
            "behind": max((seen[each] - at for each, at in done.items() if each in seen), default=0.0),
            "done": {name: at - since for (name, _), at in sorted(done.items(), key=lambda each: each[1])},
            "states": {name: host["state"] for name, host in run["hosts"].items()},
            "touched": sorted({each["host"] for each in events if each.get("host")}),
        }  # fmt: skip

    def bare(self) -> tuple[float, float]:
        """The same plays by ansible-playbook alone: seconds, and seconds of CPU."""
        from contrail_vsphere.servermanager.ansible_server.niceness import NICE
        from contrail_vsphere.servermanager.ansible_server.run_directory import RunDirectory
        from contrail_vsphere.servermanager.ansible_server.worker import PLAYBOOK, environment, lay_out
        from contrail_vsphere.servermanager.runs import RunRequest

        run = RunDirectory(self._directory / "bare")
        lay_out(run, RunRequest.model_validate_json(self._request))
        with tempfile.TemporaryDirectory(prefix="sm-b-") as control:
            tool = str(Path(sys.executable).parent / "ansible-playbook")
            command = ["nice", "-n", str(NICE), tool, "--diff", "-i", str(run.private / "inventory.yml"), PLAYBOOK]
            given = {**environment(run.private, Path(control)), "PATH": os.environ["PATH"], "HOME": str(run.private)}
            began, used = time.perf_counter(), cpu_seconds(own=False)
            subprocess.run(command, env=given, check=True, capture_output=True, timeout=600)
            return time.perf_counter() - began, cpu_seconds(own=False) - used
