"""A random walk over Neutron's API and vCenter; after quiet, vCenter has exactly what Neutron says."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from neutron_stand import NeutronStand
from walk_steps import Walk, steps

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron")]
ROUNDS, STEPS = 4, 60


async def walked(stand, rounds):
    """Rounds of steps; after each it must come to rest, and between two the worker may be killed."""
    walk = Walk(stand)
    await walk.begin()
    for number, each in enumerate(rounds):
        for kind, one, other in each:
            await walk.step(kind, one, other)
        if number % 2:
            await stand.kill(stand.workers[-1])
            await stand.start_worker()
        stand.vcenter.scenario.clear_faults()
        await settled(walk)
    return walk


async def settled(walk):
    """Wait until nothing differs; what still does after a while is the finding."""
    for _ in range(120):
        await asyncio.sleep(0.5)
        differences = await walk.quiet()
        if not differences:
            return
    history = "\n".join(walk.done[-60:])
    raise AssertionError("\n".join(differences) + f"\nafter\n{history}\n{walk.stand.log()}")


def rounds_of(count, length):
    return st.lists(st.lists(steps, min_size=length, max_size=length), min_size=count, max_size=count)


def walking(count, length):
    """One walk of so many rounds and steps, the same each time unless it is the long form."""

    def decorate(test):
        conditions = settings(
            max_examples=1, phases=[Phase.generate], deadline=None, database=None,
            suppress_health_check=list(HealthCheck), derandomize="CONTRAIL_VSPHERE_SOAK" not in os.environ,
        )  # fmt: skip
        return conditions(given(rounds=rounds_of(count, length))(test))

    return decorate


async def whole(neutron, directory, rounds):
    async with NeutronStand(directory, neutron, vms=24) as stand:
        await stand.start_worker()
        await walked(stand, rounds)


@walking(ROUNDS, STEPS)
def test_after_quiet_vcenter_has_what_neutron_says(real_neutron, tmp_path_factory, rounds):
    asyncio.run(whole(real_neutron, tmp_path_factory.mktemp("walk"), rounds))


@pytest.mark.soak
@walking(20, 200)
def test_after_many_rounds_too(real_neutron, tmp_path_factory, rounds):
    asyncio.run(whole(real_neutron, tmp_path_factory.mktemp("walk"), rounds))
