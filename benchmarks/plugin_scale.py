"""The vCenter plugin at the size of a large site, its outside worlds in processes of their own.

The plugin is the real process (``contrail-vsphere run --role plugin``). Its memory is the kernel's high-water mark, its
waiting the share of the time in which it did not compute: the rest of that share went to the simulators, which on two
cores are the slower side. Without a broker: Contrail is polled, at most once in ten minutes.

    python -m benchmarks.plugin_scale HOSTS VMS STORM MOVES [placed]

``placed``: all VMs were placed before the plugin starts (``benchmarks.plugin_estate``), instead of by it.

What goes on is said on stderr; ended by a signal, it takes its processes along.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import plugin_estate
from contrail_vsphere.demo.processes import leash

MEMORY_AIM = 300.0
"""MB (a million bytes) at most, at any time."""
WHOLE = 50_000
"""VMs at which it counts."""
NETWORKS = 4
MINUTE = 60.0
WORDS = {"fill": "place all VMs", "storm": "power on at once", "moves": "live moves in a minute"}
PATIENCE = 3600.0
TICKS = os.sysconf("SC_CLK_TCK")


class World:
    """One of the other processes; ``ready`` is its ready line."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", "benchmarks.plugin_world", *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=leash()
        )
        self.ready: dict[str, Any] = self._answer()

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Have it done; what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a simulator has ended: see above")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=60)


class Plugin:
    """The product's process."""

    def __init__(self, settings: Path) -> None:
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> float:
        """Start it; seconds until it serves."""
        begun = time.perf_counter()
        words = ["-m", "contrail_vsphere.cli.main", "run", "--role", "plugin", "--config", str(self._settings)]
        self._process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, text=True, preexec_fn=leash()
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the plugin has ended: see above")
        self.url = json.loads(line)["control_url"]
        return time.perf_counter() - begun

    def stop(self) -> None:
        """End it as its service manager does: what does not end in time is killed."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                _say("the plugin did not end when it was told to")

    def metrics(self) -> dict[str, float]:
        """What it tells Prometheus."""
        request = urllib.request.Request(f"{self.url}/metrics")
        token = next(self._settings.parent.joinpath("data").glob("*.tokens")).read_text().split()[2]
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            lines = [line.rpartition(" ") for line in reply.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    @property
    def cpu(self) -> float:
        """Seconds it has computed."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> dict[str, float]:
        """MB: now, and the most there ever was."""
        lines = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return {name: int(lines[key].split()[0]) * 1024 / 1e6 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}

    def _proc(self, name: str) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


@dataclass(frozen=True, slots=True)
class Size:
    """Of the site, and of what happens there."""

    hosts: int
    vms: int
    storm: int
    moves: int
    placed: bool = False


def measure(size: Size, directory: Path) -> dict[str, Any]:
    """Fill the site or find it filled, start over, power many on at once, move many for a minute."""
    with contextlib.ExitStack() as stack:
        _say(f"starting the simulators: {size.vms} VMs on {size.hosts} hosts")
        vcenter = World("vcenter", size.hosts, size.vms)
        stack.callback(vcenter.stop)
        contrail = World("contrail")
        stack.callback(contrail.stop)
        plugin = Plugin(_settings(vcenter.ready, contrail.ready, directory))
        stack.callback(plugin.stop)
        contrail.do("networks", count=NETWORKS)
        found: dict[str, Any] = {"hosts": size.hosts, "vms": size.vms, "parts": {}}
        _say("starting the plugin")
        found["empty"] = {"seconds": plugin.start(), "memory": plugin.memory()}
        while vcenter.do("groups")["groups"] < NETWORKS:
            time.sleep(0.2)
        parts = found["parts"]
        if size.placed:
            plugin.stop()
            _estate(vcenter, contrail, directory)
        else:
            vcenter.do("power", first=0, count=size.storm, on=False)
            with _part(parts, "fill", plugin) as part:
                vcenter.do("place", first=0, count=size.vms)
                part |= vcenter.do("settled", patience=PATIENCE)
            _await_ports(plugin, size.vms)
            found["filled"] = plugin.memory()
            plugin.stop()
        found["cold"] = _cold(plugin, contrail, size)
        if size.placed:
            vcenter.do("power", first=0, count=size.storm, on=False)
            _await_ports(plugin, size.storm, "ACTIVE_OFF")
        with _part(parts, "storm", plugin) as part:
            vcenter.do("power", first=0, count=size.storm, on=True)
            part |= vcenter.do("settled", patience=PATIENCE)
        with _part(parts, "moves", plugin) as part:
            part["moved"] = size.moves
            vcenter.do("moves", first=size.storm, count=size.moves, seconds=MINUTE)
            part |= vcenter.do("settled", patience=PATIENCE)
        found["memory"] = plugin.memory()
        return found


def _estate(vcenter: World, contrail: World, directory: Path) -> None:
    """All VMs have their ports, as an earlier plugin would have left them."""
    _say("writing the estate")
    path = directory / "estate.json"
    contrail.do("estate", path=str(path), **vcenter.do("estate", path=str(path)))
    vcenter.do("plugged", path=str(path))
    (journal,) = directory.glob("data/plugin/*/journal.sqlite")
    plugin_estate.in_ledger(journal, plugin_estate.read(path))


def _cold(plugin: Plugin, contrail: World, size: Size) -> dict[str, Any]:
    """Start with everything placed, until every port was looked at."""
    _say("cold start")
    begun, before = time.perf_counter(), contrail.do("counts")["contrail"]
    serves = plugin.start()
    _await_ports(plugin, size.vms)
    after = contrail.do("counts")
    return {
        "serves": serves, "seconds": time.perf_counter() - begun, "cpu": plugin.cpu, "memory": plugin.memory(),
        "objects": after["objects"], "writes": _writes(after["contrail"]) - _writes(before),
    }  # fmt: skip


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _part(parts: dict[str, Any], name: str, plugin: Plugin) -> Iterator[dict[str, Any]]:
    """Time and CPU of a part; what the worlds saw is added by the caller."""
    _say(WORDS[name])
    begun, cpu = time.perf_counter(), plugin.cpu
    part: dict[str, Any] = {}
    yield part
    wall, used = time.perf_counter() - begun, plugin.cpu - cpu
    times = part.pop("ms")
    part |= {
        "wall": wall, "cpu": used, "waiting": max(0.0, 1 - used / wall), "ports": len(times),
        "p50": _at(times, 0.5), "p99": _at(times, 0.99),
    }  # fmt: skip
    parts[name] = part
    _say(f"{WORDS[name]}: {wall:.0f} s, the plugin has {plugin.memory()['now']:.0f} MB")


def _at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def _await_ports(plugin: Plugin, count: int, state: str = "ACTIVE") -> None:
    """Until so many ports are active, or in that state."""
    begun = told = time.perf_counter()
    while True:
        ports = {name: value for name, value in plugin.metrics().items() if "_ports{" in name and state in name}
        if sum(ports.values()) == count:
            return
        if time.perf_counter() - told > MINUTE:
            told = time.perf_counter()
            _say(f"{sum(ports.values()):.0f} of {count} ports are {state}")
        if time.perf_counter() - begun > PATIENCE:
            raise SystemExit(f"of {count} ports these are {state}: {ports}")
        time.sleep(0.5)


def _writes(calls: Mapping[str, int]) -> int:
    return sum(number for call, number in calls.items() if call.split()[0] in ("create", "update", "delete"))


def _settings(vcenter: dict[str, Any], contrail: dict[str, Any], directory: Path) -> Path:
    host, _, port = vcenter["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    password, hosts = directory / "password", directory / "hosts.map"
    password.touch(mode=0o600)
    password.write_text(vcenter["password"])
    hosts.write_text("".join(f"{name}:{address}\n" for name, address in vcenter["agents"].items()))
    settings = directory / "settings.toml"
    settings.write_text(f"""
[vcenter.bench]
host = "{host}"
port = {port}
thumbprint = "{vcenter["thumbprint"]}"
username = "{vcenter["username"]}"
password_file = "{password}"

[manager]
data_dir = "{directory / "data"}"

[contrail]
servers = "{contrail["url"]}"
poll = 600
writes_per_second = 10000

[plugin]
hosts_file = "{hosts}"
listen = "127.0.0.1:0"

[log]
level = "warning"
""")
    return settings


def most(found: dict[str, Any]) -> float:
    """MB: the plugin that filled the site, or the one that started with all of it, whichever took more."""
    filled = found["filled"]["peak"] if "filled" in found else 0.0
    return float(max(filled, found["memory"]["peak"]))


def missed(found: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    faults = []
    if most(found) > MEMORY_AIM:
        faults.append(f"the plugin needs {most(found):.0f} MB for {found['vms']} VMs; the aim is {MEMORY_AIM:.0f}")
    if found["cold"]["writes"]:
        faults.append(f"starting over writes {found['cold']['writes']} objects of Contrail")
    for name, part in found["parts"].items():
        if part["missing"] or part["doubled"]:
            faults.append(f"{name}: {part['missing']} ports are missing, {part['doubled']} share their VLAN")
    return faults


def shown(found: dict[str, Any]) -> list[str]:
    """For people."""
    cold, empty = found["cold"], found["empty"]
    lines = [
        f"\nvCenter plugin, {found['vms']} VMs on {found['hosts']} hosts, the simulators in processes of their own",
        f"  start before anything is placed: {empty['seconds']:.1f} s, {empty['memory']['peak']:.0f} MB",
        f"  cold start with all of it: {cold['seconds']:.1f} s ({cold['cpu']:.1f} s CPU,"
        f" {max(0.0, 1 - cold['cpu'] / cold['seconds']):.0%} waiting), {cold['memory']['peak']:.0f} MB at most,"
        f" {cold['writes']} writes to Contrail",
    ]
    for name, part in found["parts"].items():
        lines.append(
            f"  {WORDS[name]}, {part['ports']} ports: p50 {part['p50']:.0f} ms, p99 {part['p99']:.0f} ms;"
            f" {part['wall']:.1f} s, {part['cpu']:.1f} s CPU, {part['waiting']:.0%} waiting for the simulators"
        )
    verdict = "within" if most(found) <= MEMORY_AIM else "beyond"
    filled = f"{found['filled']['peak']:.0f} MB while filling, " if "filled" in found else ""
    lines.append(
        f"  memory at most: {filled}{found['memory']['peak']:.0f} MB from the cold start on:"
        f" {verdict} the {MEMORY_AIM:.0f} MB that {WHOLE} VMs may take"
    )
    return lines


def main() -> int:
    """Prints one JSON object."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as directory:
        hosts, vms, storm, moves = map(int, sys.argv[1:5])
        size = Size(hosts, vms, storm, moves, placed="placed" in sys.argv[5:])
        found = measure(size, Path(directory))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
