"""F27: a tenant comes to no host whose vRouter does not forward; not by power-on, not by vMotion, not with DRS."""

import asyncio

import pytest

from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime


async def powered_off(lab):
    await lab.scenario.power_off(lab.on("esx-01"))


async def suspended(lab):
    await lab.scenario.suspend(lab.on("esx-01"))


async def deleted(lab):
    await lab.scenario.delete_vm(lab.on("esx-01"))


async def refused(coroutine) -> str:
    with pytest.raises(SoapFault) as caught:
        await coroutine
    return caught.value.kind


@pytest.mark.parametrize("harm", [powered_off, suspended, deleted], ids=lambda each: each.__name__)
async def test_f27_a_host_that_lost_its_contrailvm_is_closed_until_it_forwards_again(scene, harm):
    async with scene(hosts=3) as lab:
        wanderer = await lab.scenario.create_vm("wanderer", host="esx-00")
        sleeper = await lab.scenario.create_vm("sleeper", host="esx-01", power_on=False)
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await harm(lab)
            await lab.pass_time(60)
            assert await refused(lab.scenario.move_vm(wanderer, "esx-01")) == "InsufficientAgentVmsDeployed"
            assert wanderer.host.name == "esx-00" and wanderer.power_state == "poweredOn"
            await lab.scenario.power_on(sleeper)
            new = await lab.scenario.create_vm("new", host="esx-01")
            assert "esx-01" not in (sleeper.host.name, new.host.name), "DRS starts them where a vRouter forwards"
        await lab.heals(seconds=3000)
        await lab.scenario.move_vm(wanderer, "esx-01")
        assert lab.forwarding("esx-01")


async def test_f27_where_no_host_has_a_vrouter_a_tenant_stays_off(scene):
    async with scene(hosts=1) as lab:
        sleeper = await lab.scenario.create_vm("sleeper", host="esx-00", power_on=False)
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await lab.scenario.power_off(lab.on("esx-00"))
            await lab.pass_time(60)
            assert await refused(lab.scenario.power_on(sleeper)) == "InsufficientAgentVmsDeployed"
        await lab.heals(seconds=3000)
        await lab.scenario.power_on(sleeper)
        assert sleeper.power_state == "poweredOn"


async def test_f27_maintenance_evacuates_to_hosts_with_a_vrouter_only(scene):
    async with scene(hosts=3) as lab:
        tenants = [await lab.scenario.create_vm(f"tenant-{n}", host="esx-00") for n in range(3)]
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await lab.scenario.power_off(lab.on("esx-01"))
            await lab.pass_time(30)
            await lab.scenario.enter_maintenance("esx-00")
            assert {vm.host.name for vm in tenants} == {"esx-02"}
        leaving = asyncio.create_task(lab.scenario.exit_maintenance("esx-00"))
        await lab.heals(seconds=3000)
        await leaving
