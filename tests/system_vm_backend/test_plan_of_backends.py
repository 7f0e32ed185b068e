"""Who is chosen to keep a cluster, and what a person is told an apply would disturb. Pure."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "contrailvm_plan"))

from plan_world import World

from contrail_vsphere.contrailvm.desired import BundleRef
from contrail_vsphere.contrailvm.plan.actions import Alarm, ApplyToHosts, Wait
from contrail_vsphere.contrailvm.plan.backend import choose_backend
from contrail_vsphere.contrailvm.plan.disturbance import disturbance


@pytest.mark.parametrize(
    ("wish", "why_not", "choice"),
    [
        ("auto", "", "system-vm"),
        ("auto", "too old", "eam"),
        ("auto", None, Wait),
        ("eam", "", "eam"),
        ("eam", None, "eam"),
        ("system-vm", "", "system-vm"),
        ("system-vm", "too old", Alarm),
        ("system-vm", None, Wait),
    ],
)
def test_who_is_chosen(wish, why_not, choice):
    world = World()
    observed = replace(world.observed(), no_system_vms=why_not)
    found = choose_backend(replace(world.desired, backend=wish), observed)
    assert found == choice if isinstance(choice, str) else isinstance(found, choice)


def test_vibs_are_for_eam():
    world = World()
    desired = replace(world.desired, vib=BundleRef("tool 1.0", "ab"))
    assert choose_backend(desired, replace(world.observed(), no_system_vms="")) == "eam"


def test_an_apply_tells_how_many_tenants_it_may_cut_off():
    world = World()
    observed = world.observed()
    hosts = tuple(view.host.id for view in observed.hosts)
    action = ApplyToHosts(agency=observed.agency.id, hosts=hosts, reason="x")
    assert "nobody" in disturbance(action, observed, Counter())
    assert disturbance(action, observed, Counter(dict.fromkeys(hosts, 2))).startswith(f"{2 * len(hosts)} tenant VMs")
