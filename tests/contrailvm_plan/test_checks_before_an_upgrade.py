"""What is looked at before an upgrade is begun: each check finds its own trouble, and only that."""

from dataclasses import replace

import pytest
from plan_world import DESIRED, World

from contrail_vsphere.contrailvm.desired import NicRole, PackageFacts, PackageRef
from contrail_vsphere.contrailvm.plan.actions import Alarm, UpdateAgency
from contrail_vsphere.contrailvm.rollout.checks import upgrade_problems
from contrail_vsphere.model.eam import EamFeatures
from contrail_vsphere.model.ids import DatastoreId, NetworkId

GB = 2**30
PACKAGE = PackageFacts(
    PackageRef("1.1.0", "sha256:bb"),
    roles=("management", "overlay"),
    sizes=("small", "large"),
    disk_bytes=10 * GB,
    hardware=("vmx-13",),
)


@pytest.fixture
def world():
    return World(hosts=3)


def problems(world, *, package=PACKAGE, features=None, **changes):
    observed = world.observed() if features is None else replace(world.observed(), features=features)
    return upgrade_problems(replace(DESIRED, package=package.ref, **changes), observed, package)


def test_where_all_is_well_nothing_is_found(world):
    assert problems(world) == ()
    assert problems(world, size="large") == ()


def test_a_network_that_is_gone(world):
    del world.inventory.networks[NetworkId("network-1")]
    (problem,) = problems(world)
    assert problem == "C0: network management (network-1) is gone"


def test_a_package_whose_nics_are_not_those_of_the_deployment(world):
    more = replace(PACKAGE, roles=("management", "fabric", "overlay"))
    assert problems(world, package=more) == (
        "package 1.1.0 has a NIC for fabric, for which the deployment names no network",
    )
    nics = (*DESIRED.nics, NicRole("fabric", NetworkId("network-1")))
    assert problems(world, nics=nics) == (
        "package 1.1.0 has no NIC for fabric, for which the deployment names a network",
    )


@pytest.mark.parametrize(
    ("hardware", "version", "needed"),
    [("vmx-13", "6.0.0", "6.5.0"), ("vmx-19", "7.0.1", "7.0.2"), ("vmx-21", "8.0.1", "8.0.2"), ("vmx-21", "8.0.3", "")],
)
def test_a_host_too_old_for_the_virtual_hardware(world, hardware, version, needed):
    world.host(2, version=version)
    found = problems(world, package=replace(PACKAGE, hardware=(hardware,)))
    expected = f"esx-02 runs ESXi {version}; virtual hardware {hardware} needs {needed}"
    assert found == ((expected,) if needed else ())


def test_a_host_of_which_one_of_two_hardware_versions_is_known(world):
    world.host(1, version="6.7.0")
    assert problems(world, package=replace(PACKAGE, hardware=("vmx-13", "vmx-20"))) == ()


def test_no_space_for_a_second_contrailvm_per_host(world):
    store = DatastoreId("datastore-1")
    world.inventory.datastores[store] = replace(world.inventory.datastores[store], free=33 * GB - 1)
    (problem,) = problems(world)
    assert "datastore nfs has 33791 MB free; 3 new ContrailVMs" in problem and "need 33792 MB" in problem
    world.inventory.datastores[store] = replace(world.inventory.datastores[store], free=33 * GB + 3)
    assert problems(world) == ()


def test_only_the_datastore_that_is_used_must_have_space(world):
    world.inventory.datastores[DatastoreId("datastore-2")] = replace(
        world.inventory.datastores[DatastoreId("datastore-1")], id=DatastoreId("datastore-2"), free=0
    )
    for number in (1, 2, 3):
        world.host(number, datastores=(DatastoreId("datastore-2"), DatastoreId("datastore-1")))
    assert problems(world) == ()
    (problem,) = problems(world, datastores=(DatastoreId("datastore-2"), DatastoreId("datastore-1")))
    assert "0 MB free" in problem


def test_a_size_that_the_package_does_not_have(world):
    assert problems(world, size="huge") == ("package 1.1.0 has no size 'huge'; it has small, large",)


def test_a_size_where_eam_has_no_word_for_it(world):
    (problem,) = problems(world, size="large", features=EamFeatures(sizes=False))
    assert "no word for sizes" in problem and "8.0 U3" in problem
    assert problems(world, features=EamFeatures(sizes=False)) == ()


def test_a_virtual_function_is_none_of_the_packages_nics(world):
    function = NicRole("control-data", NetworkId("network-1"), sriov=True)
    assert problems(world, nics=(*DESIRED.nics, function)) == ()


def test_a_size_that_the_package_does_not_have_never_reaches_eam(world):
    world.memory = replace(world.memory, offer=replace(world.memory.offer, sizes=("small", "medium")))
    world.desire(size="huge")
    assert [(each.cause, each.reason) for each in world.only(Alarm)] == [
        (
            "package.size",
            "package 1.0.0 has no size 'huge'; it has small, medium; apply the deployment with another",
        )
    ]
    assert not world.only(UpdateAgency)
    world.desire(size="small")
    assert world.only(UpdateAgency)
