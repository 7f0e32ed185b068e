"""Where a manager can die, and how it is made to: the doors through which it acts on anything outside its memory.

Each door (a journal write, a call to vCenter or EAM, a login, a token) has two points: before it was used, and after
it had its effect but before the manager could know. A process that died at a point acts no more: every door raises
``Killed`` from then on, whatever its tasks still try. What belongs to which process is told by a context variable,
which tasks inherit; the simulated vCenter in the same loop has none and is never stopped.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.vsphere import tunnel
from contrail_vsphere.vsphere.system_vm.rest import RestSession
from contrail_vsphere.vsphere.transport import SoapTransport, safe

READING = ("CreateFilter", "CreateContainerView", "DestroyView", "DestroyPropertyFilter", "CreatePropertyCollector",
           "DestroyPropertyCollector", "WaitForUpdatesEx", "CreateCollectorForEvents", "DestroyCollector", "Logout",
           "ReadNextEvents", "CancelWaitForUpdates", "SetCollectorPageSize", "RewindCollector")  # fmt: skip
"""Calls that change nothing but what the session itself looks at; besides those that are ``safe``."""
REST_READING = ("Solutions.list", "Solutions.check-compliance", "task", "log")
"""Of vLCM; the last is logging in and out."""

CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class Killed(BaseException):
    """The process is gone; nothing may handle it."""


@dataclass(frozen=True, slots=True)
class Point:
    """The nth use of a door since the count began."""

    door: str
    nth: int

    @property
    def acts(self) -> bool:
        """Something is written here, or changed in vCenter; the rest only looks."""
        method = self.door.split()[1]
        reads = safe(method) or method in READING or method in REST_READING
        return method in ("journal", "mint", "redeem") or not reads

    def __str__(self) -> str:
        return f"{self.door}#{self.nth}"


@dataclass(slots=True, eq=False)
class Process:
    """One life of the manager: its tasks, and whether it is over."""

    died: asyncio.Event = field(default_factory=asyncio.Event)
    closing: bool = False
    """Its objects are being taken apart: what they still try fails in a way that they handle."""
    tasks: WeakSet[asyncio.Task[Any]] = field(default_factory=WeakSet)
    where: str = ""


class Points:
    """Counts the uses of doors, and kills the process that comes to the chosen one."""

    def __init__(self) -> None:
        self.seen: list[Point] = []
        self.deaths: list[str] = []
        """Where processes died so far."""
        self.victim: Point | int | None = None
        """A point, or the how-manieth that acts."""
        self._acted = 0
        self._uses: Counter[str] = Counter()

    def begin(self, victim: Point | int | None = None) -> None:
        """Count anew, and kill there."""
        self.seen.clear()
        self._uses.clear()
        self._acted = 0
        self.victim = victim

    def reach(self, door: str) -> None:
        """A process of ours is at a door."""
        process = CURRENT.get()
        if process is None:
            return
        if process.died.is_set():
            if process.closing:
                raise Unreachable("the process is dead")
            raise Killed(door)
        self._uses[door] += 1
        point = Point(door, self._uses[door])
        self.seen.append(point)
        self._acted += point.acts
        if self.victim == point or (point.acts and self.victim == self._acted):
            self.victim = None
            frames = [each for each in traceback.extract_stack() if "/contrail_vsphere/" in each.filename]
            calls = " > ".join(each.name for each in frames if "/wire/" not in each.filename)
            process.where = f"{point} ({calls})"
            self.deaths.append(process.where)
            process.died.set()
            raise Killed(str(point))


@contextmanager
def watched(points: Points) -> Iterator[None]:
    """All doors lead past ``points`` inside the block."""
    post, exchange, transaction = SoapTransport.post, tunnel.exchange, Journal.transaction
    send = RestSession._send
    mint, redeem = TokenStore.mint, TokenStore.redeem

    async def watched_post(self: SoapTransport, path: str, body: bytes, **options: Any) -> Any:
        name = options["method"].name
        points.reach(f"before {name}")
        answer = await post(self, path, body, **options)
        points.reach(f"after {name}")
        return answer

    async def watched_send(self: RestSession, *arguments: Any, what: str, **options: Any) -> Any:
        points.reach(f"before {what}")
        answer = await send(self, *arguments, what=what, **options)
        points.reach(f"after {what}")
        return answer

    async def watched_exchange(*arguments: Any, **options: Any) -> Any:
        points.reach("before LoginExtensionByCertificate")
        answer = await exchange(*arguments, **options)
        points.reach("after LoginExtensionByCertificate")
        return answer

    @contextmanager
    def watched_transaction(self: Journal) -> Iterator[None]:
        outermost = not self._depth
        if outermost:
            points.reach("before journal")
        with transaction(self):
            yield
        if outermost:
            points.reach("after journal")

    SoapTransport.post = watched_post  # type: ignore[method-assign]
    RestSession._send = watched_send  # type: ignore[method-assign]
    tunnel.exchange = watched_exchange
    Journal.transaction = watched_transaction  # type: ignore[method-assign]
    TokenStore.mint = _watched(points, "mint", mint)  # type: ignore[method-assign]
    TokenStore.redeem = _watched(points, "redeem", redeem)  # type: ignore[method-assign]
    try:
        yield
    finally:
        SoapTransport.post, Journal.transaction = post, transaction  # type: ignore[method-assign]
        tunnel.exchange, RestSession._send = exchange, send  # type: ignore[method-assign]
        TokenStore.mint, TokenStore.redeem = mint, redeem  # type: ignore[method-assign]


def _watched(points: Points, door: str, function: Callable[..., Any]) -> Any:
    def through(*arguments: Any, **options: Any) -> Any:
        points.reach(f"before {door}")
        result = function(*arguments, **options)
        points.reach(f"after {door}")
        return result

    return through


def own_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """A task factory that remembers which process a task belongs to."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    process = context.get(CURRENT) if context is not None else CURRENT.get()
    if process is not None:
        process.tasks.add(task)
    return task
