"""What Contrail analytics would show of the manager and its ContrailVMs, as its API has UVEs: plain JSON, by name.

The shape is that of ``/analytics/uves``: for each kind a list of ``{"name": ..., "value": {<struct>: {...}}}``, so that
whoever reads UVEs of vRouters there reads these alike. Nothing is sent anywhere; a collector polls.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.status import DeploymentStatus, HostStatus


def uves(manager: ContrailVmManager, *, name: str, now: datetime, problems: tuple[str, ...] = ()) -> dict[str, Any]:
    """UVEs of the manager (``contrailvm-manager``), its deployments and the ContrailVMs (``contrailvm``)."""
    status = manager.status()
    states = Counter(host.state for each in status.deployments for host in each.hosts)
    state = {
        "vcenter": name,
        "converged": manager.converged(),
        "hosts": dict(sorted(states.items())),
        "problems": [*status.problems, *problems],
        "counters": status.counters,
    }
    return {
        "timestamp": int(now.timestamp() * 1_000_000),
        "contrailvm-manager": [{"name": status.extension, "value": {"ContrailVmManagerState": state}}],
        "contrailvm-deployment": [
            {
                "name": f"{each.deployment}:{each.cluster_name}",
                "value": {"ContrailVmDeploymentState": _deployment(each)},
            }
            for each in status.deployments
        ],
        "contrailvm": [
            {"name": host.name, "value": {"ContrailVmState": _host(each, host)}}
            for each in status.deployments
            for host in each.hosts
        ],
    }


def _deployment(status: DeploymentStatus) -> dict[str, Any]:
    return {
        "cluster": status.cluster,
        "agency": status.agency,
        "agency_status": status.colour,
        "version": status.wanted_version,
        "healthy": status.healthy,
        "total": status.total,
        "alarms": list(status.alarms),
    }


def _host(deployment: DeploymentStatus, status: HostStatus) -> dict[str, Any]:
    return {
        "deployment": deployment.deployment,
        "host": status.host,
        "vm": status.vm,
        "vm_name": status.vm_name,
        "instance_uuid": status.instance_uuid,
        "state": status.state,
        "agent_status": status.colour or None,
        "forwards": status.forwards,
        "address": status.address,
        "version": status.version,
        "issues": [issue.type for issue in status.issues],
        "alarms": list(status.alarms),
    }
