"""The queue of runs: slots, one run per server, cancel, time limits, and what is left of them after a crash.

Workers are processes that stand alone, so this one may die and come back at any moment: it reads the directories, takes
up the runs whose worker still lives, and declares those interrupted whose worker is gone. A server's lock is let go
only when no process of its last run is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from contrail_vsphere.model.errors import Conflict, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.pki.secrets import private_directory
from contrail_vsphere.servermanager.ansible_server.events import Event, Progress
from contrail_vsphere.servermanager.ansible_server.inventory import stage_of
from contrail_vsphere.servermanager.ansible_server.nursery import Life, Nursery
from contrail_vsphere.servermanager.ansible_server.run_directory import RunDirectory, RunRecord, processes_of
from contrail_vsphere.servermanager.names import check_object_id
from contrail_vsphere.servermanager.runs import RunReport, RunRequest
from contrail_vsphere.servermanager.states import RunState

_LOG = logging.getLogger(__name__)

LOOK: Final = 0.05
"""Seconds between two looks at a run that has news, or whose worker is another's child and tells us none."""
SILENCE: Final = 1.0
"""Seconds without news after which a run is looked at all the same: its worker may hang, or its time be over."""
LEASE: Final = 60.0
"""Seconds without a sign of the worker's main loop after which it counts as hung."""
CANCEL_GRACE: Final = 15.0
"""Seconds a worker gets to end by itself."""
LAUNCHES: Final = 2
"""Tries to get a worker that begins: where it comes from may be killed while it is asked."""
LAUNCH_LOOKS: Final = 1200
PARTING_LOOKS: Final = 100
PARTING_LOOK: Final = 0.02
"""Seconds; a worker that has told its end has nothing left to do."""
KEEP_ALIVE: Final = 15.0
"""Seconds after which a silent stream sends something, so that both ends see a dead connection."""
KEPT: Final = 500
"""Finished runs whose directories are kept."""
WORKER: Final = (sys.executable, "-m", "contrail_vsphere.servermanager.ansible_server.worker")


class _Run:
    """A run in memory. Its events are on disk; here is only what they amount to."""

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self.directory = directory
        self.record = record
        self.progress = Progress(record.roles)
        self.offset = 0
        self.told = 0
        """Byte offset up to which the events are in the log."""
        self.changed = asyncio.Event()
        self.life: Life | None = None
        """Of the worker, if this process started it."""

    @property
    def worked(self) -> bool:
        """Whether the worker was of our making and has ended."""
        return self.life is not None and self.life.over

    async def rest(self, seconds: float) -> None:
        """Until the worker tells of something, or for so many seconds."""
        if self.life is None or self.life.over:
            await asyncio.sleep(seconds)
        else:
            await self.life.news(seconds)

    def report(self) -> RunReport:
        return RunReport(
            id=self.record.id, n=self.progress.n, state=self.record.state, reason=self.record.reason,
            hosts=self.progress.hosts(),
        )  # fmt: skip

    def tell(self) -> None:
        """Wake who waits for news."""
        self.changed.set()
        self.changed = asyncio.Event()


class Supervisor:
    """``start`` takes up what is there; ``stop`` leaves workers to their work for the next start."""

    def __init__(
        self,
        directory: Path,
        *,
        now: Callable[[], datetime],
        slots: int = 4,
        run_timeout: float = 7200.0,
        on_event: Callable[[str, Event], None] | None = None,
        worker: tuple[str, ...] = WORKER,
    ) -> None:
        self._directory = directory / "runs"
        self._now = now
        self._slots = slots
        self._run_timeout = run_timeout
        self._on_event = on_event
        self._nursery = Nursery(worker)
        self._runs: dict[str, _Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parting = False

    async def start(self) -> None:
        """Adopt, declare interrupted, and queue again."""
        with contextlib.suppress(OSError):  # the first run will say so
            await asyncio.to_thread(self._nursery.open)
        found = await asyncio.to_thread(self._read)
        for run in found:
            self._runs[run.record.id] = run
            if run.record.state is RunState.RUNNING:
                _LOG.warning("taking up run %s", run.record.id)
                self._follow(run, adopted=True)
        self._fill()

    def part(self) -> None:
        """Keep nobody waiting for news any more: an end is near."""
        self._parting = True
        for run in self._runs.values():
            run.tell()

    async def stop(self) -> None:
        """No more watching; runs go on."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.to_thread(self._nursery.close)
        for run in self._runs.values():
            if run.life is not None:
                run.life.forget()

    async def run(self, request: RunRequest) -> RunReport:
        """Take a run; the same id again is the same run. ``Conflict`` if a server of it is in another run."""
        check_object_id(request.id, kind="run")
        if request.id in self._runs:
            return self._runs[request.id].report()
        if not request.hosts:
            raise InvalidArgument("a run without servers")
        record = RunRecord(
            id=request.id, cluster=request.cluster, plan=request.plan, check=request.check, asked=self._now(),
            hosts={name: f"{host.address}:{host.port}" for name, host in request.hosts.items()},
            roles={name: [r.role for r in sorted(h.roles, key=stage_of)] for name, h in request.hosts.items()},
        )  # fmt: skip
        self._refuse_busy(record)
        run = _Run(RunDirectory(self._directory / record.id), record)
        # Entered before the first await: of two runs for one server, one sees the other.
        self._runs[record.id] = run
        try:
            await asyncio.to_thread(run.directory.create, record, request)
        except BaseException:
            del self._runs[record.id]
            raise
        self._fill()
        return run.report()

    async def report(self, run_id: str, *, after: int = -1, wait: float = 0.0) -> RunReport:
        """Where a run stands, at the latest ``wait`` seconds from now: sooner if it is over or has events ``after``.

        ``NotFound`` for a run that is not known.
        """
        run = self._known(run_id)
        if wait > 0 and run.progress.n <= after and not run.record.state.final and not self._parting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.changed.wait(), wait)
        return run.report()

    def reports(self, *, server: str = "", role: str = "") -> list[RunReport]:
        """All that concern a server and a role, the latest first."""
        runs = sorted(self._runs.values(), key=lambda run: run.record.asked, reverse=True)
        return [
            run.report()
            for run in runs
            if (not server or server in run.record.roles)
            and (not role or any(role in each for name, each in run.record.roles.items() if server in ("", name)))
        ]

    async def cancel(self, run_id: str, *, reason: str = "canceled") -> RunReport:
        """Ask for its end; a run that is queued ends at once. ``InvalidState`` if it is over."""
        run = self._known(run_id)
        if run.record.state.final:
            raise InvalidState(f"run {run_id} is over: {run.record.state}")
        if run.record.state is RunState.QUEUED:
            # Before the first await: the queue must not start it meanwhile.
            run.record = run.record.model_copy(update={"state": RunState.CANCELED, "reason": reason})
            await self._finish(run, RunState.CANCELED, reason)
        else:
            await asyncio.to_thread(run.directory.ask_to_cancel, reason)
        return run.report()

    async def events(self, run_id: str, *, after: int = 0) -> AsyncIterator[Event | None]:
        """Everything after number ``after``, then what comes, to the run's end; None when nothing came for long."""
        run = self._known(run_id)
        offset, told = 0, after
        while True:
            changed, over = run.changed, run.record.state.final
            for event, behind in await asyncio.to_thread(_list, run.directory, offset):
                offset = behind
                if event.n > told:
                    told = event.n
                    yield event
            if over or self._parting:
                return
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE)
            except TimeoutError:
                yield None

    # -- the queue ------------------------------------------------------------------------------------------------

    def _known(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise NotFound(f"no run {run_id!r}")
        return self._runs[run_id]

    def _refuse_busy(self, record: RunRecord) -> None:
        for other in self._runs.values():
            shared = set(record.hosts.values()) & set(other.record.hosts.values())
            if shared and not other.record.state.final:
                raise Conflict(
                    f"{', '.join(sorted(shared))}: in run {other.record.id}", hint="wait for its end, or cancel it"
                )

    def _fill(self) -> None:
        """Start what is queued, the oldest first, while there are slots."""
        active = sum(run.record.state is RunState.RUNNING for run in self._runs.values())
        queued = [run for run in self._runs.values() if run.record.state is RunState.QUEUED]
        for run in sorted(queued, key=lambda each: each.record.asked)[: max(0, self._slots - active)]:
            run.record = run.record.model_copy(update={"state": RunState.RUNNING, "started": self._now()})
            self._follow(run, adopted=False)

    def _follow(self, run: _Run, *, adopted: bool) -> None:
        task = asyncio.create_task(self._to_its_end(run, adopted=adopted), name=f"run {run.record.id}")
        self._tasks[run.record.id] = task
        task.add_done_callback(lambda done: self._followed(run, done))

    def _followed(self, run: _Run, done: asyncio.Task[None]) -> None:
        self._tasks.pop(run.record.id, None)
        if not done.cancelled():
            self._prune()
            if (error := done.exception()) is not None:
                _LOG.error("run %s is lost sight of", run.record.id, exc_info=error)
            self._fill()

    def _prune(self) -> None:
        """Forget the oldest of the runs that are over."""
        over = sorted((run for run in self._runs.values() if run.record.state.final), key=lambda run: run.record.asked)
        for run in over[: max(0, len(over) - KEPT)]:
            del self._runs[run.record.id]
            shutil.rmtree(run.directory.path, ignore_errors=True)

    # -- one run --------------------------------------------------------------------------------------------------

    async def _to_its_end(self, run: _Run, *, adopted: bool) -> None:
        reason = "its worker died"
        if not adopted:
            await asyncio.to_thread(run.directory.save, run.record)
            reason = await self._launch(run) or reason
        reason = await self._watch(run) or reason
        await self._end_processes(run)
        await self._take_events(run)
        if not run.record.state.final:
            await self._finish(run, RunState.INTERRUPTED, reason)

    async def _launch(self, run: _Run) -> str:
        """Start the worker; why it could not, empty if it could."""
        for _ in range(LAUNCHES):
            try:
                run.life = Life(await asyncio.to_thread(self._nursery.worker, run.directory.path))
            except OSError as error:
                return f"the worker does not start: {error}"
            # Whether it lives is told by its lock, which it takes a moment after its start.
            for _ in range(LAUNCH_LOOKS):
                if await asyncio.to_thread(lambda: run.directory.begun) or run.worked:
                    break
                await run.rest(LOOK)
            else:
                return "its worker does not begin"
            if await asyncio.to_thread(lambda: run.directory.begun):
                break
        return ""

    async def _watch(self, run: _Run) -> str:
        """Until the worker is gone; why it had to be ended, empty if it ended by itself."""
        loop = asyncio.get_running_loop()
        asked_to_end: float | None = None
        while await self._take_events(run):
            now = self._now()
            if run.directory.lease_age(now.timestamp()) > LEASE:
                return "its worker hung"
            started = run.record.started or run.record.asked
            if now - started > timedelta(seconds=self._run_timeout) and run.directory.cancel_reason() is None:
                await asyncio.to_thread(run.directory.ask_to_cancel, f"not over after {self._run_timeout:g} s")
            if run.directory.cancel_reason() is not None:
                asked_to_end = asked_to_end or loop.time()
                if loop.time() - asked_to_end > CANCEL_GRACE:
                    return "canceled, and ended by force"
            looked = loop.time()
            await run.rest(LOOK if run.life is None or run.worked else SILENCE)
            if not run.worked:
                await asyncio.sleep(max(0.0, looked + LOOK - loop.time()))
        return ""

    async def _take_events(self, run: _Run) -> bool:
        """Whether the worker lived when its last events were read: if not, there are no more."""
        lives, new = await asyncio.to_thread(_look, run.directory, run.offset)
        for event, offset in new:
            run.offset = offset
            if event.state == "ended":
                # First: who has the last event's number has heard how the run ended.
                await self._close(run, event.run or RunState.INTERRUPTED, event.message)
            run.progress.take(event)
            if self._on_event is not None and offset > run.told:
                self._on_event(run.record.id, event)
        if new:
            run.told = max(run.told, run.offset)
            await asyncio.to_thread(run.directory.save_told, run.told)
            run.tell()
        return lives

    async def _finish(self, run: _Run, state: RunState, reason: str) -> None:
        """The last event, in the worker's place."""
        await asyncio.to_thread(_append_end, run.directory, self._now().timestamp(), state, reason)
        await self._take_events(run)

    async def _close(self, run: _Run, state: RunState, reason: str) -> None:
        # The worker is at its last steps. Nobody may have the servers while something of this run is at work on them.
        for _ in range(PARTING_LOOKS):
            if run.worked or not await asyncio.to_thread(lambda: run.directory.worker_lives):
                break
            await run.rest(PARTING_LOOK)
        await self._end_processes(run)
        await asyncio.to_thread(run.directory.forget_secrets)
        record = run.record.model_copy(update={"state": state, "reason": reason, "ended": self._now()})
        await asyncio.to_thread(run.directory.save, record)
        run.record = record

    async def _end_processes(self, run: _Run) -> None:
        """Kill what bears the run's mark, until nothing does."""
        for _ in range(100):
            left = [pid for pid in await asyncio.to_thread(processes_of, run.directory.path) if pid != os.getpid()]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
        _LOG.error("run %s: processes %s do not end", run.record.id, left)

    def _read(self) -> list[_Run]:
        """The runs on disk; directories of runs that nobody was told of are removed."""
        private_directory(self._directory)
        found = []
        for path in sorted(self._directory.iterdir()):
            directory = RunDirectory(path)
            try:
                run = _Run(directory, directory.record())
            except (OSError, ValueError) as error:
                _LOG.warning("%s is no run, and goes: %s", path, error)
                shutil.rmtree(path, ignore_errors=True)
                continue
            run.told = directory.told()
            if run.record.state.final:
                for event, offset in directory.events():
                    run.offset = offset
                    run.progress.take(event)
                directory.forget_secrets()
            found.append(run)
        return found


def _list(directory: RunDirectory, offset: int) -> list[tuple[Event, int]]:
    return list(directory.events(offset=offset))


def _look(directory: RunDirectory, offset: int) -> tuple[bool, list[tuple[Event, int]]]:
    lives = directory.worker_lives
    return lives, _list(directory, offset)


def _append_end(directory: RunDirectory, at: float, state: RunState, reason: str) -> None:
    log = directory.appender()
    try:
        log.write(at, state="ended", run=state, message=reason)
    finally:
        log.close()
