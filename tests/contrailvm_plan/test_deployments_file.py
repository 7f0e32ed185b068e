"""The deployments file: every mistake at once, the nearest right name, and nothing written unless all holds."""

from dataclasses import replace

import pytest
from plan_world import KEY, World

from contrail_vsphere.contrailvm.deployments.file import difference, merge, parse_deployments
from contrail_vsphere.contrailvm.deployments.names import resolve_deployments
from contrail_vsphere.contrailvm.desired import Key, NicRole, OverlayTrunk, PackageFacts, PackageRef
from contrail_vsphere.model.errors import DesiredStateError
from contrail_vsphere.model.ids import ClusterId
from contrail_vsphere.model.inventory import Cluster

GOOD = """
[deployment.dc1]
clusters = ["C0"]
package = "1.0.0"
size = "small"
datastores = ["nf*"]
[deployment.dc1.networks]
management = "mgmt"
overlay = { switch = "dvs0" }
[deployment.dc1.guest]
controllers = ["127.0.0.9"]
"""
FACTS = PackageFacts(PackageRef("1.0.0", "aa"), ("management", "overlay"), ("small", "medium"))


def resolve(text, *, existing=None, facts=FACTS, world=None):
    world = world or World()
    return resolve_deployments(
        parse_deployments(text),
        inventory=world.inventory,
        package=lambda wanted: facts if wanted == "1.0.0" else None,
        packages=["1.0.0"],
        existing=existing,
    )


def test_names_become_ids():
    (desired,) = resolve(GOOD).values()
    assert desired.key == KEY
    assert desired.nics == (NicRole("management", "network-1"), NicRole("overlay"))
    assert desired.trunk == OverlayTrunk("dvs-1", "contrailvm-overlay", 1800)
    assert desired.datastores == ("datastore-1",)
    assert desired.guest.controllers == ("127.0.0.9",)


def test_clusters_may_be_named_by_id():
    assert list(resolve(GOOD.replace('"C0"', '"domain-c8"'))) == [KEY]


def test_a_cluster_named_twice_is_refused():
    with pytest.raises(DesiredStateError, match=r"named twice"):
        resolve(GOOD.replace('["C0"]', '["C0", "domain-c8"]'))


def test_a_cluster_of_another_deployment_is_refused():
    taken = {Key("other", KEY.cluster): replace(next(iter(resolve(GOOD).values())), key=Key("other", KEY.cluster))}
    with pytest.raises(DesiredStateError, match=r"already belongs to deployment 'other'"):
        resolve(GOOD, existing=taken)


def test_all_mistakes_are_told_at_once_with_the_nearest_names():
    text = (
        GOOD.replace('"C0"', '"C1"').replace('"mgmt"', '"mgnt"').replace('"1.0.0"', '"1.0.1"').replace("small", "smal")
    )
    world = World()
    with pytest.raises(DesiredStateError) as error:
        resolve(text, world=world)
    assert "no cluster 'C1'; there is C0" in str(error.value)
    assert "no package '1.0.1', did you mean '1.0.0'?" in str(error.value)
    assert "no network 'mgnt', did you mean 'mgmt'?" in str(error.value)
    with pytest.raises(DesiredStateError) as error:
        resolve(text.replace('"C1"', '"C0"').replace('"1.0.1"', '"1.0.0"'), world=world)
    assert "no network 'mgnt', did you mean 'mgmt'?" in str(error.value)
    assert "no size 'smal', did you mean 'small'?" in str(error.value)


def test_two_clusters_of_one_name_need_an_id():
    world = World()
    world.inventory.clusters[ClusterId("domain-c9")] = Cluster(ClusterId("domain-c9"), "C0")
    with pytest.raises(DesiredStateError, match=r"name of several; use one of domain-c8, domain-c9"):
        resolve(GOOD, world=world)


def test_networks_must_fit_the_packages_nics():
    facts = replace(FACTS, roles=("management", "fabric", "overlay"))
    with pytest.raises(DesiredStateError, match=r"networks.fabric: package 1.0.0 has a NIC for it"):
        resolve(GOOD, facts=facts)
    with pytest.raises(DesiredStateError, match=r"networks.fabric: package 1.0.0 has no NIC for it"):
        resolve(GOOD.replace('management = "mgmt"', 'management = "mgmt"\nfabric = "mgmt"'))


def test_nics_come_in_the_order_of_the_package():
    facts = replace(FACTS, roles=("overlay", "management"))
    (desired,) = resolve(GOOD, facts=facts).values()
    assert [nic.role for nic in desired.nics] == ["overlay", "management"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (GOOD.replace("clusters", "cluster"), "dc1.cluster: unknown key, did you mean 'clusters'?"),
        (
            GOOD.replace("management =", "managment ="),
            "dc1.networks.managment: unknown key, did you mean 'management'?",
        ),
        (GOOD.replace("switch =", "swich ="), "unknown key, did you mean 'switch'?"),
        (GOOD.replace("[deployment.", "[deploymen."), "unknown key, did you mean 'deployment'?"),
        (GOOD.replace('["C0"]', "[]"), "dc1.clusters"),
        (GOOD.replace("dc1", '"d c"'), "letters, digits"),
        ("[deployment", "it must be TOML"),
        ("[deployment]", "there is no [deployment.NAME] table"),
    ],
)
def test_what_is_not_a_deployment_is_told_in_words(wrong, told):
    with pytest.raises(DesiredStateError) as error:
        parse_deployments(wrong)
    assert told in str(error.value)


def test_a_dropped_cluster_is_marked_removed_and_other_deployments_are_left_alone():
    before = resolve(GOOD)
    other = {Key("dc2", ClusterId("domain-c9")): next(iter(before.values()))}
    dropped = {Key("dc1", ClusterId("domain-c10")): next(iter(before.values()))}
    diff = difference({**before, **other, **dropped}, before)
    assert (diff.added, diff.changed, diff.removed) == ((), (), tuple(dropped))
    assert merge({**before, **other, **dropped}, before)[next(iter(dropped))].removed


def test_applying_the_same_file_again_changes_nothing():
    assert not difference(resolve(GOOD), resolve(GOOD))


def test_a_changed_size_is_a_change():
    (changed,) = difference(resolve(GOOD), resolve(GOOD.replace("small", "medium"))).changed
    assert changed == (KEY, ("size",))
