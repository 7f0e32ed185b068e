"""What a manager that stands by answers readers: the status and plan of the deployments as it sees them itself.

It has caches of its own of vCenter and EAM, asks the vRouters itself, and takes what only the leader knows from the
journal, read again when that has changed. Its manager only looks on, and no leader confirms what it might write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from contrail_vsphere.contrailvm.manager import ContrailVmManager
from contrail_vsphere.contrailvm.notebook import ALARMS, DESIRED, DETACHED, HOSTS, KEYS, ROLLOUTS
from contrail_vsphere.engine.brake import KIND as BRAKES
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.errors import Conflict

READ = (DESIRED, KEYS, HOSTS, ROLLOUTS, ALARMS, DETACHED, BRAKES)


class Bystander:
    """The ``Leader`` of who never leads."""

    is_leader = False
    epoch = 0

    async def wait_until_leader(self) -> int:
        """Never returns; ends by cancellation."""
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    async def lost(self) -> None:
        """At once."""

    async def confirm(self) -> int:
        """Conflict, always."""
        raise Conflict("this process stands by and writes nothing")


class StandbyReader:
    """``make`` makes a manager over a journal, for the leader it is given. ``take`` it a journal as newly read."""

    def __init__(self, make: Callable[[Leader, RecordStore], ContrailVmManager]) -> None:
        self._make = make
        self._seen: frozenset[tuple[str, str, int]] | None = None
        self.manager: ContrailVmManager | None = None
        """None before the first journal was read, and while this process leads."""

    async def take(self, journal: RecordStore) -> None:
        """Tell by this journal from now on; nothing happens where it says what the one before did."""
        seen = frozenset((each.kind, each.key, each.version) for kind in READ for each in journal.items(kind))
        if seen == self._seen:
            return
        before = self.manager
        manager = self._make(Bystander(), journal)
        if before is not None:
            manager.notebook.recall_vrouters(before.notebook)
        manager.look_on()
        self.manager, self._seen = manager, seen
        if before is not None:
            await before.stop(0.0)

    async def stop(self) -> None:
        """Look on no more."""
        before, self.manager, self._seen = self.manager, None, None
        if before is not None:
            await before.stop(0.0)
