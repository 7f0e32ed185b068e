"""Pacemaker's resources for the workers, as commands for crmsh and for pcs; pure.

One primitive per vCenter. Workers prefer controllers in turn and, softly, controllers without another worker; both are
weaker than the stickiness, so that a controller that comes back moves nobody. A lease in the database fences a worker
that Pacemaker lost sight of.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

AGENT = "ocf:contrail-vsphere:neutron-worker"
PREFIX = "p_vmware_dvs_"
PREFERENCE, APART, STICKINESS = 50, -20, 100
OPERATIONS = (
    ("start", {"interval": "0", "timeout": "90s"}),
    ("stop", {"interval": "0", "timeout": "40s"}),
    ("monitor", {"interval": "20s", "timeout": "15s"}),
)
META = {"resource-stickiness": str(STICKINESS), "migration-threshold": "3", "failure-timeout": "120s"}


@dataclass(frozen=True, slots=True)
class Workers:
    """Of which vCenters, on which controllers."""

    vcenters: Sequence[str]
    nodes: Sequence[str] = ()
    """Controllers, in the order of preference; none: Pacemaker chooses alone."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Of every resource, beyond ``vcenter``; ``{vcenter}`` in a value is its name."""
    monitor_seconds: int = 20

    def primitives(self) -> tuple[tuple[str, dict[str, str], str], ...]:
        """Name, parameters, and the controller it prefers (or nothing)."""
        return tuple(
            (
                PREFIX + vcenter,
                {"vcenter": vcenter} | {key: text.format(vcenter=vcenter) for key, text in self.parameters.items()},
                self.nodes[number % len(self.nodes)] if self.nodes else "",
            )
            for number, vcenter in enumerate(self.vcenters)
        )

    def operations(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """With the interval of the settings."""
        return tuple(
            (name, values | {"interval": f"{self.monitor_seconds}s"} if name == "monitor" else values)
            for name, values in OPERATIONS
        )

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every two workers, which should be apart."""
        names = [name for name, _, _ in self.primitives()]
        return tuple((one, other) for at, one in enumerate(names) for other in names[at + 1 :])


def crmsh(workers: Workers) -> str:
    """Lines for ``crm configure load update -``."""
    lines = []
    for name, parameters, node in workers.primitives():
        operations = " ".join(f"op {operation} {_words(values)}" for operation, values in workers.operations())
        lines.append(f"primitive {name} {AGENT} params {_words(parameters)} {operations} meta {_words(META)}")
        if node:
            lines.append(f"location prefer_{name} {name} {PREFERENCE}: {node}")
    lines += [f"colocation apart_{one}_{other} {APART}: {one} {other}" for one, other in workers.pairs()]
    return "\n".join(lines) + "\n"


def pcs(workers: Workers) -> str:
    """A shell script of ``pcs`` commands; run it once, on any controller."""
    lines = ["#!/bin/sh", "set -e"]
    for name, parameters, node in workers.primitives():
        operations = " ".join(f"op {operation} {_words(values)}" for operation, values in workers.operations())
        # Started when its constraints are there: it would stick where it happens to start.
        made = f"{name} {AGENT} {_words(parameters)} {operations} meta {_words(META)}"
        lines.append(f"pcs resource create {made} --disabled")
        if node:
            lines.append(f"pcs constraint location {name} prefers {node}={PREFERENCE}")
    lines += [f"pcs constraint colocation add {one} with {other} -- {APART}" for one, other in workers.pairs()]
    lines += [f"pcs resource enable {name}" for name, _, _ in workers.primitives()]
    return "\n".join(lines) + "\n"


def removal(workers: Workers, tool: str) -> str:
    """Commands that take the resources away again."""
    verb = {"crmsh": "crm configure delete --force", "pcs": "pcs resource delete --force"}[tool]
    return "\n".join(["#!/bin/sh", *(f"{verb} {name}" for name, _, _ in workers.primitives())]) + "\n"


def _words(values: dict[str, str]) -> str:
    return " ".join(f"{key}={shlex.quote(text)}" for key, text in values.items())
