"""Stands on which days pass at once. OpenSSL judges certificates by the real clock, and takes theirs all the while.

They begin a year ago, so what is issued then and what is issued after a year are both good now.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contrail_vsphere.simulator.core.clock import Clock

AGO = timedelta(days=370)


class LongLived:
    """Put before ``Scene`` or a site made from it."""

    def __init__(self, directory, **options):
        start = datetime.now(UTC) - AGO
        super().__init__(directory, clock=Clock(start), **options)
        self._start = start

    async def days_pass(self, days, *, settle=120):
        """The simulated world and the manager's wall clock jump; neither sees the time between."""
        self._start += timedelta(days=days)
        self.world.clock.advance(days * 86400)
        await self.pass_time(settle)
