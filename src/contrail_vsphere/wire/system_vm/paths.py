"""Paths and headers of the parts of vCenter's REST API that System VMs need; all below ``/api``.

Operations that take long answer with a task's id and need ``vmw-task=true``; the task is read at ``task``.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

SESSION: Final = "/api/session"
"""POST with basic authentication opens a session, GET tells of it, DELETE ends it."""
SESSION_HEADER: Final = "vmware-api-session-id"
TASK_PARAMETER: Final = "vmw-task"
TASKS: Final = "/api/cis/tasks"
CLUSTERS: Final = "/api/esx/settings/clusters"


def task(task_id: str) -> str:
    """GET: what became of a task."""
    return f"{TASKS}/{quote(task_id, safe='')}"


def enablement(cluster: str) -> str:
    """GET: whether the cluster is managed by an image; PUT (a task): have it so, for good."""
    return f"{CLUSTERS}/{quote(cluster, safe='')}/enablement/software"


def solutions(cluster: str) -> str:
    """GET: all; POST (tasks) with ``action=apply`` or ``action=check-compliance``."""
    return f"{CLUSTERS}/{quote(cluster, safe='')}/vms/solutions"


def solution(cluster: str, name: str) -> str:
    """GET; PUT and DELETE are tasks."""
    return f"{solutions(cluster)}/{quote(name, safe='')}"


def hooks(cluster: str, name: str = "") -> str:
    """GET with a solution's name: its open hooks; POST without one, ``action=mark-as-processed`` and others."""
    path = f"{CLUSTERS}/{quote(cluster, safe='')}/vms/lifecycle-hooks"
    return f"{path}/{quote(name, safe='')}" if name else path


def transition(cluster: str, name: str) -> str:
    """POST (a task) with ``action=enable``: take an agency of EAM over."""
    return f"{CLUSTERS}/{quote(cluster, safe='')}/vms/transition/{quote(name, safe='')}"
