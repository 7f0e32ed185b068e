"""What Server Manager costs beside a bare ``ansible-playbook`` of the same plays, on servers made of this machine.

Both sides do the same to the same servers, one after the other, with nothing left to change; the best of each counts.
Needs root and the packages of ``make demo-servers``; elsewhere it says so and measures nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks import servers_lab

OVERHEAD_AIM = 0.10
"""Of a run by Server Manager over the bare playbook."""
ROLES = ("lb", "agent", "analytics")
REPEAT = 5
MODULES = 1
"""Module runs of a role that is as it should be; one that is not has four more, a step each."""


def main(hosts: int) -> dict[str, Any]:
    """Set up a lab and measure inside it."""
    return servers_lab.in_a_lab("benchmarks.servers", hosts)


async def measure(lab: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Everything, in the lab's network."""
    async with servers_lab.serving(directory) as config:
        side = servers_lab.Side(config, directory, ROLES)
        await asyncio.to_thread(side.fill, lab)
        first = await asyncio.to_thread(side.provision)
        pairs = []
        for _ in range(REPEAT):
            ours = await asyncio.to_thread(side.provision)
            pairs.append((ours, await asyncio.to_thread(side.bare)))
        return {
            "hosts": len(lab["hosts"]), "roles": len(ROLES), "first": first["seconds"],
            "ours": min(ours["seconds"] for ours, _ in pairs), "bare": min(bare for _, (bare, _) in pairs),
            "ours_cpu": min(ours["cpu"] for ours, _ in pairs), "bare_cpu": min(cpu for _, (_, cpu) in pairs),
            "changed": sum(ours["changed"] for ours, _ in pairs), "first_event": min(o["event"] for o, _ in pairs),
            "modules": max(ours["modules"] for ours, _ in pairs),
        }  # fmt: skip


def missed(found: dict[str, Any]) -> list[str]:
    """Aims that were not reached."""
    if "skipped" in found:
        return []
    faults = []
    if (over := found["ours"] / found["bare"] - 1) > OVERHEAD_AIM:
        faults.append(
            f"Server Manager's run takes {over:.0%} longer than the bare playbook; the aim is {OVERHEAD_AIM:.0%}"
        )
    if found["changed"]:
        faults.append(f"{found['changed']} changes where nothing was left to change")
    if found["modules"] > MODULES:
        faults.append(f"{found['modules']:.1f} module runs per role and server; the aim is {MODULES}")
    return faults


def shown(found: dict[str, Any]) -> list[str]:
    """Lines for people."""
    if "skipped" in found:
        return [f"\nServer Manager: not measured: {found['skipped']}"]
    return [
        f"\nServer Manager, {found['hosts']} servers with {found['roles']} roles each: first {found['first']:.1f} s,"
        f" again {found['ours']:.1f} s with {found['changed']} changes",
        f"  bare ansible-playbook of the same plays {found['bare']:.1f} s: {found['ours'] / found['bare'] - 1:+.1%};"
        f" first event after {found['first_event']:.1f} s, {found['modules']:.0f} module runs per role and server",
        f"  seconds of CPU on this side {found['ours_cpu']:.1f}, bare {found['bare_cpu']:.1f}:"
        f" {found['ours_cpu'] / found['bare_cpu'] - 1:+.1%}",
    ]


if __name__ == "__main__":
    servers_lab.run(measure, main)
