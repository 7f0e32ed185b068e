"""Everything that can happen to a site happens at random, rollouts too; once it is left alone, all becomes well.

A walk is one site with switches turned at random, some chapters of mischief, and rest after each. At rest every host
in a deployment's scope has exactly one healthy ContrailVM, nothing is doubled or orphaned, no host was put into
maintenance or rebooted by us, and what is not ours is as it was. Clusters are kept by EAM, or by vLCM as System VMs.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import walk_rollouts  # noqa: F401 - its steps
from walk_mischief import Mischief
from walk_site import WalkSite

from contrail_vsphere.simulator.eam.switches import Switches as EamSwitches
from contrail_vsphere.simulator.vcenter.switches import Switches as DvsSwitches

pytestmark = pytest.mark.looptime

SHORT, CHAPTERS, STEPS = 5, 4, 12
"""``make test``: so many sites of EAM's, chapters on each, and steps in each chapter."""


def eam_switches(chance: Random) -> EamSwitches:
    return EamSwitches(
        parallel_deployments=chance.choice((1, 8)),
        maintenance_issue=chance.choice((None, "pending-only", "always")),
        maintenance_status=chance.choice(("green", "yellow")),
        heartbeat_lost=chance.choice(("yellow", "ignored")),
        user_migration=chance.choice(("orphan", "tolerated")),
        pre_power_on_hook=chance.choice((True, False)),
        maps_all_networks=chance.choice((True, False)),
        removal_waits_for_maintenance=chance.choice((True, False)),
        folder_name=chance.choice(("ESX Agents", "Agents")),
        pool_name=chance.choice(("ESX Agents", "")),
        managed_by_type=chance.choice(("host-agent", "agent")),
    )


def dvs_switches(chance: Random) -> DvsSwitches:
    return DvsSwitches(
        write_while_off=chance.choice(("persists", "lost")),
        reset_at=chance.choice(("disconnect", "power_off")),
        bulk_fault_keeps=chance.choice(("all", "live_hosts", "nothing")),
        auto_shrink=chance.choice((True, False)),
        rectify_on_reconnect=chance.choice((True, False)),
        state_is_live=chance.choice((True, False)),
    )


async def walk(
    directory: Path, prepared: Path, *, seed: int, chapters: int, steps: int, images: tuple[str, ...] = ()
) -> None:
    chance = Random(seed)
    eam, dvs = eam_switches(chance), dvs_switches(chance)
    async with WalkSite(directory, prepared, eam=eam, dvs=dvs, images=images) as site:
        for chapter in range(chapters):
            site.told = [f"  seed {seed}, chapter {chapter}, {eam}", f"  {dvs}", f"  in force: {site.wanted}"]
            await Mischief(site, chance).walk(steps)
            wrongs = await site.rest()
            assert not wrongs, "\n".join(wrongs)


@pytest.mark.parametrize("seed", range(SHORT))
async def test_whatever_happens_all_becomes_well(seed: int, tmp_path: Path, prepared: Path) -> None:
    await walk(tmp_path, prepared, seed=seed, chapters=CHAPTERS, steps=STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1100))
async def test_long_walks(seed: int, tmp_path: Path, prepared: Path) -> None:
    await walk(tmp_path, prepared, seed=seed, chapters=10, steps=25)


@pytest.mark.parametrize("seed", range(1))
async def test_whatever_happens_to_two_keepers_all_becomes_well(seed: int, tmp_path: Path, prepared: Path) -> None:
    """vLCM keeps the ContrailVMs of one cluster, EAM those of the other, and both are disturbed alike."""
    await walk(tmp_path, prepared, seed=seed, chapters=CHAPTERS, steps=STEPS, images=("C0",))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2000, 2050))
async def test_long_walks_with_vlcm(seed: int, tmp_path: Path, prepared: Path) -> None:
    images = (("C0",), ("C1",), ("C0", "C1"))[seed % 3]
    await walk(tmp_path, prepared, seed=seed, chapters=10, steps=25, images=images)
