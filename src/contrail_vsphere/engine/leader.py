"""Who may write: with several processes only the leader acts, and every act can be told by its epoch."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Leader(Protocol):
    """Leadership of one process; a new reign always has a higher ``epoch``."""

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now."""
        ...

    @property
    def epoch(self) -> int:
        """Number of the present reign, or of the last one seen."""
        ...

    async def wait_until_leader(self) -> int:
        """Return the epoch once this process leads."""
        ...

    async def lost(self) -> None:
        """Return once the present reign is over; at once if there is none."""
        ...

    async def confirm(self) -> int:
        """The epoch, if the reign stands at this moment; asked before a batch of writes. Conflict if it does not.

        May raise Unreachable: then nobody knows, and nothing may be written.
        """
        ...


class AlwaysLeader:
    """A single process: leads from its first moment and never loses it."""

    def __init__(self, epoch: int = 1) -> None:
        self._epoch = epoch

    @property
    def is_leader(self) -> bool:
        """Always."""
        return True

    @property
    def epoch(self) -> int:
        """The one reign."""
        return self._epoch

    async def wait_until_leader(self) -> int:
        """At once."""
        return self._epoch

    async def lost(self) -> None:
        """Never returns; ends by cancellation."""
        await asyncio.get_running_loop().create_future()

    async def confirm(self) -> int:
        """The one reign."""
        return self._epoch
