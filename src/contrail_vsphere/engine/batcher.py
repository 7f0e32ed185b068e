"""Many small writes become few large ones, while every caller still gets its own answer.

Items of one group (a DVS and host group, an agency) collect until the batch is full, its oldest item has waited long
enough, or no item has come for a while; then the group's flush runs, one at a time per group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from contrail_vsphere.model.errors import TransientError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
R = TypeVar("R")


@dataclass(slots=True)
class BatcherCounters:
    """Totals since the start, read by metrics."""

    items: int = 0
    flushes: int = 0
    failures: int = 0
    """Items that got an error."""


@dataclass(slots=True, eq=False)
class _Item(Generic[V, R]):
    value: V
    at: float
    answer: asyncio.Future[R]


@dataclass(slots=True, eq=False)
class _Group(Generic[V, R]):
    waiting: list[_Item[V, R]] = field(default_factory=list)
    at_once: bool = False
    flushing: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None


class Batcher(Generic[K, V, R]):
    """``flush(group, values)`` returns one result or exception per value, in their order.

    ``size``: most items of one flush. ``age``: seconds the oldest item may wait. ``idle``: seconds without a new item
    after which the batch goes. An item that a flush has not taken yet is withdrawn when its submitter is cancelled; one
    that it has taken is carried through, and its batch with it.
    """

    def __init__(
        self,
        flush: Callable[[K, tuple[V, ...]], Awaitable[Sequence[R | Exception]]],
        *,
        size: int,
        age: float,
        idle: float,
    ) -> None:
        if size < 1 or age < 0 or idle < 0:
            raise ValueError(f"not a batch: size={size} age={age} idle={idle}")
        self.counters = BatcherCounters()
        self._flush = flush
        self._size = size
        self._age = age
        self._idle = idle
        self._groups: dict[K, _Group[V, R]] = {}
        self._closing = False

    async def submit(self, group: K, value: V, *, at_once: bool = False) -> R:
        """Hand in one item and wait for its result; raises the item's error, or the flush's own.

        ``at_once``: it waits for no others; what waits already goes with it.
        """
        if self._closing:
            raise TransientError("the batcher is closed; nothing was sent")
        loop = asyncio.get_running_loop()
        item: _Item[V, R] = _Item(value, loop.time(), loop.create_future())
        state = self._groups.setdefault(group, _Group())
        state.waiting.append(item)
        state.at_once |= at_once
        self.counters.items += 1
        self._arm(group, state)
        try:
            return await item.answer
        except asyncio.CancelledError:
            if item in state.waiting:
                state.waiting.remove(item)
                self._arm(group, state)
            raise

    async def close(self, deadline: float = 10.0) -> None:
        """Take no more, flush what waits, and cut off what has not answered after ``deadline`` seconds.

        Those items get a ``TransientError``: whether they took effect is then not known.
        """
        self._closing = True
        try:
            async with asyncio.timeout(deadline):
                while tasks := self._start_all():
                    await asyncio.wait(tasks)
        except TimeoutError:
            await self._cut_off()

    @property
    def waiting(self) -> int:
        """Items no flush has taken yet."""
        return sum(len(group.waiting) for group in self._groups.values())

    def _start_all(self) -> tuple[asyncio.Task[None], ...]:
        for key, group in tuple(self._groups.items()):
            self._arm(key, group)
        return tuple(group.flushing for group in self._groups.values() if group.flushing is not None)

    async def _cut_off(self) -> None:
        tasks = [group.flushing for group in self._groups.values() if group.flushing is not None]
        for group in self._groups.values():
            for item in group.waiting:
                _fail(item.answer, TransientError("the batcher closed first; the item was not sent"))
            group.waiting.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arm(self, key: K, group: _Group[V, R]) -> None:
        """Start the group's flush if it is due, else set its timer; an empty group is dropped."""
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None
        if group.flushing is not None:
            return
        if not group.waiting:
            if self._groups.get(key) is group:
                del self._groups[key]
            return
        loop = asyncio.get_running_loop()
        due = min(group.waiting[0].at + (0.0 if group.at_once else self._age), group.waiting[-1].at + self._idle)
        if self._closing or len(group.waiting) >= self._size:
            self._start(key, group)
        else:
            # Through the loop even when due now: what the same callback still submits joins this batch.
            group.timer = loop.call_at(due, self._start, key, group)

    def _start(self, key: K, group: _Group[V, R]) -> None:
        group.timer = None
        if group.flushing is None and group.waiting:
            items, group.waiting = group.waiting[: self._size], group.waiting[self._size :]
            group.at_once = group.at_once and bool(group.waiting)
            group.flushing = asyncio.create_task(self._run(key, group, items), name=f"flush:{key}")

    async def _run(self, key: K, group: _Group[V, R], items: list[_Item[V, R]]) -> None:
        self.counters.flushes += 1
        try:
            results = await self._flush(key, tuple(item.value for item in items))
            if len(results) != len(items):
                raise RuntimeError(f"the flush of {key} answered {len(results)} of {len(items)} items")
        except asyncio.CancelledError:
            unknown = TransientError("the batch was cut off; whether it took effect is not known")
            self._answer(items, [unknown] * len(items))
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the submitters, each of which raises it
            self._answer(items, [error] * len(items))
        else:
            self._answer(items, results)
        finally:
            group.flushing = None
            self._arm(key, group)

    def _answer(self, items: Sequence[_Item[V, R]], results: Sequence[R | Exception]) -> None:
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Exception):
                self.counters.failures += 1
                _fail(item.answer, result)
            elif not item.answer.done():
                item.answer.set_result(result)


def _fail(answer: asyncio.Future[R], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
