"""Neutron once per session, and a stand with one worker for all tests that need no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from neutron_stand import SETTINGS, NeutronStand
from real_mariadb import RealMariaDb
from real_neutron import RealNeutron

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """openstacksdk announces its own next versions whenever it is used."""
    for item in items:
        if item.path.is_relative_to(HERE):
            for category in ("RemovedInSDK50Warning", "RemovedInSDK60Warning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::openstack.warnings.{category}"))


@pytest.fixture(scope="session")
def real_neutron(
    real_mariadb: RealMariaDb, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[RealNeutron]:
    part = RealNeutron(tmp_path_factory.mktemp("neutron"), real_mariadb, settings=SETTINGS)
    part.migrate(kept=pytestconfig.cache.mkdir("neutron"))
    try:
        part.start()
        yield part
    finally:
        part.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stand(real_neutron: RealNeutron, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NeutronStand]:
    async with NeutronStand(tmp_path_factory.mktemp("stand"), real_neutron) as entered:
        await entered.start_worker()
        yield entered


@pytest_asyncio.fixture(loop_scope="session")
async def alone(stand: NeutronStand) -> AsyncIterator[None]:
    """The vCenter is a test's own meanwhile: one worker at a time has its lease, and this ends the one of ``stand``."""
    for worker in stand.workers:
        if worker.returncode is None:
            await stand.kill(worker)
    yield
    await stand.start_worker()
