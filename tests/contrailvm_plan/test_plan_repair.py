"""Repair: what users break is healed on two consistent reads, within bounds, and never at a host's expense."""

from dataclasses import replace

import pytest

from contrail_vsphere.contrailvm.plan.actions import (
    Alarm,
    Hold,
    Refetch,
    Resolve,
    RestartContrailVm,
    SetHostAgentSettings,
    Wait,
    changes_world,
)
from contrail_vsphere.contrailvm.plan.policy import ISSUES, MAINTENANCE_ISSUES, policy_for
from contrail_vsphere.contrailvm.records import Attempt, HoldRecord
from contrail_vsphere.model.ids import DatastoreId, VmId
from contrail_vsphere.model.inventory import Datastore


def tried(world, number, *types, ago=(60.0,), kind="resolve"):
    world.record(number, attempts=tuple(Attempt(kind, what, world.now - back) for what in types for back in ago))


def test_f1_a_powered_off_contrailvm_is_powered_on(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    (resolve,) = world.only(Resolve)
    assert (resolve.host, resolve.issue_type, resolve.disturbs) == ("host-1", "VmPoweredOff", "power")


def test_f2_a_deleted_contrailvm_is_deployed_again(world):
    world.agent(1, vm=None)
    del world.inventory.vms[VmId("vm-1")]
    world.issue(1, "VmNotDeployed")
    assert world.only(Resolve)[0].disturbs == "redeploy"


def test_f25_one_read_is_not_enough(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff", reads=1)
    assert not world.only(Resolve)
    world.later(3)
    assert world.only(Refetch)


@pytest.mark.parametrize("issue", ["VmPoweredOff", "VmNotDeployed", "VmSuspended"])
def test_f25_the_inventory_contradicts_eam(world, issue):
    world.issue(1, issue)
    world.later(3)
    assert not world.only(Resolve) and world.only(Refetch)
    world.later(200)
    assert world.only(Resolve), "EAM is believed in the end"


def test_f25_eam_says_green_but_the_vm_is_off(world):
    world.vm(1, power="poweredOff")
    world.later(3)
    assert world.only(Refetch) and not world.only(Resolve)


def test_f1_the_flap_guard_holds_a_host_and_says_why(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    tried(world, 1, "VmPoweredOff", ago=(600, 300, 60))
    (hold,) = world.only(Hold)
    assert "repaired 3 times in 15 minutes" in hold.reason
    assert not world.only(Resolve)


def test_the_flap_guard_counts_all_kinds_of_breakage_together(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    tried(world, 1, "VmNotDeployed", "VmPoweredOff", "VmSuspended", ago=(100,))
    assert world.only(Hold)


def test_f2_a_vm_found_off_and_then_gone_is_one_mishap_for_the_flap_guard(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    for ago in (600, 100):
        tried(world, 1, "VmPoweredOff", "VmNotDeployed", ago=(ago,))
    assert world.only(Resolve), "two deletions, four repairs"


def test_old_repairs_are_forgiven(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    tried(world, 1, "VmPoweredOff", ago=(3000, 2000, 1000))
    assert world.only(Resolve)


def test_eam_is_given_time_to_resolve(world):
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    tried(world, 1, "VmPoweredOff", ago=(0,))
    world.later(5)
    (wait,) = world.plan()
    assert isinstance(wait, Wait) and wait.until == pytest.approx(world.now + 25)


def test_an_issue_that_went_and_came_back_is_another_one(world):
    world.vm(1, power="poweredOff")
    tried(world, 1, "VmPoweredOff", ago=(20,))
    world.issue(1, "VmPoweredOff")
    assert world.only(Resolve)


def test_a_person_need_not_wait_for_the_next_slow_try(world):
    world.issue(1, "InsufficientResources")
    assert not world.only(Resolve)
    world.record(1, asked_at=world.now)
    assert world.only(Resolve)
    tried(world, 1, "InsufficientResources", ago=(0,))
    assert not world.only(Resolve)


def test_a_held_host_is_left_alone_and_the_others_are_not(world):
    for number in (1, 2):
        world.vm(number, power="poweredOff")
        world.issue(number, "VmPoweredOff")
    world.record(1, hold=HoldRecord("broken again and again", world.now))
    assert [each.host for each in world.only(Resolve)] == ["host-2"]


@pytest.mark.parametrize("issue", sorted(MAINTENANCE_ISSUES))
@pytest.mark.parametrize("in_maintenance", [True, False])
def test_f5_maintenance_issues_are_never_resolved_approval_or_not(world, issue, in_maintenance):
    world.host(1, in_maintenance=in_maintenance)
    world.record(1, approved=(issue,))
    world.issue(1, issue, reads=10)
    world.later(5000)
    assert not [action for action in world.plan() if changes_world(action)]


def test_f5_nothing_is_repaired_on_a_host_in_maintenance(world):
    world.host(1, in_maintenance=True)
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    assert not world.only(Resolve)


def test_f7_nothing_is_done_to_a_host_that_is_not_connected(world):
    world.host(1, connection="notResponding")
    world.issue(1, "ManagedHostNotReachable", "VmPoweredOff", reads=5)
    assert [type(each) for each in world.plan()] == [Wait]


@pytest.mark.parametrize(
    "issue",
    sorted(
        name for name, row in ISSUES.items() if row.effect in ("maintenance", "reboot") and row.handling == "approve"
    ),
)
def test_maintenance_and_reboot_need_an_approval(world, issue):
    world.issue(1, issue)
    assert not world.only(Resolve) and "approve" in world.only(Alarm)[0].reason
    world.record(1, approved=(issue,))
    assert world.only(Resolve)[0].disturbs in ("maintenance", "reboot")


def test_no_issue_that_costs_maintenance_or_reboot_is_resolved_by_itself():
    assert all(
        row.handling in ("wait", "approve") for row in ISSUES.values() if row.effect in ("maintenance", "reboot")
    )


def test_an_unknown_issue_of_a_newer_vcenter_is_shown_and_left_alone(world):
    world.issue(1, "VmHasWings")
    assert [type(each) for each in world.plan()] == [Alarm]
    assert policy_for("VmHasWings").handling == "report"


def test_f12_a_broken_package_is_never_retried(world):
    world.issue(1, "OvfInvalidFormat", reads=50)
    world.later(10_000)
    assert not world.only(Resolve) and world.only(Alarm)


def test_f11_a_missing_package_is_deployed_once_our_publishing_answers(world):
    offer = world.memory.offer
    world.memory = replace(world.memory, offer=replace(offer, reachable=False, problem="connection refused"))
    world.agent(1, vm=None)
    world.issue(1, "CannotAccessAgentOVF")
    assert not world.only(Resolve)
    world.memory = replace(world.memory, offer=offer)
    assert world.only(Resolve)
    tried(world, 1, "CannotAccessAgentOVF", ago=(400, 300, 200, 100, 40))
    assert not world.only(Hold, Resolve), "pauses double instead of a hold"


@pytest.mark.parametrize("issue", ["InsufficientSpace", "InsufficientResources", "InvalidConfig"])
def test_what_only_the_world_outside_can_help_is_tried_now_and_then(world, issue):
    world.issue(1, issue)
    assert world.only(Alarm) and not world.only(Resolve)
    world.later(650)
    assert world.only(Resolve)
    tried(world, 1, issue, ago=(60,))
    assert not world.only(Resolve, Hold)


def test_f4_one_datastore_is_chosen_several_are_named(world):
    world.desire(datastores=())
    world.memory = replace(world.memory, record=world.memory.record)
    world.issue(1, "NoAgentVmDatastore")
    (settings,) = world.only(SetHostAgentSettings)
    assert (settings.datastore, settings.network) == ("datastore-1", "network-1")
    other = Datastore(DatastoreId("datastore-2"), "local")
    world.inventory.datastores[other.id] = other
    world.host(1, datastores=("datastore-1", other.id))
    assert not world.only(SetHostAgentSettings)
    assert any("local, nfs" in alarm.reason for alarm in world.only(Alarm) if alarm.host == "host-1")


def test_f4_only_the_host_without_the_network_is_an_alarm(world):
    world.issue(1, "NoCustomAgentVmNetwork")
    assert {alarm.host for alarm in world.only(Alarm)} == {"host-1"}


def test_f18_a_moved_vm_is_deployed_before_the_orphan_is_deleted(world):
    world.agent(1, vm=None)
    del world.inventory.vms[VmId("vm-1")]
    world.issue(1, "VmNotDeployed")
    world.issue(2, "VmOrphaned")
    assert [each.issue_type for each in world.only(Resolve)] == ["VmNotDeployed"]
    world.agent(1, vm=VmId("vm-1"), status="green", issues=())
    world._vm(VmId("vm-1"), "host-1", on=True)
    world.read(times=2)
    assert [each.issue_type for each in world.only(Resolve)] == ["VmOrphaned"]


def test_automatic_repair_can_be_switched_off(world):
    world.desire(repair=replace(world.desired.repair, automatic=False))
    world.vm(1, power="poweredOff")
    world.issue(1, "VmPoweredOff")
    assert [type(each) for each in world.plan()] == [Alarm]


def test_eam_that_makes_no_progress_is_an_alarm_on_eam(world):
    world.agent(1, status="yellow")
    world.read()
    assert not world.only(Alarm)
    world.later(1000)
    assert world.only(Alarm)[0].cause == "eam.stuck"


def test_a_vrouter_that_stopped_is_restarted_after_a_grace(world):
    world.vrouter(1, forwards=False)
    assert world.only(Alarm)[0].cause == "vrouter.down" and not world.only(RestartContrailVm)
    world.later(130)
    assert world.only(RestartContrailVm)[0].host == "host-1"
    tried(world, 1, "vm-1", ago=(1800, 900), kind="restart")
    assert world.only(Hold)


def test_an_enrolled_guest_is_reset_without_a_new_token(world):
    world.record(1, enrolled=VmId("vm-1"))
    world.vrouter(1, forwards=False)
    world.later(130)
    assert world.only(RestartContrailVm)[0].token is False


def test_when_most_vrouters_stop_together_none_is_restarted(world):
    for number in (1, 2):
        world.vrouter(number, forwards=False)
    world.later(1000)
    assert not world.only(RestartContrailVm, Hold)
    assert any("controllers" in wait.reason for wait in world.only(Wait))


def test_vrouters_are_restarted_one_after_the_other(make_world):
    world = make_world(hosts=6)
    for number in (1, 2):
        world.vrouter(number, forwards=False)
    world.later(1000)
    assert [each.host for each in world.only(RestartContrailVm)] == ["host-1"]


def test_f3_a_host_that_joins_is_waited_for_and_eam_asked_sooner(world):
    world.inventory.hosts["host-9"] = replace(world.inventory.hosts["host-1"], id="host-9", name="esx-99")
    cluster = world.inventory.clusters["domain-c8"]
    world.inventory.clusters["domain-c8"] = replace(cluster, hosts=(*cluster.hosts, "host-9"))
    assert [type(each) for each in world.plan()] == [Wait]
    world.later(20)
    assert world.only(Refetch)[0].host == "host-9"
