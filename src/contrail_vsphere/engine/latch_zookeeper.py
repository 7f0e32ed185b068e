"""Several leaders of ours beside one predecessor's: they may act at once, but never while that one does.

The old Java plugin elects by a Curator LeaderLatch: who has the lowest sequence number at its path leads. Each leader
of ours (one per vCenter and share of the work, each elected at a path of its own) puts a node there as well. It acts
once all nodes before its own are ours; as long as it acts, the old one, which comes after it, does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from types import TracebackType
from typing import Final, Self

from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader, ordered
from contrail_vsphere.engine.zookeeper import ZooKeeper
from contrail_vsphere.model.errors import ContrailVsphereError, NotFound

log = logging.getLogger(__name__)

MARK: Final = b"contrail-vsphere "
"""What the nodes of ours begin with; the old plugin's hold its own name."""
RECHECK: Final = 5.0
"""Seconds after which the nodes are looked at again, should a notice be lost."""


class LatchedLeader:
    """A ``Leader``: that of its own election, once nobody else has the latch at ``path``; an async context manager."""

    def __init__(self, leader: ZooKeeperLeader, zookeeper: ZooKeeper, *, path: str, name: str) -> None:
        self._leader = leader
        self._zookeeper = zookeeper
        self._path = path.rstrip("/")
        self._name = name
        self._mark = f"_c_{uuid.uuid4()}-latch-"
        self.waits_for = ""
        """Who has the latch, to people; empty when it is free."""

    async def __aenter__(self) -> Self:
        await self._leader.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leader.__aexit__(kind, error, trace)
        try:
            for node in await self._zookeeper.children(self._path):
                if self._mark in node:
                    with contextlib.suppress(NotFound):
                        await self._zookeeper.delete(f"{self._path}/{node}")
        except ContrailVsphereError as failed:
            log.info("the latch's node ends with its session: %s", failed)

    @property
    def is_leader(self) -> bool:
        """As far as has been heard."""
        return self._leader.is_leader

    @property
    def epoch(self) -> int:
        """Of the election, not of the latch."""
        return self._leader.epoch

    async def wait_until_leader(self) -> int:
        """Return the epoch once this process leads and nobody else's node is before ours."""
        while True:
            epoch = await self._leader.wait_until_leader()
            await self._hold()
            if self._leader.is_leader and self._leader.epoch == epoch:
                return epoch

    async def lost(self) -> None:
        """Return once the reign is over; the latch goes with the same session."""
        await self._leader.lost()

    async def confirm(self) -> int:
        """As ``Leader.confirm``."""
        return await self._leader.confirm()

    async def _hold(self) -> None:
        """Have a node, and return when all before it are ours, or when there is no reign any more to hold it for."""
        while self._leader.is_leader:
            nodes = ordered(await self._zookeeper.children(self._path))
            mine = next((index for index, node in enumerate(nodes) if self._mark in node), None)
            if mine is None:
                await self._zookeeper.create(
                    f"{self._path}/{self._mark}", MARK + self._name.encode(), ephemeral=True, sequence=True
                )
                continue
            foreign = await self._foreign(nodes[:mine])
            if foreign is None:
                self.waits_for = ""
                return
            await self._gone(foreign)

    async def _foreign(self, nodes: list[str]) -> str | None:
        """The first node that is not ours."""
        for node in nodes:
            try:
                value, _ = await self._zookeeper.get(f"{self._path}/{node}")
            except NotFound:
                continue
            if not value.startswith(MARK):
                holder = value.decode(errors="replace") or node
                if holder != self.waits_for:
                    log.warning("%s is led by another program, %s: it is waited for", self._path, holder)
                self.waits_for = holder
                return node
        return None

    async def _gone(self, node: str) -> None:
        changed = asyncio.Event()
        lost = asyncio.ensure_future(self._leader.lost())
        try:
            if await self._zookeeper.exists(f"{self._path}/{node}", changed=changed.set):
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait((waiting, lost), timeout=RECHECK, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)
