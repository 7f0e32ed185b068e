"""How a service comes to act: alone over a journal in a file, or elected over one in ZooKeeper."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from datetime import datetime
from random import Random
from typing import TypeVar

from contrail_vsphere.app.reign import Acts, Reigns
from contrail_vsphere.config.settings import ZooKeeperSettings
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.journal_zookeeper import ZooKeeperJournal
from contrail_vsphere.engine.latch_zookeeper import LatchedLeader
from contrail_vsphere.engine.leader import AlwaysLeader, Leader
from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader
from contrail_vsphere.engine.zookeeper import ZooKeeper, ZooKeeperServers

A = TypeVar("A", bound=Acts)

NEVER = 0
"""No reign has this number: they are counted from 1."""

Make = Callable[[Leader, RecordStore], Awaitable[A]]
"""Makes what acts for one reign, over the journal as it is when the reign begins."""


def candidate(settings: ZooKeeperSettings) -> str:
    """How this process is called in an election."""
    return settings.name or socket.gethostname()


def alone(
    make: Make[A],
    journal: RecordStore,
    *,
    ended: Callable[[], None],
    random: Random,
    what: str,
    leader: Leader | None = None,
) -> Reigns[A]:
    """The journal is a file of ours, and nobody else acts."""

    async def over_file(leader: Leader, _epoch: int) -> A:
        return await make(leader, journal)

    standing = leader or AlwaysLeader()
    return Reigns(stand=lambda: nullcontext(standing), make=over_file, ended=ended, random=random, what=what)


class Electorate:
    """One election at ZooKeeper and the journal that its leaders hand on; an async context manager.

    ``beside``: path at which a predecessor of ours elects its leader, while which leads none of ours does.
    """

    def __init__(
        self,
        settings: ZooKeeperSettings,
        *,
        path: str,
        journal_path: str,
        now: Callable[[], datetime],
        random: Random,
        beside: str = "",
    ) -> None:
        self._settings = settings
        self._path = path
        self._beside = beside
        self._journal_path = journal_path
        self._now = now
        self._random = random
        self._stack = AsyncExitStack()
        self.zookeeper = ZooKeeper(
            ZooKeeperServers(
                settings.servers,
                session=settings.session,
                ca_file=settings.ca_file,
                cert_file=settings.cert_file,
                key_file=settings.key_file,
            )
        )

    async def __aenter__(self) -> Electorate:
        await self._stack.enter_async_context(self.zookeeper)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def journal(self) -> ZooKeeperJournal:
        """The journal as it is now; to read it while another process leads. Nothing written to it leaves us."""
        journal = ZooKeeperJournal(self.zookeeper, path=self._journal_path, now=self._now)
        journal.fence(f"{self._path}.epoch", NEVER)
        await journal.open()
        return journal

    def reigns(self, make: Make[A], *, ended: Callable[[], None], what: str) -> Reigns[A]:
        """The reigns of this process: the journal is read when one begins, and written only while it lasts."""
        name = candidate(self._settings)

        async def over_zookeeper(leader: Leader, epoch: int) -> A:
            journal = await self.journal()
            journal.fence(f"{self._path}.epoch", epoch)
            return await make(leader, journal)

        def stand() -> ZooKeeperLeader | LatchedLeader:
            leader = ZooKeeperLeader(self.zookeeper, path=self._path, name=name, random=self._random)
            if not self._beside:
                return leader
            return LatchedLeader(leader, self.zookeeper, path=self._beside, name=name)

        return Reigns(stand=stand, make=over_zookeeper, ended=ended, random=self._random, what=what)
