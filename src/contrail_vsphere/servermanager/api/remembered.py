"""What many ask for at once is read once: answers that hold until something is written.

A hundred who watch a run ask for the same answer, with the same tokens, a hundred times a second, while Ansible takes
the processors. An answer is good for as long as this process has written nothing, and never longer than a second,
since another process may write too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

from contrail_vsphere.servermanager.store import Store

T = TypeVar("T")

AGE: Final = 1.0
"""Seconds an answer is good for at most."""
KEPT: Final = 1000


class Remembered:
    """By key; who asks while an answer is being read waits for that one."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._at = store
        self._kept: OrderedDict[Hashable, tuple[int, float, asyncio.Future[Any]]] = OrderedDict()
        self._parting = False

    @property
    def _store(self) -> Store:
        return self._at()

    async def of(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` answers, on a thread; an error is the error of all who wait for it, and is not kept."""
        now, written = asyncio.get_running_loop().time(), self._store.written
        kept = self._kept.get(key)
        if kept is None or kept[0] != written or now - kept[1] >= AGE:
            kept = (written, now, asyncio.ensure_future(asyncio.to_thread(read)))
            kept[2].add_done_callback(lambda done: self._read(key, done))
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        # Shielded: one who goes away must not take the answer from the others.
        return cast(T, await asyncio.shield(kept[2]))

    async def other(self, key: Hashable, read: Callable[[], T], *, than: Callable[[T], bool], wait: float) -> T:
        """As ``of``; an answer that ``than`` finds to be the old one is kept back for ``wait`` seconds at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        woken = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._store.listeners.add(wake)
        try:
            while True:
                woken.clear()
                answer = await self.of(key, read)
                left = deadline - loop.time()
                if left <= 0 or self._parting or not than(answer):
                    return answer
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(left, AGE))
        finally:
            self._store.listeners.discard(wake)

    def part(self) -> None:
        """Keep nobody waiting any more: an end is near."""
        self._parting = True
        for wake in tuple(self._store.listeners):
            wake()

    def _read(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        kept = self._kept.get(key)
        if (done.cancelled() or done.exception() is not None) and kept is not None and kept[2] is done:
            del self._kept[key]
