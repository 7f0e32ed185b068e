"""At the hooks: a ContrailVM is wired before it boots, and tenants come only when its vRouter forwards."""

from dataclasses import replace

import pytest
from plan_world import KEY

from contrail_vsphere.contrailvm.desired import Build, PackageRef, RolloutPolicy
from contrail_vsphere.contrailvm.plan.actions import (
    Alarm,
    ApplyToHosts,
    GiveUpHook,
    Hold,
    MarkAsAvailable,
    PowerOffContrailVm,
    ReconfigureVm,
    RestartContrailVm,
    Wait,
)
from contrail_vsphere.contrailvm.records import Attempt, HookWork
from contrail_vsphere.contrailvm.rollout.turns import Rollout, Turn
from contrail_vsphere.model.ids import HostId, NetworkId, VmId
from contrail_vsphere.model.inventory import Nic


def unwired(world, number):
    """As EAM leaves a VM: every NIC on the management network, no reservations."""
    nics = tuple(replace(nic, network=NetworkId("network-1")) for nic in world.inventory.vms[f"vm-{number}"].nics)
    world.vm(number, power="poweredOff", nics=nics, cpu_mhz_reserved=0, memory_mb_reserved=0)


@pytest.mark.parametrize("hook", ["provisioned", "prePowerOn"])
def test_f2_a_new_contrailvm_is_wired_reserved_and_given_a_token(world, hook):
    unwired(world, 1)
    world.hook(1, hook)
    (reconfigure,) = world.only(ReconfigureVm)
    assert [(nic.role, nic.network, nic.key) for nic in reconfigure.nics] == [("overlay", "dvportgroup-9", 4001)]
    assert (reconfigure.cpu_mhz, reconfigure.memory_mb, reconfigure.token) == (1000, 4096, True)
    assert not world.only(MarkAsAvailable)


def test_a_token_is_put_in_even_if_everything_else_is_right(world):
    world.hook(1, "provisioned")
    (reconfigure,) = world.only(ReconfigureVm)
    assert reconfigure.token and not reconfigure.nics


def test_a_missing_nic_is_added(world):
    world.vm(1, nics=world.inventory.vms["vm-1"].nics[:1])
    world.hook(1, "provisioned")
    assert [(nic.role, nic.key) for nic in world.only(ReconfigureVm)[0].nics] == [("overlay", None)]


def test_eam_goes_on_only_when_vcenter_shows_the_new_nics(world):
    unwired(world, 1)
    world.hook(1, "provisioned")
    world.record(1, prepared=HookWork(VmId("vm-1"), "provisioned", world.now))
    assert not world.only(MarkAsAvailable, ReconfigureVm)
    world.later(60)
    assert world.only(ReconfigureVm)
    world.vm(1, nics=world.inventory.vms["vm-2"].nics, cpu_mhz_reserved=1000, memory_mb_reserved=4096)
    assert world.only(MarkAsAvailable)[0].hook == "provisioned"


def test_what_was_prepared_for_another_vm_or_hook_does_not_count(world):
    world.hook(1, "prePowerOn")
    world.record(1, prepared=HookWork(VmId("vm-1"), "provisioned", world.now))
    assert world.only(ReconfigureVm)
    world.record(1, prepared=HookWork(VmId("vm-7"), "prePowerOn", world.now))
    assert world.only(ReconfigureVm)


def test_f17_a_vm_that_cannot_be_wired_is_held_and_the_others_go_on(world):
    unwired(world, 1)
    world.hook(1, "provisioned")
    attempts = tuple(Attempt("reconfigure", "provisioned vm-1", world.now - n) for n in (90, 60, 30))
    world.record(1, attempts=attempts)
    world.hook(2, "poweredOn")
    world.vrouter(2, forwards=True)
    assert [hold.host for hold in world.only(Hold)] == ["host-1"]
    assert [mark.host for mark in world.only(MarkAsAvailable)] == ["host-2"]


def test_a_vm_the_inventory_does_not_show_yet_is_waited_for(world):
    world.hook(1, "provisioned", vm="vm-77")
    assert not world.only(ReconfigureVm, MarkAsAvailable)


def test_without_the_overlay_port_group_nothing_boots(world):
    del world.inventory.networks["dvportgroup-9"]
    world.hook(1, "provisioned")
    assert not world.only(ReconfigureVm, MarkAsAvailable)


def test_f16_eam_is_told_again_when_it_stays_in_the_hook(world):
    world.hook(1, "provisioned")
    world.record(
        1,
        prepared=HookWork(VmId("vm-1"), "provisioned", world.now),
        released=HookWork(VmId("vm-1"), "provisioned", world.now),
    )
    assert not world.only(MarkAsAvailable)
    world.later(30)
    assert world.only(MarkAsAvailable)


def test_f3_tenants_wait_until_the_vrouter_forwards_and_is_synced(world):
    world.hook(1, "poweredOn")
    assert not world.only(MarkAsAvailable), "an answer from before the hook does not count"
    world.vrouter(1, forwards=False)
    assert not world.only(MarkAsAvailable)
    world.vrouter(1, forwards=True, synced=False)
    assert not world.only(MarkAsAvailable)
    world.vrouter(1, forwards=True)
    assert world.only(MarkAsAvailable)[0].hook == "poweredOn"


def test_a_passed_deadline_is_an_alarm_and_a_restart_never_an_open_host(world):
    world.hook(1, "poweredOn")
    world.later(700)
    world.vrouter(1, forwards=False)
    assert world.only(Alarm)[0].cause == "vrouter.deadline"
    (restart,) = world.only(RestartContrailVm)
    assert restart.token, "a guest that never enrolled needs a fresh token"
    assert not world.only(MarkAsAvailable)


def test_restarts_at_the_hook_are_bounded_and_a_late_vrouter_is_still_welcome(world):
    world.hook(1, "poweredOn")
    world.later(3000)
    world.record(1, attempts=tuple(Attempt("restart", "vm-1", world.now - n) for n in (1800, 900)))
    world.vrouter(1, forwards=False)
    assert not world.only(RestartContrailVm, Hold, MarkAsAvailable) and world.only(Alarm)
    world.vrouter(1, forwards=True)
    assert world.only(MarkAsAvailable)


def test_f5_a_hook_is_worked_while_the_host_leaves_maintenance(world):
    world.host(1, in_maintenance=True)
    world.hook(1, "poweredOn")
    world.vrouter(1, forwards=True)
    assert world.only(MarkAsAvailable)


def test_f7_no_hook_is_worked_on_a_host_that_is_not_connected(world):
    world.host(1, connection="disconnected")
    world.hook(1, "provisioned")
    assert [type(each) for each in world.plan()] == [Wait]


def test_f13_while_a_package_is_replaced_one_host_at_a_time_goes_on(world):
    for number in (1, 2, 3):
        new = VmId(f"vm-1{number}")
        world._vm(new, HostId(f"host-{number}"), on=False)
        world.hook(number, "provisioned", vm=new)
    assert [each.host for each in world.only(ReconfigureVm)] == ["host-1"]
    world.agent(1, hook=None, status="yellow")
    world.read()
    assert not world.only(ReconfigureVm), "host-1 is on its way up"
    world.agent(1, vm=VmId("vm-11"), status="green")
    world.read()
    assert [each.host for each in world.only(ReconfigureVm)] == ["host-2"]


@pytest.mark.parametrize(("backend", "goes_on"), [("eam", False), ("system-vm", True)])
def test_a_hook_waits_for_a_broken_host_unless_that_cannot_be_mended_before_the_hook_is_over(world, backend, goes_on):
    world.agency = replace(world.agency, backend=backend)
    world._vm(VmId("vm-11"), HostId("host-1"), on=False)
    world.hook(1, "provisioned", vm="vm-11")
    world.vm(2, power="poweredOff")
    world.issue(2, "VmPoweredOff")
    assert [each.host for each in world.only(ReconfigureVm)] == (["host-1"] if goes_on else [])


@pytest.mark.parametrize(("backend", "gives_up"), [("eam", False), ("system-vm", True)])
def test_who_waits_for_its_turn_in_a_hook_of_vlcm_makes_way_for_the_one_that_vlcm_has_yet_to_be_told_of(
    world, backend, gives_up
):
    world.agency = replace(world.agency, backend=backend)
    old, new = Build(PackageRef("0.9.0", "sha256:09")), Build(world.desired.package)
    world.rollout = Rollout(
        "dc1", 1, "rollback", new, ((str(KEY), old),), RolloutPolicy(canary=0), world.now,
        turns=(Turn(str(KEY), HostId("host-2"), world.now),),
    )  # fmt: skip
    world._vm(VmId("vm-11"), HostId("host-1"), on=False)
    world.hook(1, "provisioned", vm="vm-11")
    world.agent(2, unapplied=True)
    world.issue(2, "VmHookFailed")
    assert not world.only(ReconfigureVm), "host-2 has the turn"
    assert [each.host for each in world.only(GiveUpHook)] == (["host-1"] if gives_up else [])
    if gives_up:
        world.agent(1, hook=None, unapplied=True)
        world.issue(1, "VmHookFailed")
        assert [each.hosts for each in world.only(ApplyToHosts)] == [("host-2",)]


def test_one_that_was_powered_on_beside_the_old_one_is_powered_off_whatever_eam_was_told(world):
    new = VmId("vm-11")
    world.hook(1, "provisioned", vm=new)
    world._vm(new, HostId("host-1"), on=True)
    for released in (None, HookWork(new, "provisioned", world.now)):
        world.record(1, released=released)
        (off,) = world.only(PowerOffContrailVm)
        assert off.vm == new and "still forwards" in off.reason
        assert not world.only(ReconfigureVm, MarkAsAvailable)


def test_one_that_waits_in_a_hook_alone_is_powered_off_only_if_it_was_not_eam(world):
    world.hook(1, "provisioned")
    world.vm(1, power="suspended")
    assert [each.vm for each in world.only(PowerOffContrailVm)] == ["vm-1"]
    world.record(1, released=HookWork(VmId("vm-1"), "provisioned", world.now))
    assert not world.only(PowerOffContrailVm), "EAM was told to go on: it may be its doing, and not shown yet"


def test_one_that_is_powered_on_again_and_again_is_an_alarm_besides(world):
    new = VmId("vm-11")
    world.hook(1, "provisioned", vm=new)
    world._vm(new, HostId("host-1"), on=True)
    world.record(1, attempts=tuple(Attempt("power-off", "vm-11", world.now - n) for n in (90, 60, 30)))
    assert world.only(PowerOffContrailVm) and [each.cause for each in world.only(Alarm)] == ["vm.early"]


def test_nics_changed_by_a_user_are_put_right_but_not_for_ever(world):
    moved = Nic(4001, "00:50:56:00:00:02", "VirtualVmxnet3", 8, True, NetworkId("network-1"))
    world.vm(1, nics=(world.inventory.vms["vm-1"].nics[0], moved))
    (put_right,) = world.only(ReconfigureVm)
    assert put_right.hook is None and not put_right.token
    world.record(1, attempts=tuple(Attempt("reconfigure", "drift vm-1", world.now - n) for n in (90, 60, 30)))
    assert world.only(Hold)


def test_a_second_hook_of_the_same_kind_is_not_taken_for_the_first(world):
    """Released, powered off by a user, resolved: EAM waits again in poweredOn although we released that VM just now."""
    world.hook(1, "poweredOn")
    world.record(1, released=HookWork(VmId("vm-1"), "poweredOn", world.now - 5))
    world.vrouter(1, forwards=True)
    assert world.only(MarkAsAvailable)
