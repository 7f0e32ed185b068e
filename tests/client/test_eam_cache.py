"""What the cache of EAM's agencies owes to those who ask it for a read: the read, however often EAM fails first."""

import asyncio
from collections.abc import Collection

import pytest

from contrail_vsphere.model.eam import Agency, AgencyConfig, EamFeatures, Issue
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.model.ids import AgencyId, HostId
from contrail_vsphere.vsphere.eam.cache import EamCache

pytestmark = pytest.mark.looptime

ONE = AgencyId("agency-1")


class Eam:
    """One green agency; fails as often as ``failures`` says."""

    def __init__(self) -> None:
        self.failures = 0
        self.whole = 0

    @property
    def features(self) -> EamFeatures:
        raise AssertionError("nobody asks")

    async def agency_ids(self) -> tuple[AgencyId, ...]:
        if self.failures:
            self.failures -= 1
            raise Unreachable("/eam/sdk answers 503")
        return (ONE,)

    async def read_agency(self, agency: AgencyId) -> Agency:
        self.whole += 1
        return Agency(agency, "us", AgencyConfig("a", "a", agents=(), scope=()), status="green", goal="enabled")

    async def refresh_agency(self, before: Agency, *, hosts: Collection[HostId], unsettled: bool) -> Agency:
        return before

    async def agency_status(self, agency: AgencyId) -> tuple[str, str, tuple[Issue, ...]]:
        return "green", "enabled", ()


async def test_a_whole_read_that_was_asked_for_comes_once_eam_answers_again():
    eam = Eam()
    cache = EamCache(eam, solution_id="us")
    cache.start()
    await cache.ready()
    before = cache.whole_reads
    eam.failures = 2
    cache.nudge()
    await asyncio.sleep(60)
    assert cache.whole_reads == before + 1
    assert eam.whole == 2
    assert cache.healthy
    await cache.stop()


async def test_an_agency_that_was_asked_for_is_read_once_eam_answers_again():
    eam = Eam()
    cache = EamCache(eam, solution_id="us")
    cache.start()
    await cache.ready()
    eam.failures = 1
    cache.nudge()
    cache.nudge(ONE)
    await asyncio.sleep(20)
    assert eam.whole == 2
    await cache.stop()
