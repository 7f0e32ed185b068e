"""What vCenter is told of our health: each deployment and cluster, and EAM apart, whose fault is not a ContrailVM's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.notices.health_document import HealthMessage, HealthNode
from contrail_vsphere.contrailvm.plan.actions import Alarm
from contrail_vsphere.contrailvm.status import ManagerStatus, colour_of
from contrail_vsphere.model.eam import Status

MOST = 20
"""Messages of one part."""


class Answers(Protocol):
    """Whether EAM answers."""

    @property
    def error(self) -> str: ...  # noqa: D102
    @property
    def healthy(self) -> bool: ...  # noqa: D102


def health_of(
    status: ManagerStatus, *, agencies: Answers, alarms: Mapping[Key, Collection[Alarm]], time: datetime
) -> HealthNode:
    """The document's tree; ``time`` is aware."""
    parts = []
    for line in status.deployments:
        lines = [f"{host.name}: {host.next or host.reason}" for host in line.hosts if host.state != "healthy"]
        messages = tuple(HealthMessage(f"host{n}", text, time, "warning") for n, text in enumerate(lines[:MOST]))
        name = f"{line.deployment} on {line.cluster_name}: {line.healthy} of {line.total} hosts"
        colour = colour_of(host.state for host in line.hosts)
        parts.append(HealthNode(f"{line.deployment}.{line.cluster}", name, colour, messages))
    return HealthNode(status.extension, "ContrailVM Manager", children=(*parts, _eam(agencies, alarms, time)))


def _eam(agencies: Answers, alarms: Mapping[Key, Collection[Alarm]], time: datetime) -> HealthNode:
    """Red when it does not answer, or is stuck in its work, whatever the ContrailVMs do meanwhile."""
    stuck = [alarm.reason for each in alarms.values() for alarm in each if alarm.cause == "eam.stuck"]
    problems = [f"it does not answer: {agencies.error}"] if agencies.error else stuck
    messages = tuple(HealthMessage(f"m{n}", text, time, "alert") for n, text in enumerate(problems[:MOST]))
    colour: Status = "red" if problems else "green" if agencies.healthy else "yellow"
    return HealthNode("eam", "vSphere ESX Agent Manager", colour, messages)
