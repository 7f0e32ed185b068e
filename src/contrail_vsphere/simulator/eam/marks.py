"""Work by key: each key runs at most once at a time, marks while it runs make it run once more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)


class Marks(Generic[K]):
    """Runs ``work(key)`` for every marked key, in tasks of its own. While paused, marks are kept."""

    def __init__(self, work: Callable[[K], Awaitable[None]], *, defects: list[Exception]) -> None:
        self._work = work
        self._defects = defects
        self._due: dict[K, None] = {}
        self._running: dict[K, asyncio.Task[None]] = {}
        self._paused = True
        self._changed = asyncio.Event()

    def mark(self, key: K) -> None:
        """Have the key looked at; never blocks."""
        self._due[key] = None
        self._start()

    def pause(self) -> None:
        """Start nothing new; what runs goes on."""
        self._paused = True

    def resume(self) -> None:
        """Start what was marked meanwhile."""
        self._paused = False
        self._start()

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing is due."""
        return not self._running and (self._paused or not self._due)

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is due."""
        while not self.is_idle:
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Cancel everything and forget what was due."""
        self._paused = True
        self._due.clear()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self) -> None:
        if self._paused:
            return
        for key in [key for key in self._due if key not in self._running]:
            del self._due[key]
            task = asyncio.get_running_loop().create_task(self._run(key), name=f"eam {key}")
            self._running[key] = task

    async def _run(self, key: K) -> None:
        try:
            await self._work(key)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a defect of the simulator: shown by its owner, the other keys go on
            log.exception("EAM failed on %s", key)
            self._defects.append(error)
        finally:
            del self._running[key]
            self._start()
            self._changed.set()
