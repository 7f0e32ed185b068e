"""What EAM 6.5 does not say: in which hook an EsxAgent waits, by all that shows of it."""

import pytest

from contrail_vsphere.contrailvm.plan.inferred_hooks import infer_hook
from contrail_vsphere.contrailvm.records import HookWork, HostRecord
from contrail_vsphere.model.eam import EAM_KEY, EsxAgent, Issue, VmHook
from contrail_vsphere.model.ids import AgencyId, EsxAgentId, HostId, VmId
from contrail_vsphere.model.inventory import VirtualMachine


def vm(number, power="poweredOff", *, name="", managed_by=EAM_KEY, connection="connected"):
    return VirtualMachine(
        VmId(f"vm-{number}"),
        name or f"ContrailVM ({number})",
        HostId("host-1"),
        power,
        connection,
        managed_by=managed_by,
    )


def agent(number=1, status="yellow", **fields):
    identity = VmId(f"vm-{number}") if number else None
    return EsxAgent(EsxAgentId("a"), AgencyId("b"), status, "enabled", HostId("host-1"), identity, **fields)


def hook(who, *vms, record=None):
    taken = {who.vm} if who.vm else set()
    return infer_hook(who, record or HostRecord(), agent_name="ContrailVM", vms=vms, taken=taken)


def worked(number, state):
    return HostRecord(released=HookWork(VmId(f"vm-{number}"), state, 1.0))


def test_off_is_provisioned_and_on_is_powered_on():
    assert hook(agent(), vm(1)) == VmHook(VmId("vm-1"), "provisioned")
    assert hook(agent(), vm(1, "poweredOn")) == VmHook(VmId("vm-1"), "poweredOn")


@pytest.mark.parametrize(
    "who",
    [agent(status="green"), agent(status="red"), agent(0), agent(issues=(Issue("VmPoweredOff", 1),))],
    ids=["green", "red", "no VM", "issue"],
)
def test_nothing_is_inferred_where_eam_is_not_waiting_for_us(who):
    assert hook(who, vm(1)) is None


@pytest.mark.parametrize(
    "there", [vm(1, "suspended"), vm(1, connection="inaccessible"), vm(1, managed_by="com.example")]
)
def test_nothing_is_inferred_of_a_vm_that_cannot_be_worked_on(there):
    assert hook(agent(), there) is None


def test_a_new_vm_that_runs_beside_the_old_one_waits_in_provisioned_all_the_same():
    assert hook(agent(), vm(1, "poweredOn"), vm(2, "poweredOn")) == VmHook(VmId("vm-2"), "provisioned")
    assert hook(agent(), vm(1), vm(2, "poweredOn")) == VmHook(VmId("vm-2"), "poweredOn")


def test_a_vm_that_was_up_before_is_in_no_hook_while_it_is_off():
    assert hook(agent(), vm(1), record=worked(1, "poweredOn")) is None
    assert hook(agent(), vm(1), record=worked(1, "provisioned")) == VmHook(VmId("vm-1"), "provisioned")


def test_the_new_vm_of_an_upgrade_waits_beside_the_old_one():
    assert hook(agent(), vm(1, "poweredOn"), vm(2)) == VmHook(VmId("vm-2"), "provisioned")
    assert hook(agent(9), vm(9), vm(10, "poweredOn")) == VmHook(VmId("vm-10"), "poweredOn")


def test_leftovers_are_not_taken_for_the_new_vm():
    assert hook(agent(5), vm(5, "poweredOn"), vm(2)) == VmHook(VmId("vm-5"), "poweredOn")
    assert hook(agent(1), vm(1, "poweredOn"), vm(2, name="Firewall (2)")) == VmHook(VmId("vm-1"), "poweredOn")
    assert hook(agent(0), vm(2)) is None


def test_while_eam_names_no_vm_only_the_one_we_worked_on_counts():
    assert hook(agent(0), vm(2, "poweredOn"), record=worked(2, "provisioned")) == VmHook(VmId("vm-2"), "poweredOn")
