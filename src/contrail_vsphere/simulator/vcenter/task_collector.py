"""Task history collectors: cursors over the tasks that vCenter still remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.core.session import session_of
from contrail_vsphere.simulator.core.world import Committed
from contrail_vsphere.simulator.vcenter.history_collector import HistoryCollector, check_room, page_of
from contrail_vsphere.simulator.vcenter.task import Task
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vmodl


@dataclass(slots=True, eq=False, kw_only=True)
class TaskHistoryCollector(HistoryCollector):
    """``last`` is the number of the newest task read."""

    wsdl: ClassVar[str] = "TaskHistoryCollector"

    last: int = 0

    @classmethod
    def create(cls, call: Call, spec: Any) -> TaskHistoryCollector:
        """A collector at its oldest task."""
        if spec is None:
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="filter"))
        session = session_of(call)
        check_room(session)
        made = cls(world=call.world, moid=session.new_id(""), session=session, filter_spec=spec)
        made.stop = call.world.observe(made._on_commit)
        return session.add(made)

    @managed_property("latestPage")
    def latest_page(self) -> list[Any]:
        """Newest first."""
        return [task.info() for task in self._tasks()[-self.page_size :][::-1]]

    @operation("ReadNextTasks")
    def read_next(self, call: Call, maxCount: int) -> list[Any]:
        """The next newer tasks, oldest first; nothing at the end."""
        return self._take((task for task in self._tasks() if _number(task) > self.last), maxCount)

    @operation("ReadPreviousTasks")
    def read_previous(self, call: Call, maxCount: int) -> list[Any]:
        """The next older tasks, newest first; nothing at the beginning."""
        found = self._take((task for task in reversed(self._tasks()) if _number(task) <= self.last), maxCount)
        if found:
            self.last -= 1
        return found

    def to_oldest(self) -> None:
        self.last = 0

    def to_latest_page(self) -> None:
        page = self._tasks()[-self.page_size :]
        self.last = _number(page[0]) - 1 if page else 0

    def _take(self, tasks: Iterable[Task], most: int) -> list[Any]:
        found = list(islice(tasks, page_of(most)))
        if found:
            self.last = _number(found[-1])
        return [task.info() for task in found]

    def _tasks(self) -> list[Task]:
        return [task for task in self.world.of_type(Task) if self._matches(task)]

    def _matches(self, task: Task) -> bool:
        """By entity, state, time, user and event chain; the other fields select nothing out."""
        spec = self.filter_spec
        if spec.entity is not None:
            near = task.entity
            moid, below = spec.entity.entity._moId, str(spec.entity.recursion) != "self"
            while near is not None and near.moid != moid:
                near = getattr(near, "parent", None) if below else None
            if near is None:
                return False
        if spec.state and task.state not in [str(state) for state in spec.state]:
            return False
        if spec.userName is not None and spec.userName.userList and task.user not in spec.userName.userList:
            return False
        if spec.eventChainId and task.chain not in spec.eventChainId:
            return False
        if spec.time is not None:
            kind = str(spec.time.timeType)
            moment = {"queuedTime": task.queued_at, "startedTime": task.started_at}.get(kind, task.completed_at)
            begin, end = spec.time.beginTime, spec.time.endTime
            if moment is None or (begin is not None and moment < begin) or (end is not None and moment > end):
                return False
        return True

    def _on_commit(self, done: Committed) -> None:
        if any(isinstance(entry.entity, Task) for entry in done.entries):
            self.news()


def _number(task: Task) -> int:
    return int(task.moid.rpartition("-")[2])
