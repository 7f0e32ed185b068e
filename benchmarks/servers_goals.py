"""Server Manager with twenty servers: what is promised of repeating, of a dead server, of kills, of watching.

Counts (changes, module runs, servers touched by a retry) do not depend on the machine; seconds do: the servers' own
work is done by this machine too. Needs root and the packages of ``make demo-servers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import servers_lab
from benchmarks.servers_lab import Side
from contrail_vsphere.servermanager.ansible_server.run_directory import processes_of

ROLES = ("lb",)
AGAIN_AIM = 15.0
"""Seconds of a second provision of twenty servers."""
OVERHEAD_AIM = 0.10
"""Of that over the bare playbook, which does the same to the same servers right after it."""
REPEAT = 3
DEAD_AIM = 5.0
"""Seconds that a dead server may add for the others."""
WATCH_AIM = 1.0
"""Seconds that what is shown may be behind what happened."""
KILLS = 5
RUNS = 4
ANSWER_AIM = 0.05
"""Seconds that 99 of 100 answers may take at most while that many runs are under way."""


def main(hosts: int) -> dict[str, Any]:
    """Set up a lab and measure inside it."""
    return servers_lab.in_a_lab("benchmarks.servers_goals", hosts)


async def measure(lab: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Everything, in the lab's network."""
    async with servers_lab.serving(directory) as config:
        side = Side(config, directory, ROLES)
        await asyncio.to_thread(side.fill, lab)
        first = await asyncio.to_thread(side.provision)
        pairs = [(await asyncio.to_thread(side.provision), await asyncio.to_thread(side.bare)) for _ in range(REPEAT)]
        again = min((ours for ours, _ in pairs), key=lambda ours: ours["seconds"])
        watched = await asyncio.to_thread(_watched, side, directory, list(lab["hosts"]))
        dead = await asyncio.to_thread(_with_one_dead, side, list(lab["hosts"]))
        kills = await asyncio.to_thread(_killed, side, directory)
        last = await asyncio.to_thread(side.provision)
    return {
        "hosts": len(lab["hosts"]), "first": first["seconds"], "again": again["seconds"],
        "bare": min(seconds for _, (seconds, _) in pairs), "changed": sum(ours["changed"] for ours, _ in pairs),
        "behind": max(first["behind"], again["behind"]), "changed_after_kills": last["changed"],
        **watched, **dead, **kills,
    }  # fmt: skip


def _watched(side: Side, directory: Path, names: list[str]) -> dict[str, Any]:
    """As many runs as there are slots, and a hundred who watch one of them: how long their answers take."""
    shares = [names[number::RUNS] for number in range(RUNS)]
    runs = [side.client.ask("POST", "/v1/provision", {"servers": share})["id"] for share in shares if share]
    data = directory / "manager"
    given = [side.client.url, str(data / "ca.pem"), str(data / "admin.token"), f"/v1/runs/{runs[0]}", "4"]
    command = [sys.executable, "-m", "benchmarks.watchers", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    active = [run for run in runs if side.client.get(f"/v1/runs/{run}")["state"] == "running"]
    for run in runs:
        side.follow(run)
    return {"runs": len(runs), "still_running": len(active), "watchers": json.loads(done.stdout)}


def _with_one_dead(side: Side, names: list[str]) -> dict[str, Any]:
    """A server's cable is out: when the others are done, and whom the retry touches."""
    link = f"lab-{len(names)}"
    subprocess.run(["ip", "link", "set", link, "down"], check=True, timeout=20)
    try:
        run = side.provision(fails=True)
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True, timeout=20)
    retry = side.follow(side.client.ask("POST", f"/v1/runs/{run['id']}/retry")["id"])
    others = [at for name, at in run["done"].items() if name != names[-1]]
    return {
        "others_done": max(others), "others": len(others), "dead_state": run["states"][names[-1]],
        "retry_touched": len(retry["touched"]), "retry_state": retry["states"].get(names[-1], ""),
    }  # fmt: skip


def _killed(side: Side, directory: Path) -> dict[str, Any]:
    """SIGKILL to all of a run's processes at random moments: how long it is called running after that."""
    chance, longest = Random(3), 0.0
    for _ in range(KILLS):
        run_id = side.begin()
        time.sleep(chance.uniform(0.5, 6.0))
        for pid in processes_of(directory / "ansible" / "runs" / run_id):
            with contextlib.suppress(ProcessLookupError):  # one of them was at its end
                os.kill(pid, signal.SIGKILL)
        struck = time.perf_counter()
        side.follow(run_id, fails=True)
        longest = max(longest, time.perf_counter() - struck)
    return {"kills": KILLS, "longest_after_kill": longest}


def missed(found: dict[str, Any]) -> list[str]:
    """Aims that were not reached; those in seconds only where there are twenty servers to compare with."""
    if "skipped" in found:
        return []
    faults = []
    if found["changed"] or found["changed_after_kills"]:
        faults.append(f"{found['changed']} and {found['changed_after_kills']} changes where nothing was left to change")
    if (found["dead_state"], found["retry_state"], found["retry_touched"]) != ("unreachable", "completed", 1):
        faults.append(f"the dead server is {found['dead_state']}, its retry touched {found['retry_touched']} servers")
    if found["others"] != found["hosts"] - 1:
        faults.append(f"{found['others']} of {found['hosts'] - 1} others were done beside a dead server")
    for name, aim, words in (
        (found["again"], AGAIN_AIM, "a second provision"),
        (found["others_done"] - found["again"], DEAD_AIM, "what a dead server adds for the others"),
        (found["behind"], WATCH_AIM, "how far what is shown is behind"),
        (found["watchers"]["p99"], ANSWER_AIM, "99 of 100 answers to watchers"),
    ):
        if found["hosts"] <= 20 and name > aim:
            faults.append(f"{words}: {name:.2f} s; the aim is {aim:g} s")
    if (over := found["again"] / found["bare"] - 1) > OVERHEAD_AIM:
        faults.append(
            f"a second provision takes {over:.0%} longer than the bare playbook; the aim is {OVERHEAD_AIM:.0%}"
        )
    return faults


def shown(found: dict[str, Any]) -> list[str]:
    """Lines for people."""
    if "skipped" in found:
        return []
    return [
        f"Server Manager, {found['hosts']} servers with a role each: first {found['first']:.1f} s, again"
        f" {found['again']:.1f} s with {found['changed']} changes; shown at most {found['behind']:.2f} s late",
        f"  bare ansible-playbook of the same plays {found['bare']:.1f} s: {found['again'] / found['bare'] - 1:+.1%}",
        f"  {found['runs']} runs under way, 100 who watch: half of the answers within"
        f" {found['watchers']['median'] * 1e3:.0f} ms, 99 of 100 within {found['watchers']['p99'] * 1e3:.0f} ms;"
        f" the last of 100 at once after {found['watchers']['at_once'] * 1e3:.0f} ms",
        f"  one dead: {found['others']} others done after {found['others_done']:.1f} s, it is {found['dead_state']};"
        f" the retry touched {found['retry_touched']} server",
        f"  {found['kills']} runs killed: over {found['longest_after_kill']:.1f} s later at most; provisioned"
        f" after that with {found['changed_after_kills']} changes",
    ]


if __name__ == "__main__":
    servers_lab.run(measure, main)
