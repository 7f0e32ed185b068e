"""Everything that can happen to a site with the plugin happens at random; once it is left alone, one truth is left.

A walk is one site, a fifth of them with two processes that are elected, frozen and ended, vCenter's switches turned
at random, in half of the walks without any event, some chapters of mischief, and rest after each. At every moment no
two open ports of a host share a VLAN and no frame passes from one network to another; at rest Contrail, switches and
VRouterAgents agree about every card, and the packet oracle delivers exactly what Contrail would.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from elected_site import ElectedSite
from plugin_mischief import PluginMischief
from plugin_site import PluginSite

pytestmark = pytest.mark.looptime(noop_cycles=8)

SHORT, CHAPTERS, STEPS = 10, 4, 50
"""``make test``: so many sites, chapters on each, and steps in each chapter: 10 * 4 * 50 = 2,000 steps."""
BESIDE = 4
"""Sites besides on which a VRouterAgent stays dead."""
SITES, LONG_CHAPTERS, LONG_STEPS = 1000, 10, 100
"""``make soak``: 1,000 * 10 * 100 = 1,000,000 steps."""


def switches(chance: Random) -> dict[str, Any]:
    return {
        "write_while_off": chance.choice(("persists", "lost")),
        "reset_at": chance.choice(("disconnect", "power_off")),
        "bulk_fault_keeps": chance.choice(("all", "live_hosts", "nothing")),
        "proxy_host_flips": chance.choice(("before", "with", "after")),
        "proxy_host_when_off": chance.choice((True, False)),
        "blocked_in_vmotion": chance.choice((True, False)),
        "auto_shrink": chance.choice((True, False)),
        "rectify_on_reconnect": True,
        "state_is_live": chance.choice((True, False)),
    }


async def walk(directory: Path, *, seed: int, chapters: int, steps: int, dead: bool = False) -> None:
    """``dead``: at the end of each chapter one host's VRouterAgent is dead at first; all other hosts come to rest."""
    chance = Random(seed)
    chosen, scarce = switches(chance), chance.random() < 0.25
    kind = ElectedSite if seed % 5 == 3 else PluginSite
    async with kind(directory, switches=chosen, events=bool(seed % 2), scarce=scarce) as site:
        mischief = PluginMischief(site, chance)
        for chapter in range(chapters):
            site.told.append(f"  seed {seed}, chapter {chapter}, scarce {scarce}, {chosen}")
            await mischief.walk(steps)
            wrongs = await site.rest(away=mischief.an_agent()) if dead else []
            wrongs += await site.rest()
            assert not wrongs, "\n".join([*wrongs, *site.told])


@pytest.mark.parametrize("seed", range(SHORT))
async def test_one_truth_is_left(seed: int, tmp_path: Path) -> None:
    await walk(tmp_path, seed=seed, chapters=CHAPTERS, steps=STEPS)


@pytest.mark.parametrize("seed", range(2000, 2000 + BESIDE))
async def test_a_dead_host_keeps_nobody_else_from_coming_to_rest(seed: int, tmp_path: Path) -> None:
    await walk(tmp_path, seed=seed, chapters=CHAPTERS, steps=STEPS, dead=True)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2100, 2100 + SITES // 10))
async def test_long_walks_beside_dead_hosts(seed: int, tmp_path: Path) -> None:
    await walk(tmp_path, seed=seed, chapters=LONG_CHAPTERS, steps=LONG_STEPS, dead=True)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1000 + SITES))
async def test_long_walks(seed: int, tmp_path: Path) -> None:
    await walk(tmp_path, seed=seed, chapters=LONG_CHAPTERS, steps=LONG_STEPS)
