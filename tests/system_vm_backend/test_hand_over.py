"""F21: a vCenter that came from 8 to 9; the agency of EAM is handed over to vLCM, and nobody notices."""

import asyncio

import pytest

from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent

pytestmark = pytest.mark.looptime


async def test_what_eam_has_stays_with_eam_until_the_deployment_says_otherwise(scene):
    async with scene(hosts=2, backend="eam") as lab:
        assert set(lab.kept_by().values()) == {"EAM"}
        lab.apply(lab.with_backend("auto"))
        await asyncio.sleep(600)
        assert set(lab.kept_by().values()) == {"EAM"} and lab.solutions() == []


async def test_f21_an_agency_is_handed_over_and_its_contrailvms_run_on(scene, profile):
    async with scene(hosts=2, profile=profile, backend="eam") as lab:
        before = {host: (vm.moid, vm.boot_time) for host, vm in lab.machines().items()}
        lab.begin_watch()
        lab.apply(lab.with_backend("system-vm"))
        await lab.until(lambda: set(lab.kept_by().values()) == {"vLCM"} and lab.converged())
        assert lab.eam_agencies() == [] and len(lab.solutions()) == 1
        assert {host: (vm.moid, vm.boot_time) for host, vm in lab.machines().items()} == before
        assert lab.most_dark == 0
        record = lab.manager.notebook.memory(lab.key()).record
        assert record.backend == "system-vm" and record.backend_since > record.created_at

        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.over() and lab.all_on("1.1.0"), seconds=7200)
        assert lab.most_dark == 1


async def test_a_hand_over_that_vlcm_refuses_is_tried_again(scene):
    async with scene(hosts=3, backend="eam") as lab:
        fault = lab.vcenter.faults.add(FaultRule(point="system_vm.transition", fault="SystemError"))
        lab.apply(lab.with_backend("system-vm"))
        await lab.until(lambda: any(item.issues for item in lab.world.of_type(EsxAgent)), seconds=120)
        assert len(lab.served()) == 3 and set(lab.kept_by().values()) == {"EAM"}
        lab.vcenter.faults.remove(fault)
        await lab.until(lambda: set(lab.kept_by().values()) == {"vLCM"} and lab.converged(), seconds=3600)
        assert len(lab.served()) == 3


async def test_a_manager_that_dies_during_the_hand_over_finds_its_contrailvms_again(scene):
    async with scene(hosts=3, backend="eam") as lab:
        before = {vm.moid for vm in lab.contrailvms()}
        lab.apply(lab.with_backend("system-vm"))
        await lab.until(lambda: lab.solutions(), seconds=120)
        await lab.crash()
        await lab.resume()
        await lab.until(lambda: lab.converged() and lab.healed())
        assert set(lab.kept_by().values()) == {"vLCM"} and {vm.moid for vm in lab.contrailvms()} == before


async def test_a_cluster_without_an_image_is_told_of_and_left_to_eam(scene):
    async with scene(hosts=2, images=False) as lab:
        assert set(lab.kept_by().values()) == {"EAM"}
        lab.apply(lab.with_backend("system-vm"))
        await lab.until(lambda: "not managed by vSphere Lifecycle Manager" in lab.alarms())
        assert set(lab.kept_by().values()) == {"EAM"} and len(lab.served()) == 2
        lab.manage_by_image()
        await lab.until(lambda: set(lab.kept_by().values()) == {"vLCM"} and lab.converged())


async def test_without_an_account_everything_is_eams(scene):
    async with scene(hosts=2, account=False) as lab:
        assert set(lab.kept_by().values()) == {"EAM"}
        lab.apply(lab.with_backend("system-vm"))
        await lab.until(lambda: "rest_username" in lab.alarms())


async def test_there_is_no_way_back_and_that_is_said(scene):
    async with scene(hosts=2) as lab:
        lab.apply(lab.with_backend("eam"))
        await lab.until(lambda: "nothing leads back to EAM" in lab.alarms())
        assert set(lab.kept_by().values()) == {"vLCM"} and len(lab.served()) == 2
