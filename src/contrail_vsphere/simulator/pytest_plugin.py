"""Fixtures for tests that need a vCenter.

``vcenter``: a started simulator on loopback in the test's own event loop, where nothing takes time. For another one,
override ``vcenter_options`` in the test's module with a fixture that returns the simulator's keyword arguments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from contrail_vsphere.simulator.simulator import VCenterSimulator


@pytest.fixture
def vcenter_options() -> dict[str, Any]:
    """Keyword arguments of the simulator that ``vcenter`` starts."""
    return {}


@pytest_asyncio.fixture
async def vcenter(vcenter_options: dict[str, Any]) -> AsyncIterator[VCenterSimulator]:
    """A running VCenterSimulator with instant timing; fails the test on any defect of the simulator itself."""
    # Imported late: the plugin is loaded into every pytest run of an environment that has the package.
    from contrail_vsphere.simulator.core.timing import Timing
    from contrail_vsphere.simulator.simulator import VCenterSimulator

    simulator = VCenterSimulator(**{"timing": Timing.instant(), **vcenter_options})
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()
    assert not simulator.world.defects, simulator.world.defects  # noqa: S101 - a test's verdict
