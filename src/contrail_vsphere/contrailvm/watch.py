"""Asks the VRouterAgents whether they forward: often while a host waits in its poweredOn hook, now and then after.

Introspect cannot notify, so it is polled; answers become facts in the notebook and a key is marked only when the answer
changed. An agent that does not answer is an agent that does not forward. Whom to ask is looked up again whenever
something was observed (``look``), so that a ContrailVM that just got its address is asked at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import DropSample, VRouterFact
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import HostId, VmId
from contrail_vsphere.model.protocols import ReadinessState

_LOG = logging.getLogger(__name__)

EAGER = 1.0
"""Seconds between two questions to a vRouter that has just come up; tenants wait for it."""
EAGER_FOR = 120.0
"""Seconds for which it counts as having just come up."""
URGENT = 5.0
"""Seconds between two questions to one that tenants have waited for longer, or that stopped forwarding."""
STEADY = 30.0
"""Seconds between two questions to one that forwards."""
GATHER = 0.1
"""Seconds for which observations are gathered before it is looked up whom to ask."""
REMEMBERED = 32
"""Counts of dropped frames that are kept of one vRouter."""
SLACK = 0.01
"""A loop fires its timers up to its clock's resolution early."""


class AsksVRouter(Protocol):
    """``contrail.introspect.Introspect``."""

    async def forwards(self, address: str) -> bool:
        """Whether the agent has an Established session with a controller."""
        ...

    async def dropped(self, address: str) -> int:
        """Frames that the vRouter has dropped since it started, but for those that every vRouter drops."""
        ...


SyncedProbe = Callable[[HostId], Awaitable[tuple[bool, str]]]
"""Whether the plugin has plugged every port it owes the host, and what is missing (no plugin: ``nobody_owes``)."""


async def nobody_owes(_host: HostId) -> tuple[bool, str]:
    """No plugin runs: nothing is owed to any host."""
    return True, ""


@dataclass(frozen=True, slots=True)
class Target:
    """A vRouter to ask."""

    key: Key
    host: HostId
    address: str
    urgent: bool
    vm: VmId | None = None
    drops_every: float = 0.0
    """Seconds between two questions for dropped frames; 0: nobody wants to know."""
    proving: bool = False
    """Whether its key is to be looked at after every answer."""


class VRouterWatch:
    """Runs until stopped. ``targets`` says whom to ask now; ``changed`` is told of keys whose answer changed."""

    def __init__(
        self,
        *,
        introspect: AsksVRouter,
        synced: SyncedProbe,
        notebook: Notebook,
        targets: Callable[[], Iterable[Target]],
        changed: Callable[[Key], None],
        now: Callable[[], float],
        concurrency: int = 64,
    ) -> None:
        self._introspect = introspect
        self._synced = synced
        self._notebook = notebook
        self._targets = targets
        self._changed = changed
        self._now = now
        self._slots = asyncio.Semaphore(concurrency)
        self._asked: dict[tuple[Key, HostId, str], float] = {}
        self._urgent_since: dict[tuple[Key, HostId, str], float] = {}
        self._questions: set[asyncio.Task[ReadinessState]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Something was observed: look soon whom to ask."""
        self._wake.set()

    def start(self) -> None:
        """Begin asking."""
        self._task = asyncio.create_task(self._run(), name="vrouter-watch")

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)

    async def ask(self, target: Target) -> ReadinessState:
        """Ask one vRouter now and note the answer; never raises for an agent that is away."""
        async with self._slots:
            state = await self._state(target)
            dropped = await self._dropped(target) if state.forwards and target.drops_every else None
        at = self._now()
        before = self._notebook.vrouter(target.key, target.host)
        same = before is not None and (before.vm, before.forwards) == (target.vm, state.forwards)
        since = before.since if same and before is not None else at
        kept = before.drops if before is not None and before.vm == target.vm and target.drops_every else ()
        if dropped is not None:
            # A vRouter that started again counts from zero.
            kept = (*(kept if not kept or kept[-1].total <= dropped else ()), DropSample(at, dropped))[-REMEMBERED:]
        fact = VRouterFact(
            forwards=state.forwards,
            synced=state.synced,
            reason=state.reason,
            asked_at=at,
            since=since,
            vm=target.vm,
            drops=kept,
        )
        wanted = target.proving or (target.urgent and fact.ready)
        if self._notebook.set_vrouter(target.key, target.host, fact) or wanted:
            self._changed(target.key)
        return state

    async def _state(self, target: Target) -> ReadinessState:
        try:
            if not await self._introspect.forwards(target.address):
                return ReadinessState(forwards=False, synced=False, reason="no controller session is Established")
        except (ContrailVsphereError, OSError, TimeoutError) as error:
            return ReadinessState(forwards=False, synced=False, reason=f"the vRouter agent does not answer: {error}")
        try:
            synced, missing = await self._synced(target.host)
        except (ContrailVsphereError, OSError, TimeoutError) as error:
            return ReadinessState(forwards=True, synced=False, reason=f"the plugin does not answer: {error}")
        return ReadinessState(forwards=True, synced=synced, reason=missing)

    async def _dropped(self, target: Target) -> int | None:
        try:
            return await self._introspect.dropped(target.address)
        except (ContrailVsphereError, OSError, TimeoutError) as error:
            _LOG.info("%s %s does not tell what it drops: %s", target.key, target.host, error)
            return None

    async def _run(self) -> None:
        """One task per question: an agent that hangs delays nobody else's."""
        loop = asyncio.get_running_loop()
        while True:
            due, soonest = self._due(tuple(self._targets()), loop.time())
            for target in due:
                task = asyncio.create_task(self.ask(target), name=f"vrouter-watch:{target.address}")
                self._questions.add(task)
                task.add_done_callback(self._questions.discard)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(soonest):
                    await self._wake.wait()
                    await asyncio.sleep(GATHER)

    def _due(self, targets: Sequence[Target], now: float) -> tuple[list[Target], float]:
        """Those to ask now, and in how many seconds the next is due. Forgets who is no target any more."""
        present = {(each.key, each.host, each.address) for each in targets}
        self._asked = {who: at for who, at in self._asked.items() if who in present}
        waiting = {(each.key, each.host, each.address) for each in targets if each.urgent}
        self._urgent_since = {who: self._urgent_since.get(who, now) for who in waiting}
        due, soonest = [], URGENT
        for target in targets:
            who = (target.key, target.host, target.address)
            pause = min(self._pause(who, now), target.drops_every or STEADY)
            if self._asked.get(who, now - STEADY) + pause - now <= SLACK:
                self._asked[who] = now
                due.append(target)
            soonest = min(soonest, self._asked[who] + pause - now)
        return due, soonest

    def _pause(self, who: tuple[Key, HostId, str], now: float) -> float:
        since = self._urgent_since.get(who)
        if since is None:
            return STEADY
        return EAGER if now < since + EAGER_FOR else URGENT
