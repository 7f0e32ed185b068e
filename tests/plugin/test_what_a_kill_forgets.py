"""The plugin is killed, not ended: what VRouterAgents had confirmed by then, and what was never written down."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

pytestmark = pytest.mark.looptime
WRITES = ("POST port", "DELETE port", "PUT enable-port", "PUT disable-port")


async def kill(stand, meanwhile):
    """End it with its journal as it is on disk now; ``meanwhile`` happens before it runs again."""
    for part in ("", "-wal"):
        shutil.copy(stand.directory / f"{stand.database}{part}", stand.directory / f"killed.db{part}")
    await stand.crash()
    stand.database = "killed.db"
    await meanwhile()
    await stand.resume()
    await stand.settle()


async def test_a_link_that_was_put_down_just_before_is_up_when_its_vm_runs(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm, other = await placed(stand, "web", "other")
        await stand.vm("later", "blue")  # writes down what was confirmed before
        await stand.settle()
        await stand.vcenter.scenario.power_off(vm)
        await stand.until(
            lambda: [port.link_up for port in stand.plugged(vm.host).values() if port.name == "web"] == [False]
        )
        await kill(stand, lambda: stand.vcenter.scenario.power_on(vm))
        connected(stand, vm)
        connected(stand, other)


async def test_what_was_confirmed_before_is_not_done_again(tmp_path):
    async with PluginStand(tmp_path) as stand:
        vm, off = await placed(stand, "web", "off")
        await stand.vcenter.scenario.power_off(off)
        await asyncio.sleep(5)
        calls = stand.vcenter.vrouters.calls
        before = {call: calls[call] for call in WRITES}
        await kill(stand, lambda: asyncio.sleep(5))
        assert {call: calls[call] for call in WRITES} == before
        connected(stand, vm)
