"""Tasks of the REST API: started by operations that take long, read until they are over."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.system_vm.errors import RestError, from_fault, stamp
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.system_vm.codec import plain
from contrail_vsphere.wire.system_vm.state import TaskDescription, TaskInfo, TaskStatus

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World


@dataclass(slots=True, kw_only=True)
class RestTask:
    """One task; ``result`` and ``error`` are JSON already."""

    id: str
    operation: str
    user: str
    started: datetime
    status: TaskStatus = TaskStatus.RUNNING
    ended: datetime | None = None
    result: Any = None
    error: Any = None

    def info(self) -> TaskInfo:
        """What a client reads."""
        service, _, operation = self.operation.rpartition(".")
        return TaskInfo(
            service=f"com.vmware.esx.settings.clusters.{service}",
            operation=operation,
            status=self.status,
            cancelable=False,
            description=TaskDescription(id=self.operation, default_message=self.operation, args=[]),
            user=self.user,
            start_time=stamp(self.started),
            end_time=stamp(self.ended) if self.ended is not None else None,
            result=self.result,
            error=self.error,
        )


class RestTasks:
    """All that are under way or were, lately."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, RestTask] = {}

    def find(self, task_id: str) -> RestTask:
        """RestError NOT_FOUND for one that never was, or is forgotten."""
        if task_id not in self._tasks:
            raise RestError("NOT_FOUND", f"There is no task {task_id}.")
        return self._tasks[task_id]

    def start(self, operation: str, user: str, work: Callable[[], Awaitable[Any]]) -> RestTask:
        """Run ``work`` in the background; its result is a value of the API, or None."""
        self._forget_old()
        task = RestTask(
            id=f"{uuid.UUID(int=self._world.random.getrandbits(128), version=4)}:com.vmware.vcIntegrity.systemVm",
            operation=operation,
            user=user,
            started=self._world.clock.now(),
        )
        self._tasks[task.id] = task
        Background.of(self._world).run(self._run(task, work), f"REST task {operation}")
        return task

    async def _run(self, task: RestTask, work: Callable[[], Awaitable[Any]]) -> None:
        await self._world.clock.sleep(self._world.service(Timing).task_start)
        try:
            result = await work()
            task.result = plain(result) if result is not None else None
            task.status = TaskStatus.SUCCEEDED
        except (RestError, SoapFault) as error:
            refusal = error if isinstance(error, RestError) else from_fault(error)
            task.error = plain(refusal.value())
            task.status = TaskStatus.FAILED
        task.ended = self._world.clock.now()

    def _forget_old(self) -> None:
        oldest = self._world.clock.now() - timedelta(seconds=self._world.service(Timing).recent_task)
        self._tasks = {key: task for key, task in self._tasks.items() if task.ended is None or task.ended >= oldest}
