"""Whom each action would disturb: tenants are counted, EsxAgents and what is off are none."""

from dataclasses import replace

import pytest

from contrail_vsphere.contrailvm.plan.actions import (
    Alarm,
    EndTurn,
    EnsureTrunkPortGroup,
    Resolve,
    RestartContrailVm,
    StopRollout,
    TakeTurn,
    UninstallAgency,
    UpdateAgency,
)
from contrail_vsphere.contrailvm.plan.disturbance import disturbance, tenants_by_host
from contrail_vsphere.model.eam import EAM_KEY
from contrail_vsphere.model.ids import AgencyId, EsxAgentId, HostId, VmId
from contrail_vsphere.model.inventory import VirtualMachine

ONE, TWO = HostId("host-1"), HostId("host-2")
TURN = TakeTurn(host=ONE, number=1, limit=1, reason="it is its turn")


@pytest.fixture
def judged(world):
    """What is said of an action with three tenants on esx-01 and none elsewhere."""
    for number, (host, power, owner, template) in enumerate(
        (
            (ONE, "poweredOn", "", False),
            (ONE, "poweredOn", "", False),
            (ONE, "poweredOn", "com.example.backup", False),
            (ONE, "poweredOff", "", False),
            (ONE, "poweredOn", EAM_KEY, False),
            (ONE, "poweredOn", "", True),
        )
    ):
        vm = VmId(f"vm-9{number}")
        world.inventory.vms[vm] = VirtualMachine(vm, vm, host, power, managed_by=owner, template=template)
    tenants = tenants_by_host(each for each in world.inventory.vms.values() if each.id.startswith("vm-9"))
    return lambda action: disturbance(action, world.observed(), tenants)


def resolve(effect):
    return Resolve(
        host=ONE, agency=AgencyId("a"), agent=EsxAgentId("e"), issue_type="X", keys=(1,), disturbs=effect, reason="x"
    )


def test_a_turn_and_a_restart_cut_tenants_off_for_a_while(judged):
    assert judged(TURN) == "the 3 tenant VMs on esx-01: cut off until the new ContrailVM forwards"
    restart = RestartContrailVm(host=ONE, agent=EsxAgentId("e"), vm=VmId("vm-1"), reason="down")
    assert judged(restart) == "the 3 tenant VMs on esx-01: cut off while the ContrailVM restarts"
    assert judged(replace(TURN, host=TWO)) == "nobody now, there are no tenant VMs on esx-02"


def test_who_is_cut_off_already_loses_nothing(judged, world):
    dark = replace(world.memory.vrouters[ONE], forwards=False)
    world.memory = replace(world.memory, vrouters={**world.memory.vrouters, ONE: dark})
    assert judged(TURN).startswith("the 3 tenant VMs on esx-01: cut off already")


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("none", "nobody"),
        ("power", "the 3 tenant VMs on esx-01: cut off until the ContrailVM forwards again"),
        ("maintenance", "the 3 tenant VMs on esx-01: the host goes into maintenance, tenants must move away first"),
        ("reboot", "the 3 tenant VMs on esx-01: the host goes into maintenance and reboots"),
    ],
)
def test_a_resolve_costs_what_its_issue_does(judged, effect, words):
    assert judged(resolve(effect)).startswith(words)


def test_a_removal_counts_the_tenants_of_all_its_hosts(judged):
    gone = UninstallAgency(agency=AgencyId("a"), hosts=(ONE, TWO), reason="removed")
    assert judged(gone) == "3 tenant VMs on 2 hosts: they lose their overlay network for good"
    assert judged(replace(gone, hosts=(TWO,))).startswith("nobody now")


def test_what_disturbs_nobody_says_why(judged, world):
    update = UpdateAgency(agency=AgencyId("a"), config=world.agency.config, changed=("package",), reason="differs")
    assert judged(update).startswith("nobody: EAM makes the new ContrailVMs beside the old ones")
    assert judged(replace(update, changed=("certificate",))) == "nobody"
    assert judged(EnsureTrunkPortGroup(trunk=world.desired.trunk, reason="new")) == "nobody: the port group is new"
    assert judged(StopRollout(number=1, roll_back=True, reason="bad")).startswith("only hosts that were replaced")
    assert judged(EndTurn(host=ONE, number=1, vm=VmId("vm-1"), reason="forwards")) == "nobody"
    assert judged(Alarm(cause="x", reason="x")) == ""
