"""A rollout as a task of our extension in vCenter: who watches Recent Tasks sees how far it is, and how it ended.

The task is a picture of the rollout and decides nothing. Which one belongs to a rollout is in the journal, so that the
next process goes on with it; one that vCenter has forgotten is not made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.doors import VCenterDoor
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.records import TaskNote
from contrail_vsphere.contrailvm.rollout.status import RolloutStatus
from contrail_vsphere.contrailvm.rollout.turns import Rollout
from contrail_vsphere.model.errors import ContrailVsphereError, NotFound
from contrail_vsphere.wire.soap.types import vim, vmodl

PERIOD = 10.0
"""Seconds between two looks."""
_MANAGER = vim.TaskManager("TaskManager")

_LOG = logging.getLogger(__name__)


class RolloutTasks:
    """``status`` tells how far a rollout is; ``blind`` while nothing can be judged."""

    def __init__(
        self,
        vcenter: VCenterDoor,
        *,
        solution_id: str,
        notebook: Notebook,
        status: Callable[[Rollout], RolloutStatus],
        blind: Callable[[], str],
    ) -> None:
        self._vcenter = vcenter
        self._type = f"{solution_id}.rollout"
        self._notebook = notebook
        self._status = status
        self._blind = blind
        self._shown: dict[str, int] = {}
        """Percentage that vCenter was last told, by task."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="contrailvm:rollout-tasks")

    async def stop(self) -> None:
        """Look no more; tasks stay as they are, for the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def look(self) -> None:
        """Bring the tasks up to date."""
        rollouts: Mapping[str, Rollout] = self._notebook.rollouts
        for deployment, rollout in tuple(rollouts.items()):
            note = self._notebook.task_note(deployment)
            if note is not None and note.number != rollout.number:
                await self._end(deployment, note, problem=f"gave way to rollout {rollout.number}: {rollout.reason}")
                note = None
            if note is None and rollout.active and rollout.before:
                note = await self._create(rollout)
            if note is not None and note.open:
                await self._show(rollout, note)

    async def _create(self, rollout: Rollout) -> TaskNote:
        cluster = Key.parse(rollout.before[0][0]).cluster
        made = await self._vcenter.call(
            _MANAGER,
            "CreateTask",
            obj=vim.ClusterComputeResource(cluster),
            taskTypeId=self._type,
            initiatedBy=rollout.by or None,
            cancelable=False,
        )
        note = TaskNote(number=rollout.number, task=made.task._moId)
        self._notebook.put_task_note(rollout.deployment, note)
        task = vim.Task(note.task)
        await self._vcenter.call(task, "SetTaskState", state="running", result=None, fault=None)
        what = f"{rollout.kind} of {rollout.deployment} to {rollout.goal}"
        description = vmodl.LocalizableMessage(key=self._type, message=what)
        await self._vcenter.call(task, "SetTaskDescription", description=description)
        return note

    async def _show(self, rollout: Rollout, note: TaskNote) -> None:
        if rollout.state == "done":
            await self._end(rollout.deployment, note)
        elif rollout.state == "stopped":
            await self._end(rollout.deployment, note, problem=rollout.reason or "it was stopped")
        else:
            status = self._status(rollout)
            percent = 100 * status.done // status.total if status.total else 0
            if self._shown.get(note.task) != percent:
                await self._told(rollout.deployment, note, "UpdateProgress", percentDone=percent)
                self._shown[note.task] = percent

    async def _end(self, deployment: str, note: TaskNote, *, problem: str = "") -> None:
        if note.open:
            fault = vmodl.fault.SystemError(reason=problem) if problem else None
            carried: Any = vmodl.LocalizedMethodFault(fault=fault, localizedMessage=problem) if fault else None
            state = "error" if problem else "success"
            await self._told(deployment, note, "SetTaskState", state=state, result=None, fault=carried)
            self._shown.pop(note.task, None)
            self._notebook.put_task_note(deployment, TaskNote(number=note.number, task=note.task, open=False))

    async def _told(self, deployment: str, note: TaskNote, method: str, **arguments: Any) -> None:
        try:
            await self._vcenter.call(vim.Task(note.task), method, **arguments)
        except NotFound:
            self._notebook.put_task_note(deployment, TaskNote(number=note.number, task=note.task, open=False))

    async def _run(self) -> None:
        while True:
            if not self._blind():
                try:
                    await self.look()
                except ContrailVsphereError as error:
                    _LOG.info("the rollout's task in vCenter: %s", error)
            await asyncio.sleep(PERIOD)
