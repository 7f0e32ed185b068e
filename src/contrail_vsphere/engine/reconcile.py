"""The contract of every controller: a key comes in, the world is looked at, and the answer is one of three.

``Done``: the key is as it should be. ``RequeueAfter``: nothing wrong, look again in so many seconds. An exception: try
again later, how much later depends on what kind it is (``TransientError`` quick, ``RefusedError`` slow, anything else
is a fault of ours: logged with its traceback and retried). A pass starts work and never waits for the world to finish
it; completion comes back as an observation that marks the key again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from contrail_vsphere.engine.backoff import QUICK, SLOW, Backoff
from contrail_vsphere.engine.health import HealthBook, State
from contrail_vsphere.engine.queue import KeyedQueue
from contrail_vsphere.model.errors import (
    BrakeEngaged,
    ContrailVsphereError,
    NotConverged,
    RefusedError,
    TransientError,
    UsageError,
)

K = TypeVar("K", bound=Hashable)

_LOG = logging.getLogger(__name__)

_TIMER_SLACK = 1e-6
"""A loop fires a timer up to its clock's resolution early; a key due within this many seconds is due."""


@dataclass(frozen=True, slots=True)
class Done:
    """The key is as it should be; nothing is due until somebody marks it."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Not an error, look again in ``seconds``; ``reason`` says what is waited for."""

    seconds: float
    reason: str = ""


Outcome = Done | RequeueAfter


@dataclass(slots=True)
class ControllerCounters:
    """Totals since the start, read by metrics."""

    passes: int = 0
    done: int = 0
    requeued: int = 0
    transient: int = 0
    refused: int = 0
    unknown: int = 0
    coalesced: int = 0
    """Marks that cost no pass of their own."""
    cut_off: int = 0
    """Passes cancelled because the deadline of ``stop`` had passed."""
    busy_seconds: float = 0.0


class Controller(Generic[K]):
    """Runs ``reconcile`` for every marked key, one pass per key at a time.

    ``concurrency`` bounds passes at once (None: no bound; batchers and pools bound what matters). ``deadline`` in
    seconds ends a pass that hangs. Without ``tells_well`` a key that is as it should be has no entry in ``health``: of
    fifty thousand such entries nobody reads one. After a failure a mark does not start the next pass earlier than
    ``backoff.first``, so that a pass whose own half-done work marks its key cannot spin; see ``hasten``.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[Outcome]],
        *,
        health: HealthBook,
        random: Random,
        backoff: Backoff = QUICK,
        refused: Backoff = SLOW,
        concurrency: int | None = None,
        deadline: float | None = None,
        tells_well: bool = True,
    ) -> None:
        self.name = name
        self._tells_well = tells_well
        self.counters = ControllerCounters()
        self._reconcile = reconcile
        self._health = health
        self._random = random
        self._backoff = backoff
        self._refused = refused
        self._concurrency = concurrency
        self._deadline = deadline
        self._queue: KeyedQueue[K] = KeyedQueue()
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._attempts: dict[K, int] = {}
        self._not_before: dict[K, float] = {}
        self._forgotten: set[K] = set()
        self._started = False
        self._timer: asyncio.Handle | None = None
        self._idle_waiters: list[asyncio.Future[None]] = []

    def mark(self, key: K) -> None:
        """Look at the key as soon as possible; any number of marks before the pass starts cost that one pass."""
        self.mark_after(key, 0.0)

    def mark_after(self, key: K, seconds: float) -> None:
        """Look at the key in ``seconds`` at the latest; a pass that starts earlier answers this mark too."""
        at = max(_now() + seconds, self._not_before.get(key, 0.0))
        self._forgotten.discard(key)
        if self._queue.mark(key, at):
            self._schedule()
        else:
            self.counters.coalesced += 1

    def hasten(self, key: K) -> None:
        """``mark`` for what no pass brings about itself: a failure just now does not delay it."""
        self._not_before.pop(key, None)
        self.mark(key)

    def retry(self, key: K) -> None:
        """A person asks for a try now: past failures no longer delay it."""
        self._clear_failures(key)
        self.mark(key)

    def forget(self, key: K) -> None:
        """The key is gone: no pass is due, its failures and its health are dropped. A pass that runs is its last."""
        self._queue.forget(key)
        self._clear_failures(key)
        self._health.forget(self.name, key)
        if key in self._tasks:
            self._forgotten.add(key)
        self._schedule()

    def start(self) -> None:
        """Begin to run passes; marks made before are kept."""
        self._started = True
        self._schedule()

    async def stop(self, deadline: float = 10.0) -> tuple[K, ...]:
        """Start no more passes, give those that run ``deadline`` seconds, cancel the rest and return their keys."""
        self._started = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._tasks:
            return ()
        await asyncio.wait(tuple(self._tasks.values()), timeout=deadline)
        cut_off = tuple(self._tasks)
        late = tuple(self._tasks.values())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self.counters.cut_off += len(cut_off)
        return cut_off

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing is due now; keys that wait for a later moment do not count."""
        due = self._queue.next_due()
        return not self._tasks and (due is None or due > _now() + _TIMER_SLACK)

    async def idle(self) -> None:
        """Return once the controller is idle. A controller that is not started and has due keys never is."""
        while not self.is_idle:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await waiter

    @property
    def depth(self) -> int:
        """Keys that are due, now or later."""
        return self._queue.waiting

    @property
    def running(self) -> frozenset[K]:
        """Keys whose pass runs."""
        return self._queue.running

    def _schedule(self) -> None:
        """Arrange for ``_pump`` at the next due moment; through the loop, so that a burst of marks is one pump."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._queue.next_due()
        loop = asyncio.get_running_loop()
        if self._started and due is not None and not self._is_full:
            self._timer = loop.call_soon(self._pump) if due <= loop.time() else loop.call_at(due, self._pump)
        if self._idle_waiters and self.is_idle:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    @property
    def _is_full(self) -> bool:
        return self._concurrency is not None and len(self._tasks) >= self._concurrency

    def _pump(self) -> None:
        now = _now() + _TIMER_SLACK
        while not self._is_full:
            key = self._queue.take(now)
            if key is None:
                break
            self._tasks[key] = asyncio.create_task(self._run(key), name=f"{self.name}:{key}")
        self._schedule()

    async def _run(self, key: K) -> None:
        started = _now()
        self.counters.passes += 1
        try:
            async with asyncio.timeout(self._deadline):
                outcome = await self._reconcile(key)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._queue.mark(key, _now())
                raise
            # Somebody cancelled what the pass awaited, not the pass: it failed like any other.
            self._failed(key, error)
        except Exception as error:  # noqa: BLE001 - the boundary of all reconcile passes; _failed logs what is unknown
            self._failed(key, error)
        else:
            self._finished(key, outcome)
        finally:
            self.counters.busy_seconds += _now() - started
            self._forgotten.discard(key)
            del self._tasks[key]
            self._queue.done(key)
            self._schedule()

    def _finished(self, key: K, outcome: Outcome) -> None:
        self._clear_failures(key)
        match outcome:
            case Done():
                self.counters.done += 1
                if key not in self._forgotten and self._tells_well:
                    self._health.succeeded(self.name, key)
                elif key not in self._forgotten:
                    self._health.forget(self.name, key)
            case RequeueAfter(seconds, reason):
                self.counters.requeued += 1
                if key not in self._forgotten:
                    self._health.waiting(self.name, key, reason=reason, next_try=seconds)
                    self._queue.mark(key, _now() + seconds)

    def _failed(self, key: K, error: BaseException) -> None:
        state, policy = self._classify(key, error)
        if key in self._forgotten:
            return
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        delay = policy.delay(attempts, self._random)
        soonest = min(delay, self._backoff.first)
        if key in self._queue:
            # Marked during the pass: something changed, so do not wait long, but do not spin either.
            self._queue.forget(key)
            delay = soonest
        self._not_before[key] = _now() + soonest
        self._queue.mark(key, _now() + delay)
        message, hint = _describe(error)
        self._health.failed(self.name, key, state=state, reason=message, hint=hint, attempts=attempts, next_try=delay)

    def _classify(self, key: K, error: BaseException) -> tuple[State, Backoff]:
        match error:
            case TransientError() | NotConverged() | TimeoutError():
                self.counters.transient += 1
                _LOG.info("%s %s: %s", self.name, key, error or "deadline passed")
                return "failing", self._backoff
            case RefusedError() | BrakeEngaged() | UsageError():
                self.counters.refused += 1
                _LOG.warning("%s %s: %s", self.name, key, error)
                return "refused", self._refused
            case _:
                self.counters.unknown += 1
                _LOG.error("%s %s: unexpected %s", self.name, key, type(error).__name__, exc_info=error)
                return "broken", self._backoff

    def _clear_failures(self, key: K) -> None:
        self._attempts.pop(key, None)
        self._not_before.pop(key, None)


async def all_idle(*controllers: Controller[Any]) -> None:
    """Return once all are idle at the same moment (one may mark the keys of another)."""
    while not all(controller.is_idle for controller in controllers):
        for controller in controllers:
            await controller.idle()


def _describe(error: BaseException) -> tuple[str, str]:
    """One line for people, and the hint."""
    if isinstance(error, ContrailVsphereError):
        return error.message, error.hint
    if isinstance(error, TimeoutError) and not str(error):
        return "the deadline passed", ""
    text = " ".join(str(error).split())
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__), ""


def _now() -> float:
    return asyncio.get_running_loop().time()
