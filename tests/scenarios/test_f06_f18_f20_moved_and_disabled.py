"""F6, F18, F20: hosts that leave, ContrailVMs that somebody renames or moves, clusters that are shut down."""

import pytest

from contrail_vsphere.contrailvm.package import make_demo_package
from contrail_vsphere.contrailvm.rollout.upgrades import UpgradeWish
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.switches import Switches
from contrail_vsphere.simulator.vcenter import vm_snapshots
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool

pytestmark = pytest.mark.looptime
OLD_AND_NEW = ("vc65", "vc67", "vc80u3")
"""Releases that clean orphans up by themselves and mind where a VM is, and those that do not."""


def cluster(lab, name="C0"):
    return next(each for each in lab.world.of_type(ClusterComputeResource) if each.name == name)


def set_disabled(lab, value):
    with lab.world.commit("administrator") as tx:
        tx.set(cluster(lab), disabled=value)


def boots(lab):
    return {vm.moid: vm.boot_time for vm in lab.contrailvms()}


@pytest.mark.parametrize("profile", OLD_AND_NEW)
async def test_f6_a_host_that_is_removed_takes_its_contrailvm_along_and_nothing_else(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        others = {vm.moid: vm.boot_time for vm in lab.contrailvms() if vm.host.name != "esx-01"}
        await lab.scenario.enter_maintenance("esx-01")
        await lab.scenario.remove_host("esx-01")
        await lab.until(lambda: len(lab.contrailvms()) == 2 and lab.healed(), seconds=600)
        assert boots(lab) == others
        assert {each.host.name for each in lab.world.of_type(EsxAgent)} == {"esx-00", "esx-02"}
        await lab.until(lab.converged)
        assert not lab.alarms() and not lab.writes_planned()
        assert {each.name for each in lab.manager.hosts()} == {"esx-00", "esx-02"}


async def test_f6_a_host_moved_out_of_the_cluster_and_back_is_served_anew(scene):
    async with scene(hosts=4, clusters=2, deploy=False) as lab:
        lab.apply()
        await lab.until(lambda: lab.forwarding("esx-00") and lab.forwarding("esx-02") and lab.converged())
        await lab.scenario.enter_maintenance("esx-02")
        await lab.scenario.remove_host("esx-02")
        await lab.scenario.add_host("esx-02", "C1")
        await lab.pass_time(300)
        assert lab.on("esx-02") is None, "C1 is in no deployment"
        await lab.scenario.enter_maintenance("esx-02")
        await lab.scenario.remove_host("esx-02")
        await lab.scenario.add_host("esx-02", "C0")
        await lab.until(lambda: lab.forwarding("esx-02") and lab.open_for_tenants("esx-02"), seconds=600)


@pytest.mark.parametrize("profile", OLD_AND_NEW)
async def test_f18_a_new_name_folder_or_pool_changes_nothing_for_the_contrailvm(scene, profile):
    async with scene(hosts=2, profile=profile) as lab:
        vm, before = lab.on("esx-01"), boots(lab)
        await lab.scenario.rename_vm(vm, "somebody-elses-idea")
        pool = next(each for each in lab.world.of_type(ResourcePool) if each.parent is cluster(lab))
        with lab.world.commit("somebody") as tx:
            tx.set(vm, resource_pool=pool)
        await lab.pass_time(900)
        assert boots(lab) == before and lab.resolves() == 0, "known by its id, and nobody is overruled"
        assert lab.forwarding("esx-01") and lab.told("esx-01").vm_name == "somebody-elses-idea"


@pytest.mark.parametrize("profile", OLD_AND_NEW)
async def test_f18_after_a_vmotion_the_host_gets_a_new_one_before_the_moved_one_goes(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        moved, others = lab.on("esx-01"), {vm for vm in lab.contrailvms() if vm.host.name != "esx-01"}
        lab.violations = _Except("ContrailVMs run on esx-02")  # two are there until the moved one is deleted
        order = []

        def watch(_done):
            here = {vm for vm in lab.contrailvms() if vm.host.name == "esx-01" and lab.forwarding("esx-01")}
            if here and "deployed" not in order:
                order.append("deployed")
            if lab.world.get(moved.moid) is None and "deleted" not in order:
                order.append("deleted")

        await lab.scenario.move_vm(moved, "esx-02")
        lab.world.observe(watch)
        await lab.until(lambda: lab.world.get(moved.moid) is None and lab.healed(), seconds=1800)
        assert order == ["deployed", "deleted"], "the host is served before anything is removed"
        assert others < set(lab.contrailvms())


async def test_f18_where_eam_lets_users_move_it_a_person_is_told_and_nothing_is_deleted(scene):
    async with scene(hosts=3) as lab:
        lab.vcenter.eam.switches = Switches(user_migration="tolerated")
        lab.violations = _Except("ContrailVMs run on esx-02")
        moved = lab.on("esx-01")
        await lab.scenario.move_vm(moved, "esx-02")
        await lab.until(lambda: "was moved to esx-02" in lab.alarms("esx-01"), seconds=300)
        await lab.pass_time(1800)
        assert lab.world.get(moved.moid) is moved and moved.power_state == "poweredOn" and lab.resolves() == 0
        await lab.scenario.move_vm(moved, "esx-01")
        await lab.heals()


async def test_f19_a_snapshot_is_told_of_until_it_is_removed(scene):
    async with scene(hosts=2) as lab:
        vm, before = lab.on("esx-01"), boots(lab)
        await vm_snapshots.create(
            vm, name="before-the-change", description="", memory=False, quiesce=False, user="ann", chain=0
        )
        await lab.until(lambda: "somebody made a snapshot of its ContrailVM" in lab.alarms("esx-01"), seconds=60)
        assert not lab.alarms("esx-00")
        await lab.until(lambda: lab.told_in_vcenter("degraded"), seconds=60)
        assert vm.name in lab.told_in_vcenter("degraded")[-1].fullFormattedMessage
        await lab.pass_time(900)
        assert boots(lab) == before and len(vm.snapshots) == 1 and lab.resolves() == 0, "it is his, and left alone"
        assert lab.converged(), "it stands in nobody's way"
        await vm_snapshots.remove_all(vm, user="ann", chain=0)
        await lab.until(lambda: not lab.alarms("esx-01"), seconds=60)


async def test_f19_the_snapshot_from_which_eam_clones_is_its_own(scene):
    async with scene(hosts=1, deploy=False) as lab:
        lab.apply()
        await lab.until(lab.agencies)
        await lab.crash()
        await lab.until(lab.contrailvms)
        await lab.pass_time(120)
        (vm,) = lab.contrailvms()
        await vm_snapshots.create(
            vm, name="initial", description="", memory=False, quiesce=False, user="com.vmware.vim.eam", chain=0
        )
        await lab.resume()
        await lab.heals()
        await lab.pass_time(120)
        assert vm.snapshots and not lab.alarms("esx-00")


@pytest.mark.parametrize("profile", ["vc70", "vc80u2", "vc80u3", "vc90"])
async def test_f20_nothing_is_repaired_or_upgraded_while_the_cluster_is_disabled(scene, profile):
    async with scene(hosts=2, profile=profile) as lab:
        await lab.publisher.publish(make_demo_package(lab.directory / "next", version="1.1.0"))
        set_disabled(lab, True)
        await lab.until(lambda: lab.told("esx-00").state == "blocked", seconds=120)
        await lab.scenario.power_off(lab.on("esx-01"))
        await lab.manager.operator.upgrades.upgrade(UpgradeWish("dc1", to="1.1.0"), by="tester")
        updates, before = lab.vcenter.calls["Update"], {vm.moid for vm in lab.contrailvms()}
        await lab.pass_time(1200)
        assert lab.resolves() == 0 and lab.vcenter.calls["Update"] == updates
        assert {vm.moid for vm in lab.contrailvms()} == before and lab.on("esx-01").power_state == "poweredOff"
        set_disabled(lab, False)
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=3600)
        assert {vm.product_version for vm in lab.contrailvms()} == {"1.1.0"}


async def test_f20_an_agency_that_a_disabled_cluster_refuses_is_made_once_it_is_enabled(scene):
    async with scene(hosts=2, deploy=False) as lab:
        set_disabled(lab, True)
        lab.apply()
        await lab.pass_time(900)
        assert not lab.agencies() and not lab.contrailvms()
        assert "DisabledCluster" in lab.describe() or "disabled" in lab.describe()
        set_disabled(lab, False)
        await lab.heals(seconds=1800)
        assert len(lab.agencies()) == 1


class _Except(list):
    """Takes in every violation but one that a user's own deed makes."""

    def __init__(self, words):
        super().__init__()
        self._words = words

    def __iadd__(self, more):
        self.extend(each for each in more if self._words not in each)
        return self
