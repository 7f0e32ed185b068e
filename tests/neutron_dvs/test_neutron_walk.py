"""A random walk over Neutron's API and vCenter; after quiet, vCenter has exactly what Neutron says."""

from __future__ import annotations

import asyncio
import os
import random
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from neutron_stand import NeutronStand
from walk_steps import KINDS, Walk

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron"), pytest.mark.usefixtures("alone")]
ROUNDS, STEPS = 4, 50
LONG = 5
"""Long walks in ``make soak``."""
PATIENCE = 120.0


async def walked(stand, rounds):
    """Rounds of steps; after each it must come to rest, and in the midst of some the worker is killed."""
    walk = Walk(stand)
    await walk.begin()
    for number, each in enumerate(rounds):
        for at, (kind, one, other) in enumerate(each):
            if number % 3 == 1 and at == len(each) // 2:
                await stand.kill(stand.workers[-1])
                await stand.start_worker()
            await walk.step(kind, one, other)
        stand.vcenter.scenario.clear_faults()
        await settled(walk)
    return walk


async def settled(walk):
    """Wait until nothing differs; what still does after a while is the finding."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while differences := await walk.quiet():
        if asyncio.get_running_loop().time() > until:
            history = "\n".join(walk.done[-60:])
            about = walk.stand.log_about(re.findall(r"[0-9a-f-]{36}", " ".join(differences)))
            raise AssertionError("\n".join(differences) + f"\nafter\n{history}\n{walk.stand.log()}\nand\n{about}")
        await asyncio.sleep(0.5)


def steps_of(seed, count, length):
    """Rounds of steps; a seed rather than lists drawn one by one, whose first example would be all zeros."""
    chance = random.Random(seed)
    return [
        [(chance.choice(KINDS), chance.randrange(1000), chance.randrange(1000)) for _ in range(length)]
        for _ in range(count)
    ]


def walking(examples):
    """So many walks, the same each time unless it is the long form."""

    def decorate(test):
        conditions = settings(
            max_examples=examples, phases=[Phase.generate], deadline=None, database=None,
            suppress_health_check=list(HealthCheck), derandomize="CONTRAIL_VSPHERE_SOAK" not in os.environ,
        )  # fmt: skip
        return conditions(given(seed=st.integers(0, 2**32))(test))

    return decorate


async def whole(neutron, directory, rounds):
    async with NeutronStand(directory, neutron, vms=24) as stand:
        await stand.start_worker()
        await walked(stand, rounds)
        await stand.kill(stand.workers[-1])


@walking(1)
def test_after_quiet_vcenter_has_what_neutron_says(real_neutron, tmp_path_factory, seed):
    asyncio.run(whole(real_neutron, tmp_path_factory.mktemp("walk"), steps_of(seed, ROUNDS, STEPS)))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 100 + LONG))
def test_after_many_rounds_too(real_neutron, tmp_path_factory, seed):
    asyncio.run(whole(real_neutron, tmp_path_factory.mktemp("walk"), steps_of(seed, 10, 150)))
