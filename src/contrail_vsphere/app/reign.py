"""Who acts for a vCenter: one process alone, or the one of several that ZooKeeper has elected.

A process that stands by keeps its caches of the outside worlds read and followed. When its reign begins it opens the
journal and compares: what is as it should be is not written again. When a reign ends, whatever ran is stopped (its
writes are refused from that moment on), and the process stands for election again, behind the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, Generic, Protocol, TypeVar

from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.errors import ContrailVsphereError, NotReadyYet

RETRY: Final = Backoff(first=1.0, most=60.0)
"""Between two candidacies, when a reign could not begin."""
GRACE: Final = 10.0
"""Seconds that passes get which run when the process ends; none of what a lost reign has begun matters."""
_LOG = logging.getLogger(__name__)


class Acts(Protocol):
    """What acts for the length of one reign: a plugin, a manager."""

    async def start(self) -> None:
        """Begin to act."""
        ...

    async def stop(self, deadline: float) -> None:
        """Start nothing more; what runs gets so many seconds."""
        ...

    def not_ready(self) -> tuple[str, ...]:
        """What is missing before it does its work; empty when it does."""
        ...


A = TypeVar("A", bound=Acts)


class Reigns(Generic[A]):
    """Runs what ``make`` makes while this process leads; ``what`` is its name to people.

    ``stand`` makes a candidacy. A process that is alone lets errors of its one beginning reach ``first``; a candidate
    gives up its reign instead, so that another one may try.
    """

    def __init__(
        self,
        *,
        stand: Callable[[], AbstractAsyncContextManager[Leader]],
        make: Callable[[Leader, int], Awaitable[A]],
        ended: Callable[[], None],
        random: Random,
        what: str = "plugin",
    ) -> None:
        self._stand = stand
        self._make = make
        self._ended = ended
        self._random = random
        self._what = what
        self._acting: A | None = None
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.leads = False
        self.epoch = 0
        self.begun = 0
        """Reigns of this process so far."""
        self.reason = "it has not been elected yet"

    @property
    def acting(self) -> A:
        """The one that reigns. NotReadyYet when another process does."""
        if self._acting is None:
            raise NotReadyYet(f"this {self._what} stands by: {self.reason}", hint="ask the process that leads")
        return self._acting

    def not_ready(self) -> tuple[str, ...]:
        """Why it does not do its work."""
        return self._acting.not_ready() if self._acting is not None else (f"stands by: {self.reason}",)

    def start(self) -> None:
        """Stand for election, from now on."""
        self._task = asyncio.create_task(self._run(), name="reigns")

    async def first(self) -> None:
        """Return when the first reign has begun; raises what kept it from beginning."""
        await asyncio.shield(self._first)

    async def stop(self) -> None:
        """End the reign, and stand no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._first.done() and not self._first.cancelled():
            self._first.exception()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with self._stand() as leader:
                    await self._reign(leader)
                failures = 0
            except ContrailVsphereError as error:
                failures += 1
                self.reason = f"its last reign ended: {error}"
                _LOG.error("a reign ends: %s", error)
                self._tell_first(error)
                await asyncio.sleep(RETRY.delay(failures, self._random))
            except Exception as error:  # noqa: BLE001 - the boundary of a reign: a candidate must not just stop standing
                failures += 1
                self.reason = f"its last reign ended: {type(error).__name__}"
                _LOG.exception("a reign ends unexpectedly")
                self._tell_first(error)
                await asyncio.sleep(RETRY.delay(failures, self._random))

    def _tell_first(self, error: Exception) -> None:
        if not self._first.done():
            self._first.set_exception(error)

    async def _reign(self, leader: Leader) -> None:
        epoch = await leader.wait_until_leader()
        acting = await self._make(leader, epoch)
        lost = asyncio.create_task(leader.lost(), name="reign-lost")
        begin = asyncio.create_task(acting.start(), name="reign-begins")
        self._acting, self.epoch = acting, epoch
        try:
            await asyncio.wait((lost, begin), return_when=asyncio.FIRST_COMPLETED)
            if not lost.done():
                begin.result()
                self.leads = True
                self.begun += 1
                _LOG.info("reign %d has begun", epoch)
                if not self._first.done():
                    self._first.set_result(None)
                await lost
            self.reason = f"reign {epoch} is over"
            _LOG.warning("reign %d is over", epoch)
        finally:
            self.leads, self._acting = False, None
            over = lost.done()
            for task in (lost, begin):
                task.cancel()
            await asyncio.gather(lost, begin, return_exceptions=True)
            await acting.stop(0.0 if over else GRACE)
            self._ended()
