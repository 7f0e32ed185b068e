"""Run the benchmarks: ``python -m benchmarks [--vms N] [--json]``. Exit 1 when a ratio misses its aim."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from typing import Any

from benchmarks import manager, neutron, plugin, plugin_scale, servers, servers_goals, simulator
from contrail_vsphere.demo.processes import leash

CPU_AIM = 8.0
"""Times less client CPU than pyVmomi, reading every VM with its devices."""
MEMORY_AIM = 0.25
"""Part of pyVmomi's peak memory."""
MANAGERS = ("manager", "manager-vlcm", "manager-estate")
"""Parts of the ContrailVM Manager: by EAM, by vLCM, and a large estate at rest."""
GRACE = 40.0
"""Seconds that a benchmark gets to end what it started."""


class Server:
    """The simulated vCenter, in its own process."""

    def __init__(self, *, hosts: int, vms: int, page: int) -> None:
        command = [sys.executable, "-m", "benchmarks.server", str(hosts), str(vms), str(page)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._process.stdout.readline() if self._process.stdout else ""
        if not self.ready:
            raise SystemExit("the simulated vCenter did not start")

    @property
    def described(self) -> dict[str, Any]:
        """Its ready line."""
        found: dict[str, Any] = json.loads(self.ready)
        return found

    def run(self, side: str, work: str, *, page: int = 0, calls: int = 0, ready: str = "") -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.sides", side, work, str(page), str(calls)]
        done = subprocess.run(
            command, input=ready or self.ready, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise SystemExit(f"{side} {work}: {done.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def best(self, sides: tuple[str, ...], work: str, *, page: int, repeat: int) -> dict[str, Any]:
        """The run with the least CPU of each side; the sides take turns, so that a busy machine troubles all alike."""
        runs = [{side: self.run(side, work, page=page) for side in sides} for _ in range(repeat)]
        return {side: min((run[side] for run in runs), key=lambda used: used["cpu"]) for side in sides}

    def stop(self) -> None:
        self._process.communicate(timeout=60)


def bulk(vms: int, repeat: int) -> dict[str, Any]:
    """Read every VM with its devices, in one answer and in pages of 1,000; each side keeps all it read."""
    server = Server(hosts=max(4, vms // 100), vms=vms, page=0)
    try:
        server.run("raw", "read")  # the server's caches are warm from here on, for everybody
        found: dict[str, Any] = {}
        for name, page in (("one answer", 0), ("pages of 1000", 1000)):
            found[name] = server.best(("raw", "ours", "pyvmomi"), "read", page=page, repeat=repeat)
    finally:
        server.stop()
    return found


def small(calls: int) -> dict[str, Any]:
    """CurrentTime, over and over."""
    server = Server(hosts=4, vms=0, page=100)
    try:
        return {
            "raw": server.run("raw", "calls", calls=calls),
            "ours": server.run("ours", "calls", calls=calls),
            "ours, 8 at a time": server.run("ours", "calls8", calls=calls),
            "pyvmomi": server.run("pyvmomi", "calls", calls=calls),
        }
    finally:
        server.stop()


def measured(module: str, *sizes: int | str, deadline: float = 1800, tells: bool = False) -> dict[str, Any]:
    """What a benchmark in a process and a virtual time of its own found; it does not outlive this one.

    ``tells``: it takes long, and says on stderr what goes on.
    """
    command = [sys.executable, "-m", module, *(str(size) for size in sizes)]
    errors_to = None if tells else subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors_to, text=True, preexec_fn=leash()
    ) as process:
        try:
            out, errors = process.communicate(timeout=deadline)
        except BaseException:
            process.terminate()
            try:
                process.communicate(timeout=GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            print(f"{module} {sizes} was not over", file=sys.stderr)
            raise
    if process.returncode:
        raise SystemExit(f"{module} {sizes}: {(errors or '')[-2000:]}")
    result: dict[str, Any] = json.loads(out)
    return result


def served(vms: int, ports: int, calls: int) -> dict[str, Any]:
    """The simulated vCenter itself, see ``benchmarks.simulator``."""
    began = time.perf_counter()
    large = Server(hosts=1000, vms=50_000, page=100)
    large.run("raw", "calls", calls=1)
    found: dict[str, Any] = {"answered": time.perf_counter() - began, "vms": vms}
    found |= {"start": large.described["started"], "start_cpu": large.described["started_cpu"]}
    large.stop()
    found |= warm(vms)
    server = Server(hosts=max(4, vms // 100), vms=vms, page=100)
    try:
        found |= simulator.summary(asyncio.run(simulator.latency(server.described, 200)))
        found["ports"] = asyncio.run(simulator.ports(server.described, server.described["pid"], ports))
        found["calls"] = {"ours": rates(server, server.described, calls)}
        with simulator.vcsim() as other:
            if other is not None:
                found["calls"]["vcsim"] = rates(server, other, calls)
    finally:
        server.stop()
    return found


def warm(vms: int) -> dict[str, Any]:
    """Every VM's devices in one answer when they were read before, and the transfer of as many bytes; best of 3."""

    def best(server: Any, ready: dict[str, Any], work: str) -> dict[str, Any]:
        def once() -> dict[str, Any]:
            before = simulator.cpu_of(ready["pid"])
            used = server.run("raw", work, ready=json.dumps(ready))
            return {**used, "cpu": simulator.cpu_of(ready["pid"]) - before}

        once()
        return min((once() for _ in range(3)), key=lambda each: float(each["cpu"]))

    server = Server(hosts=max(4, vms // 100), vms=vms, page=0)
    try:
        read = best(server, server.described, "read")
        command = [sys.executable, "-m", "benchmarks.sender", str(read["bytes"])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender:
            ready = json.loads(sender.stdout.readline() if sender.stdout else "{}")
            transfer = best(server, ready, "transfer")
            sender.communicate(timeout=60)
    finally:
        server.stop()
    return {"warm": read, "transfer": transfer}


def rates(server: Server, ready: dict[str, Any], calls: int) -> dict[str, dict[str, float]]:
    """CurrentTime from a bare socket, and from 16 at once: calls a second, and the server's CPU for each; best of 5."""

    def once(work: str) -> dict[str, float]:
        before = simulator.cpu_of(ready["pid"])
        used = server.run("raw", work, calls=calls, ready=json.dumps(ready))
        return {"rate": calls / used["wall"], "cpu": (simulator.cpu_of(ready["pid"]) - before) / calls}

    return {work: min((once(work) for _ in range(5)), key=lambda each: each["cpu"]) for work in simulator.CALLS_AIM}


def show_bulk(found: dict[str, Any], vms: int) -> None:
    for name, sides in found.items():
        size = sides["raw"]["bytes"] / 1e6
        print(f"\nread {vms} VMs with devices over TLS, {name}: {size:.1f} MB, all kept")
        print(f"  {'':10} {'CPU s':>8} {'wall s':>8} {'peak MiB':>9} {'objects':>8} {'cards':>7} {'calls':>6}")
        for side, used in sides.items():
            print(
                f"  {side:10} {used['cpu']:8.3f} {used['wall']:8.3f} {used['peak']:9.1f}"
                f" {used.get('objects', '-'):>8} {used.get('cards', '-'):>7} {used['calls']:>6}"
            )
        cpu = sides["pyvmomi"]["cpu"] / sides["ours"]["cpu"]
        memory = sides["ours"]["peak"] / sides["pyvmomi"]["peak"]
        print(
            f"  ours: {cpu:.1f} times less CPU than pyVmomi, {memory:.2f} of its memory,"
            f" {sides['ours']['cpu'] / sides['raw']['cpu']:.1f} times the CPU of the bare socket"
        )


def show_small(found: dict[str, Any]) -> None:
    print("\nsmall calls (CurrentTime) over TLS")
    print(f"  {'':18} {'CPU us':>8} {'calls/s':>9}")
    for side, used in found.items():
        print(f"  {side:18} {used['cpu'] / used['calls'] * 1e6:8.0f} {used['calls'] / used['wall']:9.0f}")
    ratio = found["pyvmomi"]["cpu"] / found["ours, 8 at a time"]["cpu"]
    print(f"  ours, 8 at a time: {ratio:.1f} times less CPU than pyVmomi")


def show(found: dict[str, Any]) -> None:
    """Everything that was measured."""
    if "read" in found:
        show_bulk(found["read"], found["vms"])
        show_small(found["calls"])
    if "manager" in found:
        print("\n".join([line for name in MANAGERS for line in manager.shown(found[name])]))
    if "neutron" in found:
        print("\n".join(neutron.shown(found["neutron"])))
    if "plugin" in found:
        print("\n".join(plugin.shown(found["plugin"])))
    if "plugin-scale" in found:
        print("\n".join(plugin_scale.shown(found["plugin-scale"])))
    if "servers" in found:
        print("\n".join(servers.shown(found["servers"])))
    if "servers_goals" in found:
        print("\n".join(servers_goals.shown(found["servers_goals"])))
    if "simulator" in found:
        print("\n".join(simulator.shown(found["simulator"])))


def missed(found: dict[str, Any]) -> list[str]:
    sides = found["one answer"]
    cpu = sides["pyvmomi"]["cpu"] / sides["ours"]["cpu"]
    memory = sides["ours"]["peak"] / sides["pyvmomi"]["peak"]
    faults = []
    if cpu < CPU_AIM:
        faults.append(f"{cpu:.1f} times less CPU than pyVmomi; the aim is {CPU_AIM:g}")
    if memory > MEMORY_AIM:
        faults.append(f"{memory:.2f} of pyVmomi's peak memory; the aim is {MEMORY_AIM:g}")
    if sides["ours"]["cards"] != sides["pyvmomi"]["cards"] or sides["ours"]["objects"] != sides["pyvmomi"]["objects"]:
        faults.append("the two clients did not read the same")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=2, help="runs of each side; the best counts")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--hosts", type=int, help="hosts of the ContrailVM Manager's part (64), or of plugin-scale")
    parser.add_argument("--clusters", type=int, default=4)
    parser.add_argument(
        "--estate",
        type=int,
        nargs=2,
        default=(1_000, 40),
        metavar=("HOSTS", "CLUSTERS"),
        help="of the ContrailVM Manager's large estate, whose calls at rest are counted",
    )
    parser.add_argument("--placed", action="store_true", help="plugin-scale: the VMs were placed before it starts")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--ports", type=int, default=50_000, help="DVPorts of the simulator's part")
    parser.add_argument("--servers", type=int, default=4, help="servers of Server Manager's part")
    parser.add_argument("--servers-goals", type=int, default=20, help="servers of its part with a dead one and kills")
    parser.add_argument("--neutron-ports", type=int, default=1_000, help="ports of one security group")
    parser.add_argument(
        "--only",
        choices=("clients", "manager", "neutron", "plugin", "plugin-scale", "servers", "simulator"),
        help="one part; plugin-scale is in none but its own run (whole: --vms 50000 --hosts 1000 --placed)",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what runs, as Ctrl-C does
    found: dict[str, Any] = {"vms": options.vms}
    faults = []
    if options.only in (None, "clients"):
        found |= {"read": bulk(options.vms, options.repeat), "calls": small(options.calls)}
        faults += missed(found["read"])
    if options.only in (None, "manager"):
        for name, keeper in (("manager", "eam"), ("manager-vlcm", "vlcm")):
            found[name] = measured("benchmarks.manager", options.hosts or 64, options.clusters, keeper)
            faults += manager.missed(found[name])
        found["manager-estate"] = measured("benchmarks.manager", *options.estate, "eam", "at-rest")
    if options.only in (None, "neutron"):
        found["neutron"] = measured("benchmarks.neutron", options.neutron_ports)
        faults += neutron.missed(found["neutron"])
    if options.only in (None, "plugin"):
        burst = min(2_000, options.vms // 2)
        found["plugin"] = measured("benchmarks.plugin", max(4, options.vms // 50), options.vms, burst)
        faults += plugin.missed(found["plugin"])
    if options.only == "plugin-scale":
        hosts, storm, moves = options.hosts or max(4, options.vms // 50), options.vms // 5, options.vms // 10
        sizes = (hosts, options.vms, min(2_000, storm), min(1_000, moves), *(["placed"] if options.placed else []))
        found["plugin-scale"] = measured("benchmarks.plugin_scale", *sizes, deadline=4 * 3600, tells=True)
        faults += plugin_scale.missed(found["plugin-scale"])
    if options.only in (None, "servers"):
        found["servers"] = measured("benchmarks.servers", options.servers)
        faults += servers.missed(found["servers"])
        found["servers_goals"] = measured("benchmarks.servers_goals", options.servers_goals)
        faults += servers_goals.missed(found["servers_goals"])
    if options.only in (None, "simulator"):
        found["simulator"] = served(options.vms, options.ports, options.calls)
        faults += simulator.missed(found["simulator"])
    if options.json:
        print(json.dumps(found))
    else:
        show(found)
    for fault in faults:
        print(f"missed: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
