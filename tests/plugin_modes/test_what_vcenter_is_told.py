"""What an operator must act on shows in vCenter, where it belongs, once; and that it is over shows too."""

import asyncio
import copy
from dataclasses import replace

import pytest
from plugin_stand import PluginStand

from contrail_vsphere.simulator.vcenter.alarm import Alarm
from contrail_vsphere.simulator.vcenter.alarm_manager import AlarmManager
from contrail_vsphere.vcenter_plugin.notices.alarm_kinds import definitions
from contrail_vsphere.vsphere.alarms import Alarms
from contrail_vsphere.wire.soap.types import vim

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


async def six_on_a_host_that_dies(stand):
    first, second = stand.vcenter.scenario.hosts()
    stand.network("red")
    await stand.until(lambda: "red" in stand.groups())
    vms = [await stand.vm(f"vm-{number}", "red", host=0) for number in range(6)]
    await stand.settle()
    stand.vcenter.vrouters.hang(first.moid)
    return first, second, vms


async def test_a_dead_host_is_told_of_where_it_is_and_not_where_its_vms_went(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY, linger=1.0) as stand:
        dead, there, vms = await six_on_a_host_that_dies(stand)
        for vm in vms:
            await stand.vcenter.scenario.move_vm(vm, there)
        for vm in vms[3:]:
            await stand.vcenter.scenario.delete_vm(vm)
        await asyncio.sleep(300)
        ((place, words),) = told(stand, "pluginDegraded")
        assert place == dead.name
        assert "3 ports" in words
        served = [state for state in stand.plugin.controller.ports() if state.vm in {"vm-0", "vm-1", "vm-2"}]
        assert {(state.state, state.host) for state in served} == {("ACTIVE", there.moid)}
        assert {state.reason for state in served} == {f"to be unplugged at {dead.name}, whose agent does not answer"}
        assert stand.plugin.readiness(there.moid).synced


async def test_what_a_dead_host_owes_hides_nothing_that_a_port_waits_for(tmp_path):
    async with PluginStand(tmp_path) as stand:
        _, there, (vm, *_) = await six_on_a_host_that_dies(stand)
        stand.vcenter.vrouters.xmpp(there.moid, "down")
        await asyncio.sleep(60)
        await stand.vcenter.scenario.move_vm(vm, there)
        await asyncio.sleep(60)
        (state,) = (state for state in stand.plugin.controller.ports() if state.vm == vm.name)
        assert (state.state, state.host) == ("WAIT_HOST", there.moid)
        assert not stand.plugin.readiness(there.moid).synced


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


def alarms(stand):
    """Definitions that listen to our events, by name."""
    found = {}
    for alarm in stand.vcenter.world.of_type(Alarm):
        types = {getattr(each, "eventTypeId", "") or "" for each in alarm.spec.expression.expression}
        if any(each.startswith(f"{KEY}.") for each in types):
            found[alarm.name] = alarm
    return found


def up(stand):
    """Names of the objects on which an alarm of ours is up."""
    ours = {alarm.moid for alarm in alarms(stand).values()}
    states = AlarmManager.of(stand.vcenter.world).states
    return sorted(
        stand.vcenter.world.get(moid).name
        for (alarm, moid), state in states.items()
        if alarm in ours and state.status == "red"
    )


async def test_an_alarm_is_up_on_a_host_as_long_as_anything_is_wrong_there(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY) as stand:
        first, _ = stand.vcenter.scenario.hosts()
        stand.network("red")
        await stand.until(lambda: "red" in stand.groups())
        assert len(alarms(stand)) == 3
        stand.vcenter.vrouters.xmpp(first.moid, "down")
        await asyncio.sleep(60)
        vm = await stand.vm("vm", "red", host=0)
        await asyncio.sleep(120)
        assert up(stand) == [first.name]
        await stand.crash()
        stand.vcenter.vrouters.xmpp(first.moid, "established")
        await stand.resume()
        await stand.settle()
        await asyncio.sleep(120)
        assert up(stand) == [], "the run that raised it is gone, and its successor has calmed it"
        assert stand.port(vm)


async def test_defining_alarms_again_writes_nothing_and_keeps_what_an_administrator_made_of_them(tmp_path):
    async with PluginStand(tmp_path, extension_key=KEY) as stand:
        await asyncio.sleep(20)
        mine = next(iter(alarms(stand).values()))
        spec = copy.copy(mine.spec)
        spec.enabled, spec.setting = False, vim.alarm.AlarmSetting(toleranceRange=0, reportingFrequency=900)
        await stand.admin.call(mine.ref, "ReconfigureAlarm", spec=spec)
        made = stand.vcenter.calls["CreateAlarm"]
        await stand.crash()
        await stand.resume()
        await asyncio.sleep(40)
        assert stand.vcenter.calls["CreateAlarm"] == made == 3
        assert stand.vcenter.calls["ReconfigureAlarm"] == 1, "ours is right as it is"
        spec.description = "somebody meant well"
        await stand.admin.call(mine.ref, "ReconfigureAlarm", spec=spec)
        await stand.crash()
        await stand.resume()
        await asyncio.sleep(40)
        assert "somebody" not in mine.spec.description
        assert (mine.spec.enabled, mine.spec.setting.reportingFrequency) == (False, 900)


async def test_an_alarm_of_somebody_else_with_our_name_is_left_alone(tmp_path):
    async with PluginStand(tmp_path) as stand:
        (host, *_) = definitions(KEY)
        foreign = replace(host, red=("org.example.other",), green=())
        other = Alarms(stand.admin)
        assert (await other.ensure([foreign])).created == (host.name,)
        done = await other.ensure(definitions(KEY))
        assert (done.foreign, len(done.created)) == ((host.name,), 2)
        assert await other.remove(definitions(KEY)) == done.created
        assert stand.vcenter.calls["ReconfigureAlarm"] == 0
        assert [a.name for a in stand.vcenter.world.of_type(Alarm) if a.name == host.name] == [host.name]
