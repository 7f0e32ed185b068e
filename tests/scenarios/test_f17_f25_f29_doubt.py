"""F17, F25, F29: what stands in the way is named per host; contradictory reads are doubted; clocks may disagree."""

from datetime import timedelta

import pytest

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.vsphere.vcenter import PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim

pytestmark = pytest.mark.looptime


async def test_f17_a_nic_that_somebody_moved_is_put_back(scene):
    async with scene(hosts=2) as lab:
        vm = lab.on("esx-01")
        wired, booted = lab.wiring(vm), vm.boot_time
        wrong = next(each for each in lab.host("esx-01").networks if each.name == "VM Network")
        from dataclasses import replace

        with lab.world.commit("somebody") as tx:
            nics = tuple(
                replace(nic, network=wrong, port_key="") if hasattr(nic, "port_key") else nic for nic in vm.nics
            )
            tx.set(vm, nics=nics)
        assert lab.wiring(vm) != wired
        await lab.until(lambda: lab.wiring(vm) == wired, seconds=60)
        assert vm.boot_time == booted, "while it runs"


@pytest.mark.parametrize("edit", ["edit", "remove"])
async def test_f17_the_overlay_port_group_that_somebody_deleted_is_made_again(scene, edit):
    """While the manager is away: beside it nobody gets that far, since a NIC that is moved is moved back."""
    async with scene(hosts=2) as lab:
        lost = lab.trunk()
        boots = {vm: vm.boot_time for vm in lab.contrailvms()}
        wired = [lab.wiring(vm) for vm in boots]
        await lab.crash()
        async with administrator(lab) as admin:
            for vm in boots:
                await leave_group(admin, vm, lost, edit)
            await admin.run_task(lost.ref, "Destroy_Task")
        assert lab.trunk(missing_ok=True) is None
        await lab.resume()
        await lab.until(lambda: [lab.wiring(vm) for vm in boots] == wired, seconds=120)
        await lab.heals()
        assert lab.trunk() is not lost and lab.trunk().read("config.defaultPortConfig").vlan.vlanId[0].end == 4094
        assert boots == {vm: vm.boot_time for vm in boots} and lab.resolves() == 0, "while they run"


async def test_f17_a_host_that_vcenter_does_not_reach_for_a_while_is_not_put_on_hold(scene):
    async with scene(hosts=2, deploy=False) as lab:
        before = lab.vcenter.calls["ReconfigVM_Task"]
        lab.fault(method="ReconfigVM_Task", fault="HostCommunication", times=12)
        lab.apply(lab._text)
        await lab.heals(seconds=3600)
        assert lab.vcenter.calls["ReconfigVM_Task"] - before >= 12


def administrator(lab):
    return VCenter(lab._endpoint, PasswordLogin(lab.vcenter.ready["username"], lab.vcenter.ready["password"]))


async def leave_group(admin, vm, group, how):
    """Take the ContrailVM's NIC off the port group: put it on a standard network, or remove it."""
    devices = (await admin.read(vm.ref, "config.hardware.device"))["config.hardware.device"]
    card = next(
        each
        for each in devices
        if isinstance(each, vim.vm.device.VirtualEthernetCard)
        and getattr(getattr(each.backing, "port", None), "portgroupKey", "") == group.moid
    )
    if how == "edit":
        other = next(each for each in vm.host.networks if each.name == "VM Network")
        card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=other.name, network=other.ref)
    change = vim.vm.device.VirtualDeviceSpec(operation=how, device=card)
    await admin.run_task(vm.ref, "ReconfigVM_Task", spec=vim.vm.ConfigSpec(deviceChange=[change]))


async def test_f17_invalid_config_on_one_host_is_told_with_its_cause_and_the_others_go_on(scene):
    async with scene(hosts=3) as lab:
        fault = lab.fault(
            point="eam.power_on",
            where={"host": "esx-01"},
            fault="GenericVmConfigFault",
            fields={"reason": "PCI device 0000:3b:02.1 is missing"},
        )
        await lab.scenario.power_off(lab.on("esx-01"))
        await lab.until(lambda: "InvalidConfig" in lab.alarms("esx-01"), seconds=120)
        assert "GenericVmConfigFault: PCI device 0000:3b:02.1 is missing" in lab.alarms("esx-01")
        assert any("0000:3b:02.1" in event.message for event in lab.told_in_vcenter("degraded"))
        await lab.scenario.power_off(lab.on("esx-02"))
        await lab.until(lambda: lab.forwarding("esx-02"), seconds=120)
        asked = lab.resolves()
        await lab.pass_time(550)
        assert lab.resolves() == asked, "only the world outside can help"
        assert not lab.open_for_tenants("esx-01") and lab.forwarding("esx-00")
        lab.vcenter.faults.remove(fault)
        await lab.heals(seconds=1300)


async def test_f25_an_issue_that_is_gone_at_the_second_look_is_not_resolved(scene):
    async with scene(hosts=2, timing=Timing.instant()) as lab:
        victim = lab.on("esx-01")
        await lab.scenario.power_off(victim)
        await lab.until(lambda: lab.told("esx-01").issues or lab.resolves(), seconds=5)
        await lab.scenario.power_on(victim)
        await lab.heals(seconds=120)
        assert lab.resolves() == 0


async def test_f25_eam_that_lags_behind_is_not_believed_at_once(scene):
    """EAM still tells of a ContrailVM that is off while vCenter shows it running: a Resolve would be for nothing."""
    async with scene(hosts=2, timing=Timing.instant()) as lab:
        victim, service = lab.on("esx-01"), lab.vcenter.eam
        with lab.while_faulty(method="Resolve", http_status=503):
            await lab.scenario.power_off(victim)
            await lab.until(lambda: lab.agent("esx-01").issues, seconds=5)
            service._marks.pause()
            await lab.scenario.power_on(victim)
            await lab.pass_time(5)
        asked = lab.resolves()
        await lab.pass_time(60)
        assert lab.agent("esx-01").issues and lab.resolves() == asked
        service._marks.resume()
        service.mark_all()
        await lab.heals(seconds=300)
        assert lab.resolves() == asked


async def test_f25_an_inventory_that_lags_behind_is_not_acted_on(scene):
    """vCenter's updates are late by a minute: EAM's word is checked against it, and nothing is doubled."""
    async with scene(hosts=2) as lab:
        key = lab.fault(method="WaitForUpdatesEx", delay=60.0)
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.heals(seconds=1500)
        lab.vcenter.faults.remove(key)
        await lab.heals()
        assert len(lab.contrailvms()) == 2 and len(lab.agencies()) == 1


@pytest.mark.parametrize("hours", [-3, 3])
async def test_f29_the_clocks_of_manager_and_vcenter_disagree(scene, hours):
    from datetime import UTC, datetime

    async with scene(hosts=2, deploy=False, clock=Clock(datetime.now(UTC) + timedelta(hours=hours))) as lab:
        lab.apply()
        took = await lab.heals()
        assert took < 120
        await lab.scenario.power_off(lab.on("esx-01"))
        assert await lab.until(lab.resolves, seconds=30) <= 3
        await lab.heals(seconds=120)
        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.heals()
        lab.vcenter.expire_sessions()
        await lab.heals()
        assert lab.client.events.cursor is not None and lab.client.events.cursor.time.tzinfo is not None
        assert lab.now().tzinfo is not None
