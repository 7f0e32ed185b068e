"""The manager's real process is killed with signal 9 at ten moments and started again (facts F9, F16).

The moments are taken from what the simulated vCenter has been asked so far, plus a fraction of a second that differs
from kill to kill. What must come true is read from the simulator's control port and from the vRouters themselves.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from crash_rig import VERSIONS
from kill_rig import KillRig, kill_rig

pytestmark = pytest.mark.process

KILLS_PER_SEED = 100
CHAPTER = 150.0
"""Seconds for one soak story: what may happen, a kill in it, and all well again."""


async def killed_after(rig: KillRig, method: str, before: int, *, pause: float) -> None:
    """Kill ``pause`` seconds after the next call of the method, and start again."""
    await rig.after_call(method, before)
    await asyncio.sleep(pause)
    await rig.kill()
    await rig.start()


async def test_ten_kills_and_nothing_is_doubled_orphaned_or_forgotten(tmp_path: Path, prepared: Path) -> None:
    chance = random.Random(9)
    async with asyncio.timeout(300), kill_rig(tmp_path, prepared) as rig:

        def pause() -> float:
            return chance.choice((0.0, 0.05, 0.3, 0.8))

        # 1: the operator's wish is acknowledged, nothing done yet; 2-4: while it is fulfilled.
        await rig.deploy(VERSIONS[0])
        await rig.kill()
        await rig.start()
        for method in ("CreateAgency", "ReconfigVM_Task", "MarkAsAvailable"):
            await killed_after(rig, method, 0, pause=pause())
        await rig.well()

        # 5: a ContrailVM was powered off; 6-7: one was deleted.
        seen = await rig.calls("Resolve")
        await rig.do("POST", f"/v1/vms/{await rig.contrailvm('esx-00')}/power-off")
        await killed_after(rig, "Resolve", seen, pause=pause())
        await rig.well()
        seen, changed = await rig.calls("Resolve"), await rig.calls("ReconfigVM_Task")
        gone = await rig.contrailvm("esx-01")
        await rig.do("POST", f"/v1/vms/{gone}/power-off")
        await rig.do("DELETE", f"/v1/vms/{gone}")
        await killed_after(rig, "Resolve", seen, pause=pause())
        await killed_after(rig, "ReconfigVM_Task", changed, pause=pause())
        await rig.well()

        # 8: another package; 9: a host joins; 10: the end.
        changed, old = await rig.calls("ReconfigVM_Task"), await rig.vms(contrailvms=True)
        await rig.deploy(VERSIONS[1])
        await killed_after(rig, "ReconfigVM_Task", changed, pause=pause())
        await rig.well(without=old)
        changed = await rig.calls("ReconfigVM_Task")
        await rig.do("POST", "/v1/hosts", {"name": "esx-new", "cluster": "C0"})
        await killed_after(rig, "ReconfigVM_Task", changed, pause=pause())
        await rig.well()
        await rig.remove()
        await killed_after(rig, "Uninstall", 0, pause=pause())
        await rig.well(deployed=False)
        assert rig.kills == 10


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
async def test_a_thousand_kills(seed: int, tmp_path: Path, prepared: Path) -> None:
    chance = random.Random(seed)
    async with kill_rig(tmp_path, prepared) as rig:
        version = 0
        await rig.deploy(VERSIONS[version])
        await rig.well()
        while rig.kills < KILLS_PER_SEED:
            async with asyncio.timeout(CHAPTER):
                await rig.release()
                what = chance.choice(("power-off", "delete", "update", "nothing"))
                old = await rig.vms(contrailvms=True)
                if what == "update":
                    version = 1 - version
                    await rig.deploy(VERSIONS[version])
                elif what != "nothing":
                    victim = await rig.contrailvm(chance.choice(("esx-00", "esx-01")))
                    await rig.do("POST", f"/v1/vms/{victim}/power-off")
                    if what == "delete":
                        await rig.do("DELETE", f"/v1/vms/{victim}")
                for _ in range(chance.choice((1, 1, 2, 3))):
                    await asyncio.sleep(chance.uniform(0.0, 4.0))
                    await rig.kill()
                    await rig.start()
                await rig.well(without=old if what == "update" else ())
