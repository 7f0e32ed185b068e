"""Tasks: what every ``*_Task`` method returns, and the machinery that runs them.

An operation validates its arguments, starts a task and returns it; the work runs beside the call, on the simulated
clock, and ends in *success* or *error*. Extensions may create tasks too (CreateTask) and drive their state themselves.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import Transaction
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import managed_class, vim, vmodl
from contrail_vsphere.wire.soap.values import build

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call

log = logging.getLogger(__name__)

Work = Callable[["TaskHandle"], Awaitable[Any]]

KEPT = 2000
"""Finished tasks that can still be read; the oldest go first."""


@dataclass(slots=True, eq=False, kw_only=True)
class Task(Entity):
    """One task. ``info`` is its only property; every change of state goes through a commit."""

    wsdl: ClassVar[str] = "Task"
    prefix: ClassVar[str] = "task-"
    shows: ClassVar[dict[str, tuple[str, ...]]] = {
        "state": ("info",),
        "progress": ("info",),
        "message": ("info",),
        "cancelled": ("info",),
    }

    description_id: str
    entity: Entity | None
    entity_name: str
    user: str
    chain: int
    cancelable: bool
    queued_at: datetime
    state: str = "queued"
    """queued, running, success, error."""
    progress: int | None = None
    message: str = ""
    cancelled: bool = False
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: Any = None
    error: SoapFault | None = None
    runner: asyncio.Task[None] | None = field(default=None, repr=False)
    """None for a task that an extension drives."""
    _finished: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @managed_property("info")
    def info(self) -> Any:
        """All there is to know; read as one value, as vCenter reports it."""
        info = build(
            vim.TaskInfo,
            key=self.moid,
            task=self.ref,
            descriptionId=self.description_id,
            name=_method(self.description_id),
            entity=self.entity.ref if self.entity is not None else None,
            entityName=self.entity_name or None,
            state=self.state,
            cancelled=self.cancelled,
            cancelable=self.cancelable and self.state in ("queued", "running"),
            queueTime=self.queued_at,
            startTime=self.started_at,
            completeTime=self.completed_at,
            eventChainId=self.chain,
            changeTag="",
            progress=self.progress if self.state == "running" else None,
            reason=build(vim.TaskReasonUser, userName=self.user),
        )
        if self.message:
            info.__dict__["description"] = build(
                vmodl.LocalizableMessage, key=self.description_id, message=self.message
            )
        info.__dict__.update(result=self.result, error=self.error)
        return info

    @property
    def over(self) -> bool:
        """Ended, one way or the other."""
        return self.state in ("success", "error")

    async def done(self) -> Any:
        """Wait for the end; returns the result or raises the task's SoapFault."""
        await self._finished.wait()
        if self.error is not None:
            raise self.error
        return self.result

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("CancelTask")
    async def cancel_task(self, call: Call) -> None:
        """Cancel; the work stops at its next wait and the task ends with RequestCanceled.

        The task of an extension says that it shall be cancelled; the extension ends it.
        """
        manager: TaskManager = self.world.service(TaskManager)
        if self.over:
            raise SoapFault(vim.fault.InvalidState(), "The task has already completed.")
        if not self.cancelable:
            raise SoapFault(vmodl.fault.NotSupported(), "The task cannot be canceled.")
        await manager.cancel(self)

    @operation("SetTaskState")
    def set_task_state(self, call: Call, state: Any, result: Any = None, fault: Any = None) -> None:
        """For tasks that an extension created."""
        self._must_be_driven_from_outside()
        manager: TaskManager = self.world.service(TaskManager)
        if self.over:
            raise SoapFault(vim.fault.InvalidState(), "The task has already completed.")
        if str(state) == "running":
            manager.running(self)
        elif str(state) == "queued":
            raise SoapFault(vim.fault.InvalidState(), "A task cannot go back to the queue.")
        else:
            error = None
            if str(state) == "error":
                carried = getattr(fault, "fault", None) or fault or vmodl.fault.SystemError(reason="")
                error = SoapFault(carried, str(getattr(fault, "localizedMessage", "") or ""))
            manager.finished(self, result=result, error=error)

    @operation("UpdateProgress")
    def update_progress(self, call: Call, percentDone: int) -> None:
        """For tasks that an extension created."""
        self._must_be_driven_from_outside()
        if self.state != "running":
            raise SoapFault(vim.fault.InvalidState(), "The task is not running.")
        if not 0 <= percentDone <= 100:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="percentDone"))
        self.world.service(TaskManager).update(self, progress=percentDone)

    @operation("SetTaskDescription")
    def set_task_description(self, call: Call, description: Any) -> None:
        """Only the message is kept, not its key and arguments."""
        self._must_be_driven_from_outside()
        self.world.service(TaskManager).update(self, message=str(description.message or ""))

    def _must_be_driven_from_outside(self) -> None:
        if self.runner is not None:
            raise SoapFault(vmodl.fault.NotSupported(), "The task is run by vCenter itself.")


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """What the work of a task sees of it."""

    task: Task
    user: str
    chain: int
    """Give it to every commit of the work, so that the events belong to the task."""

    def progress(self, percent: int) -> None:
        """Report progress, 0 to 100."""
        self.task.world.service(TaskManager).update(self.task, progress=max(0, min(100, int(percent))))


@dataclass(slots=True, eq=False, kw_only=True)
class TaskManager(Entity):
    """Starts tasks, ends them, and remembers the finished ones for a while."""

    wsdl: ClassVar[str] = "TaskManager"
    shows: ClassVar[dict[str, tuple[str, ...]]] = {"recent": ("recentTask",)}

    recent: tuple[Task, ...] = ()
    _finished: deque[Task] = field(default_factory=deque, repr=False)
    _running: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @managed_property("recentTask")
    def recent_task(self) -> list[Task]:
        """Queued, running, and those that finished in the last ten minutes."""
        return list(self.recent)

    @managed_property("maxCollector")
    def max_collector(self) -> int:
        return 32

    @managed_property("description")
    def description(self) -> Any:
        """Labels of the task states; labels of every method are not kept."""
        states = [
            vim.ElementDescription(key=state, label=state.capitalize(), summary=state)
            for state in ("queued", "running", "success", "error")
        ]
        return vim.TaskDescription(
            methodInfo=states[:1],
            state=states,
            reason=[vim.TypeDescription(key=vim.TaskReasonUser, label="User task", summary="Started by a user")],
        )

    # -- for the simulator --------------------------------------------------------------------------------------

    def start(
        self,
        entity: Entity | None,
        description_id: str,
        work: Work,
        *,
        call: Call | None = None,
        user: str = "",
        cancelable: bool = False,
        chain: int | None = None,
    ) -> Task:
        """Queue a task and run ``work(handle)`` after ``Timing.task_start``.

        ``description_id`` is the API's, e.g. ``VirtualMachine.powerOn``. What ``work`` returns becomes the result; a
        SoapFault that it raises becomes the task's error.
        """
        task = self._create(
            entity,
            description_id,
            user=user or (call.user if call is not None else ""),
            cancelable=cancelable,
            chain=chain,
        )
        runner = asyncio.get_running_loop().create_task(self._run(task, work), name=f"{task.moid} {description_id}")
        task.runner = runner
        self._running.add(runner)
        runner.add_done_callback(self._running.discard)
        return task

    async def stop(self) -> None:
        """Cancel everything that runs; for the end of the simulator."""
        runners = list(self._running)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    async def cancel(self, task: Task) -> None:
        """Cancel one task and wait until its work has stopped; that of an extension is only told of the wish."""
        with self.world.commit(task.user, chain=task.chain) as tx:
            tx.set(task, cancelled=True)
        if task.runner is None:
            return
        task.runner.cancel()
        await task._finished.wait()

    def running(self, task: Task) -> None:
        """Move a queued task on."""
        task.started_at = self.world.clock.now()
        self.update(task, state="running", progress=0)

    def update(self, task: Task, **state: Any) -> None:
        """Change and show."""
        with self.world.commit(task.user, chain=task.chain) as tx:
            tx.set(task, **state)

    def finished(self, task: Task, *, result: Any = None, error: SoapFault | None = None) -> None:
        """End a task."""
        task.completed_at = self.world.clock.now()
        task.result, task.error = result, error
        self._finished.append(task)
        with self.world.commit(task.user, chain=task.chain) as tx:
            tx.set(task, state="error" if error is not None else "success", progress=None if error else 100)
            self._forget_old(tx)
        task._finished.set()

    def _create(
        self, entity: Entity | None, description_id: str, *, user: str, cancelable: bool, chain: int | None
    ) -> Task:
        world = self.world
        with world.commit(user, chain=chain) as tx:
            task = Task(
                world=world,
                moid=world.new_id(Task.prefix),
                description_id=description_id,
                entity=entity,
                entity_name=str(getattr(entity, "name", "")),
                user=user,
                chain=tx.chain,
                cancelable=cancelable,
                queued_at=world.clock.now(),
            )
            tx.add(task)
            tx.set(self, recent=(*self.recent, task))
            tx.event(build(vim.event.TaskEvent, info=task.info(), fullFormattedMessage=f"Task: {description_id}"))
        return task

    def _forget_old(self, tx: Transaction) -> None:
        horizon = self.world.clock.now() - timedelta(seconds=self.world.service(Timing).recent_task)
        recent = tuple(item for item in self.recent if item.completed_at is None or item.completed_at > horizon)
        while len(self._finished) > KEPT:
            oldest = self._finished.popleft()
            recent = tuple(item for item in recent if item is not oldest)
            tx.remove(oldest)
        if len(recent) != len(self.recent):
            tx.set(self, recent=recent)

    async def _run(self, task: Task, work: Work) -> None:
        handle = TaskHandle(task, task.user, task.chain)
        try:
            await self.world.clock.sleep(self.world.service(Timing).task_start)
            self.running(task)
            result = await work(handle)
        except SoapFault as error:
            self.finished(task, error=error)
        except asyncio.CancelledError:
            self.finished(task, error=SoapFault(vmodl.fault.RequestCanceled(), "The task was canceled by a user."))
            if not task.cancelled:
                raise
        except Exception as error:  # a defect of the simulator must end the task, or its client waits for ever
            log.exception("%s (%s) failed inside the simulator", task.moid, task.description_id)
            self.world.defects.append(error)
            self.finished(task, error=SoapFault(vmodl.fault.SystemError(reason=""), "A general system error occurred."))
        else:
            self.finished(task, result=result)

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("CreateTask", note="parentTaskKey and activationId are not kept")
    def create_task(
        self,
        call: Call,
        *,
        obj: Any,
        taskTypeId: str,
        cancelable: bool,
        initiatedBy: str | None = None,
        parentTaskKey: str | None = None,
        activationId: str | None = None,
    ) -> Any:
        """A task that the calling extension will drive."""
        entity = self.world.get(obj._moId)
        if entity is None:
            raise SoapFault(vmodl.fault.ManagedObjectNotFound(obj=obj))
        task = self._create(entity, taskTypeId, user=initiatedBy or call.user, cancelable=bool(cancelable), chain=None)
        return task.info()

    @operation("CreateCollectorForTasks")
    def create_collector(self, call: Call, filter: Any) -> Entity:
        """A cursor over the tasks that the filter selects."""
        from contrail_vsphere.simulator.vcenter.task_collector import TaskHistoryCollector

        return TaskHistoryCollector.create(call, filter)


@functools.lru_cache(maxsize=1024)
def _method(description_id: str) -> Any:
    """``VirtualMachine.powerOn`` -> pyVmomi's method object, written as ``PowerOnVM_Task``; None for other tasks."""
    kind, _, name = description_id.partition(".")
    found = getattr(managed_class(kind), name[:1].upper() + name[1:], None)
    return found if hasattr(found, "info") else None
