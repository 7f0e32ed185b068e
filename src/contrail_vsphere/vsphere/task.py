"""Waiting for tasks: one filter over one list of them, one long poll, however many are waited for."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Any

from contrail_vsphere.model.errors import Busy, ContrailVsphereError, NotFound
from contrail_vsphere.vsphere import property_collector as pc
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.pace import Pace
from contrail_vsphere.vsphere.session import Session
from contrail_vsphere.wire.soap.fault import SoapFault

log = logging.getLogger(__name__)

WAIT = 60
"""Seconds of one long poll."""
PATHS = ("info.state", "info.result", "info.error")
LOST = ("ManagedObjectNotFound", "InvalidCollectorVersion", "NotAuthenticated", "RequestCanceled")
"""Faults after which collector and view must be made anew: they died with their session."""


class _Entry:
    """A task somebody waits for."""

    __slots__ = ("future", "ref", "values", "waiters")

    def __init__(self, ref: Any) -> None:
        self.ref = ref
        self.values: dict[str, Any] = {}
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiters = 0


class TaskWaiter:
    """Shared by everyone who waits for tasks of one vCenter."""

    def __init__(self, session: Session, *, random: random.Random) -> None:
        self._session = session
        self._pace = Pace(random=random)
        self._pending: dict[str, _Entry] = {}
        self._lock = asyncio.Lock()
        self._collector: Any = None
        self._view: Any = None
        self._epoch = -1
        self._version = ""
        self._runner: asyncio.Task[None] | None = None

    async def wait(self, task: Any, *, deadline: float) -> Any:
        """The task's result, or its error as one of ``model.errors``.

        Busy when it is not done after ``deadline`` seconds (it goes on), NotFound when vCenter does not know it.
        """
        entry = self._pending.get(task._moId)
        if entry is None:
            entry = self._pending[task._moId] = _Entry(task)
        entry.waiters += 1
        try:
            async with asyncio.timeout(deadline):
                await self._list(entry)
                return await asyncio.shield(entry.future)
        except TimeoutError:
            raise Busy(f"task {task._moId} is not done after {deadline:g} s", hint="it goes on in vCenter") from None
        finally:
            entry.waiters -= 1
            if not entry.waiters and self._pending.get(task._moId) is entry:
                del self._pending[task._moId]
                if not entry.future.done():
                    entry.future.cancel()
                elif not entry.future.cancelled():
                    entry.future.exception()  # seen, even if the waiter has given up

    async def close(self) -> None:
        """End the long poll."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None

    async def _list(self, entry: _Entry) -> None:
        """Put the task among the watched ones."""
        async with self._lock:
            if self._collector is None or self._epoch != self._session.epoch:
                await self._open()
            elif not entry.values and not entry.future.done():
                try:
                    await self._modify(add=[entry.ref])
                except NotFound:
                    await self._open()
        if self._runner is None:
            self._start()

    def _start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="task-waiter")
        self._runner.add_done_callback(self._ended)

    def _ended(self, runner: asyncio.Task[None]) -> None:
        self._runner = None
        if runner.cancelled():
            return
        error = runner.exception()
        unfinished = [entry for entry in self._pending.values() if not entry.future.done()]
        if error is None and unfinished:
            self._start()  # they came while the last run was ending
            return
        for entry in unfinished:
            entry.future.set_exception(error or Busy("waiting for tasks has ended"))

    async def _open(self) -> None:
        """A collector and a list of all pending tasks, in the present session."""
        await self._session.ensure()
        content = self._session.content
        collector = await self._session.call(content.propertyCollector, "CreatePropertyCollector")
        self._view = await self._session.call(content.viewManager, "CreateListView", obj=[])
        spec = pc.of_view(self._view, {"Task": PATHS})
        await self._session.call(collector, "CreateFilter", spec=spec, partialUpdates=False)
        self._collector, self._epoch, self._version = collector, self._session.epoch, ""
        await self._modify(add=[entry.ref for entry in self._pending.values()])

    async def _modify(self, *, add: Iterable[Any] = (), remove: Iterable[Any] = ()) -> None:
        unresolved = await self._session.call(self._view, "ModifyListView", add=list(add), remove=list(remove))
        for ref in unresolved or ():
            entry = self._pending.get(ref._moId)
            if entry is not None and not entry.future.done():
                entry.future.set_exception(NotFound(f"vCenter does not know task {ref._moId} (any more)"))

    async def _run(self) -> None:
        while any(not entry.future.done() for entry in self._pending.values()):
            asked = asyncio.get_running_loop().time()
            try:
                update = await self._session.invoke(
                    self._collector,
                    pc.WAIT,
                    {"version": self._version, "options": pc.wait_options(seconds=WAIT)},
                    deadline=WAIT + 30.0,
                )
                self._pace.succeeded()
                if update is None:
                    await self._pace.nothing_new(asked)
                else:
                    self._version = update.version
                    await self._take(update)
                continue
            except SoapFault as fault:
                if fault.kind not in LOST:
                    raise translate(fault, what="waiting for tasks") from fault
            except ContrailVsphereError as error:
                log.info("waiting for tasks: %s", error)
            await self._pace.failed()
            await self._reopen()

    async def _reopen(self) -> None:
        async with self._lock:
            try:
                await self._open()
            except ContrailVsphereError as error:
                log.info("waiting for tasks: %s", error)

    async def _take(self, update: Any) -> None:
        """Note what the tasks say; those that ended are no longer watched."""
        done = []
        for filtered in update.filterSet:
            for change in filtered.objectSet:
                entry = self._pending.get(change.obj._moId)
                if entry is None:
                    continue
                if change.kind == "leave":
                    self._fail(entry, NotFound(f"task {change.obj._moId} is gone"))
                    continue
                entry.values.update({prop.name: prop.val for prop in change.changeSet})
                if self._finish(entry):
                    done.append(change.obj)
        if done:
            async with self._lock:
                try:
                    await self._modify(remove=done)
                except ContrailVsphereError as error:
                    log.debug("finished tasks are still listed: %s", error)

    @staticmethod
    def _fail(entry: _Entry, error: Exception) -> None:
        if not entry.future.done():
            entry.future.set_exception(error)

    def _finish(self, entry: _Entry) -> bool:
        state = entry.values.get("info.state")
        if state == "success":
            if not entry.future.done():
                entry.future.set_result(entry.values.get("info.result"))
            return True
        if state == "error":
            fault = entry.values.get("info.error")
            if fault is None:
                self._fail(entry, ContrailVsphereError(f"task {entry.ref._moId} failed and vCenter does not say why"))
            else:
                self._fail(entry, translate(SoapFault(fault, fault.msg or ""), what=f"task {entry.ref._moId}"))
            return True
        return False
