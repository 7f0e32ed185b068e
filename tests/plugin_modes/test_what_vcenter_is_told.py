"""What an operator must act on shows in vCenter, where it belongs, once; and that it is over shows too."""

import asyncio

import pytest
from plugin_stand import PluginStand

pytestmark = pytest.mark.looptime
KEY = "net.example.plugin"


def told(stand, kind):
    """Events of ours: (name of the VM or host they are on, words)."""
    found = []
    for event in stand.vcenter.events.of_type(f"{KEY}.{kind}"):
        place = event.vm or event.host
        found.append((place.name if place is not None else "", event.fullFormattedMessage))
    return found


async def test_a_host_that_does_not_forward_is_one_trouble_however_many_vms_wait(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY) as stand:
        first, second = stand.vcenter.scenario.hosts()
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        stand.vcenter.vrouters.xmpp(first.moid, "down")
        await asyncio.sleep(60)
        for number in range(5):
            await stand.vm(f"vm-{number}", "red", host=0)
        fine = await stand.vm("fine", "red", host=1)
        await asyncio.sleep(40)
        assert told(stand, "pluginDegraded") == [], "it may pass by itself"
        await asyncio.sleep(300)
        ((place, words),) = told(stand, "pluginDegraded")
        assert place == first.name
        assert "5 ports" in words
        assert fine.host is second
        stand.vcenter.vrouters.xmpp(first.moid, "established")
        await stand.settle()
        await asyncio.sleep(60)
        ((place, words),) = told(stand, "pluginHealthy")
        assert place == first.name
        assert "no longer so" in words


async def test_a_network_that_cannot_go_and_a_brake_are_told_with_names(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY, brake_absolute=1, linger=1.0) as stand:
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        vms = [await stand.vm(f"vm-{number}", "red", on=False) for number in range(6)]
        await asyncio.gather(*(stand.vcenter.scenario.power_on(vm) for vm in vms))
        await stand.settle()
        for vm in vms[1:]:
            await stand.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(200)
        assert any("deletions wait for approval" in words for _, words in told(stand, "pluginDegraded"))
        assert "deletions wait for approval" in " ".join(each.text for each in stand.plugin.troubles())


async def test_an_outage_does_not_bury_what_vcenter_remembers(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY) as stand:
        await stand.contrail.scenario.stop_api()
        await asyncio.sleep(3600)
        assert len(told(stand, "pluginDegraded")) <= 2
        await stand.contrail.scenario.start_api()
