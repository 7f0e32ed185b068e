"""What every story is told with: chapters that are timed, an end that is in time or says why not, and a place to work.

A story that fails leaves its logs and settings behind, since they are where its reader will look for the reason; any
other end, Ctrl-C among them, leaves nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from contrail_vsphere.demo.screen import Screen, Stopwatch
from contrail_vsphere.model.errors import ContrailVsphereError, NotConverged

T = TypeVar("T")


class Tale:
    """A story so far: its chapters with their seconds, what it waits for and what keeps that from coming about."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.watch = Stopwatch()
        self.steps: list[dict[str, Any]] = []
        self.waits_for = ""
        self.obstacle = ""
        self._ahead: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        """Nothing is told yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was begun ahead ends with the story."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)

    def ahead(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something while another chapter waits for guests to boot; its own chapter awaits what is left of it."""
        task = asyncio.create_task(work)
        self._ahead.append(task)
        return task

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """A chapter: told when it begins, and when it has come about or failed."""
        self.waits_for, watch = words, Stopwatch()
        self.screen.begin(words)
        try:
            yield
        except BaseException:
            self.screen.end(words, watch.seconds(), good=False)
            raise
        took = watch.seconds()
        self.steps.append({"step": words, "seconds": took})
        self.screen.end(words, took, good=True)

    async def in_time(self, story: Awaitable[T], timeout: float) -> T:
        """The story's end; ``NotConverged``, with what it waited for, when that takes more than ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await story
        except TimeoutError:
            reason = f"{self.waits_for}; {self.obstacle}" if self.obstacle else self.waits_for
            raise NotConverged(f"not within {timeout:g} s: {reason}", hint="a longer --timeout may help") from None


@contextmanager
def workshop(name: str) -> Iterator[Path]:
    """A directory for a story's files, named after it; it stays, and is named, when the story fails."""
    directory = Path(tempfile.mkdtemp(prefix=f"contrail-vsphere-{name}-"))
    try:
        yield directory
    except ContrailVsphereError:
        sys.stderr.write(f"logs and settings are kept in {directory}\n")
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)
