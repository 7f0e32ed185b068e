"""What a DVPort needs is done at once, however long Contrail or a VRouterAgent takes for what it is asked."""

from __future__ import annotations

import asyncio

import pytest
from plugin_stand import PluginStand
from plugin_worlds import connected, placed

from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.vcenter_plugin.apply import IDLE

pytestmark = pytest.mark.looptime


async def crowded(stand):
    """Two VMs in one VLAN on two hosts, as there are not enough; a third has the other one."""
    stand.network("red", "10.2.0.0/24")
    (here, _other) = await placed(stand, "here", "other")
    await stand.until(lambda: "red" in stand.groups())
    comes = await stand.vm("comes", "red", host=1)
    await stand.settle()
    connected(stand, comes)
    assert stand.vlan(stand.port(comes)) == stand.vlan(stand.port(here))
    return here, comes


def together(stand, one, other):
    """Whether both are open in one VLAN on one host."""
    vlans = {stand.vlan(stand.port(vm)) for vm in (one, other) if stand.is_open(stand.port(vm))}
    return one.host is other.host and vlans == {stand.vlan(stand.port(one))} == {stand.vlan(stand.port(other))}


async def contrail(stand, vm):
    """It is to be told of a name."""
    stand.contrail.faults.add(FaultRule(method="*", delay=25.0))
    await stand.vcenter.scenario.rename_vm(vm, "another name")


async def agent(stand, vm):
    """It is to be told that the VM is off."""
    stand.vcenter.vrouters.hang(vm.host.moid)
    await stand.vcenter.scenario.power_off(vm)
    await asyncio.sleep(0.5)
    await stand.vcenter.scenario.power_on(vm)


@pytest.mark.parametrize("pause", [0.0, 1.0])
@pytest.mark.parametrize("silent", [contrail, agent])
async def test_who_arrives_in_another_s_vlan_is_put_right_whoever_is_silent(tmp_path, silent, pause):
    few = frozenset(range(3, 4095))
    async with PluginStand(tmp_path, reserved_vlans=few, quarantine=1.0) as stand:
        here, comes = await crowded(stand)
        await silent(stand, comes)
        await asyncio.sleep(pause)
        await stand.vcenter.scenario.move_vm(comes, here.host)
        assert await stand.until(lambda: not together(stand, here, comes), seconds=60) < 0.5
        connected(stand, here)
        stand.contrail.faults.clear()
        for agent in list(stand.vcenter.vrouters.agents):
            stand.vcenter.vrouters.hang(agent, hung=False)
        await asyncio.sleep(60)
        await stand.settle()
        connected(stand, comes)


async def test_what_the_switch_refuses_is_tried_again_while_contrail_is_silent(tmp_path):
    few = frozenset(range(3, 4095))
    async with PluginStand(tmp_path, reserved_vlans=few, quarantine=1.0) as stand:
        here, comes = await crowded(stand)
        await contrail(stand, comes)
        for method in ("FetchDVPorts", "ReconfigureDVPort_Task"):
            stand.vcenter.scenario.add_fault(FaultRule(method=method, http_status=503, times=4))
        await stand.vcenter.scenario.move_vm(comes, here.host)
        assert await stand.until(lambda: not together(stand, here, comes), seconds=60) < 10


async def test_a_write_that_takes_a_port_out_of_another_s_vlan_waits_for_no_others(tmp_path):
    few = frozenset(range(3, 4095))
    async with PluginStand(tmp_path, reserved_vlans=few, quarantine=1.0) as stand:
        here, comes = await crowded(stand)
        await stand.vcenter.scenario.move_vm(comes, here.host)
        await asyncio.sleep(IDLE / 2)
        assert not together(stand, here, comes)
        await stand.settle()
        connected(stand, comes)


async def test_a_failure_of_contrail_just_now_does_not_delay_it(tmp_path):
    few = frozenset(range(3, 4095))
    async with PluginStand(tmp_path, reserved_vlans=few, quarantine=1.0) as stand:
        here, comes = await crowded(stand)
        stand.contrail.scenario.lose_zookeeper()
        await stand.vcenter.scenario.rename_vm(comes, "another name")
        await stand.until(lambda: "failing" in stand.describe())
        await stand.vcenter.scenario.move_vm(comes, here.host)
        await asyncio.sleep(IDLE / 2)
        assert not together(stand, here, comes)
