"""Asks the VRouterAgents whether they forward: often while a host waits in its poweredOn hook, now and then after.

Introspect cannot notify, so it is polled; answers become facts in the notebook and a key is marked only when the answer
changed. An agent that does not answer is an agent that does not forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import VRouterFact
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.protocols import ReadinessState

URGENT = 5.0
"""Seconds between two questions to a vRouter that tenants wait for."""
STEADY = 30.0
"""Seconds between two questions to one that forwards."""


class AsksVRouter(Protocol):
    """``contrail.introspect.Introspect``."""

    async def forwards(self, address: str) -> bool:
        """Whether the agent has an Established session with a controller."""
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
        self._asked: dict[tuple[Key, HostId], float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin asking."""
        self._task = asyncio.create_task(self._run(), name="vrouter-watch")

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def ask(self, target: Target) -> ReadinessState:
        """Ask one vRouter now and note the answer; never raises for an agent that is away."""
        async with self._slots:
            state = await self._state(target)
        at = self._now()
        before = self._notebook.vrouter(target.key, target.host)
        since = before.since if before is not None and before.forwards == state.forwards else at
        fact = VRouterFact(forwards=state.forwards, synced=state.synced, reason=state.reason, asked_at=at, since=since)
        if self._notebook.set_vrouter(target.key, target.host, fact) or (target.urgent and fact.ready):
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

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = []
            for target in self._targets():
                asked = self._asked.get((target.key, target.host), float("-inf"))
                if loop.time() - asked >= (URGENT if target.urgent else STEADY) - 0.01:
                    self._asked[target.key, target.host] = loop.time()
                    due.append(self.ask(target))
            await asyncio.gather(*due)
            await asyncio.sleep(URGENT)
