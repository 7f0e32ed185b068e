"""The question before every write: does this process still lead?

A process that was frozen believes in its reign until it asks. All who are about to write at one moment share one
question, so that a burst of 2,000 ports asks a few times.
"""

from __future__ import annotations

import asyncio

from contrail_vsphere.engine.leader import Leader


class Fence:
    """Stands between plans and the outside worlds."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._asking: asyncio.Task[int] | None = None

    async def confirm(self) -> int:
        """The epoch of the reign that stands. Conflict if another process leads, Unreachable if nobody can tell."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="fence")
            self._asking.add_done_callback(_seen)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> int:
        # Who comes from here on asks anew: an answer counts only for those who waited before it was asked for.
        self._asking = None
        return await self._leader.confirm()


def _seen(task: asyncio.Task[int]) -> None:
    """Its error belongs to those who wait; that nobody waits any more is none."""
    if not task.cancelled():
        task.exception()
