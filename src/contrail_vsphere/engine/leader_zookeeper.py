"""Leader election over ZooKeeper: the member with the lowest sequence number leads, and every reign has its own epoch.

Members are ephemeral sequential nodes named as Curator's LeaderLatch names them (``_c_<id>-latch-<number>``), so that
the old Java plugin, pointed at the same path, and we never lead at once. A session that is silent ends the reign at
once: ZooKeeper may give us up at any moment from then on.

A process that was frozen believes in its reign until it hears otherwise. Therefore a write batch is confirmed first:
``confirm`` asks ZooKeeper whether the epoch is still ours, and the epoch was raised before the successor's first act.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
from typing import Final, Self

from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.engine.zookeeper import State, ZooKeeper
from contrail_vsphere.model.errors import AlreadyExists, Conflict, ContrailVsphereError, NotFound

log = logging.getLogger(__name__)

RETRY: Final = Backoff(first=0.2, most=5.0)
_DIGITS: Final = 10
"""Of the sequence number ZooKeeper appends."""


class ZooKeeperLeader:
    """One member of the election at ``path`` (``/contrail-vsphere/plugin``); an async context manager.

    ``name`` says who leads, to people. The epoch lies beside the members' directory, in ``<path>.epoch``.
    """

    def __init__(
        self, zookeeper: ZooKeeper, *, path: str, name: str, random: random_module.Random | None = None
    ) -> None:
        self._zookeeper = zookeeper
        self._path, self._epoch_path = path.rstrip("/"), f"{path.rstrip('/')}.epoch"
        self._name = name
        self._random = random or random_module.Random()
        # The client's, not this candidacy's: a node that an earlier one could not delete, because ZooKeeper was away,
        # lives as long as the session, and we would stand behind it for ever.
        self._mark = f"_c_{zookeeper.identity}-latch-"
        self._epoch = 0
        self._leads, self._over = asyncio.Event(), asyncio.Event()
        self._over.set()
        self._task: asyncio.Task[None] | None = None
        self._unlisten = zookeeper.listen(self._heard)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        self._unlisten()
        self._end("this member leaves")
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            for node in await self._mine():
                await self._zookeeper.delete(f"{self._path}/{node}")
        except ContrailVsphereError as error:
            log.info("the member's node ends with its session: %s", error)

    @property
    def epoch_path(self) -> str:
        """Node that holds the number of the present reign: what a journal is fenced by."""
        return self._epoch_path

    @property
    def is_leader(self) -> bool:
        """Whether this process may write, as far as it has heard; ``confirm`` before a batch."""
        return self._leads.is_set()

    @property
    def epoch(self) -> int:
        """Number of the present reign, or of the last one of ours; 0 before."""
        return self._epoch

    async def wait_until_leader(self) -> int:
        """Return the epoch once this process leads."""
        await self._leads.wait()
        return self._epoch

    async def lost(self) -> None:
        """Return once the present reign is over; at once if there is none."""
        await self._over.wait()

    async def confirm(self) -> int:
        """The epoch, if the reign stands at this moment; Conflict if it does not. Raises Unreachable too."""
        if not self.is_leader:
            raise Conflict("this process does not lead", hint="another one does the work")
        value, _ = await self._zookeeper.get(self._epoch_path)
        if _number(value) != self._epoch:
            self._end(f"epoch {_number(value)} has begun")
        if not self.is_leader:
            raise Conflict("this process does not lead any more", hint="another one does the work")
        return self._epoch

    async def members(self) -> tuple[str, ...]:
        """Who stands for election, the leader first, by the names they gave."""
        found = []
        for node in ordered(await self._zookeeper.children(self._path)):
            try:
                value, _ = await self._zookeeper.get(f"{self._path}/{node}")
            except NotFound:
                continue
            found.append(value.decode(errors="replace") or node)
        return tuple(found)

    # -- the election -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._zookeeper.connected()
            try:
                await self._stand()
                failures = 0
                epoch = await self._raise_epoch()
                if self._zookeeper.state == "connected" and await self._first():
                    self._begin(epoch)
                await self._over.wait()
            except ContrailVsphereError as error:
                failures += 1
                self._end(str(error))
                log.info("election at %s: %s", self._path, error)
                await asyncio.sleep(RETRY.delay(failures, self._random))

    async def _stand(self) -> None:
        """Be a member, and return when all before us are gone."""
        if not await self._mine():
            await self._zookeeper.create(
                f"{self._path}/{self._mark}", self._name.encode(), ephemeral=True, sequence=True
            )
        while not await self._first():
            before = await self._predecessor()
            changed = asyncio.Event()
            stop = self._zookeeper.listen(lambda _state, changed=changed: changed.set())  # type: ignore[misc]
            try:
                if before is None or await self._zookeeper.exists(f"{self._path}/{before}", changed=changed.set):
                    await changed.wait()
            finally:
                stop()
            await self._zookeeper.connected()
            if not await self._mine():
                raise Conflict("the member's node is gone with its session")

    async def _mine(self) -> list[str]:
        """Our nodes: one, unless the answer to a create was lost."""
        return [node for node in ordered(await self._zookeeper.children(self._path)) if self._mark in node]

    async def _first(self) -> bool:
        members = ordered(await self._zookeeper.children(self._path))
        return bool(members) and self._mark in members[0]

    async def _predecessor(self) -> str | None:
        """The last member before us that is not us."""
        before = None
        for node in ordered(await self._zookeeper.children(self._path)):
            if self._mark in node:
                break
            before = node
        return before

    async def _raise_epoch(self) -> int:
        while True:
            try:
                value, version = await self._zookeeper.get(self._epoch_path)
            except NotFound:
                try:
                    await self._zookeeper.create(self._epoch_path, b"0")
                except AlreadyExists:
                    log.debug("somebody else made %s", self._epoch_path)
                continue
            epoch = _number(value) + 1
            try:
                await self._zookeeper.set(self._epoch_path, str(epoch).encode(), version=version)
            except Conflict:
                if not await self._first():
                    raise
                continue
            return epoch

    def _begin(self, epoch: int) -> None:
        log.info("%s leads at %s, epoch %d", self._name, self._path, epoch)
        self._epoch = epoch
        self._over.clear()
        self._leads.set()

    def _end(self, reason: str) -> None:
        if self._leads.is_set():
            log.warning("%s does not lead at %s any more: %s", self._name, self._path, reason)
        self._leads.clear()
        self._over.set()

    def _heard(self, state: State) -> None:
        if state != "connected":
            self._end(f"the ZooKeeper session is {state}")


def ordered(nodes: list[str]) -> list[str]:
    """Members by sequence number; nodes without one are none of an election."""
    return sorted((node for node in nodes if node[-_DIGITS:].isdigit()), key=lambda node: node[-_DIGITS:])


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() else 0
