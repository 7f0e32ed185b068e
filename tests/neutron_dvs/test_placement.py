"""Which vCenter, cluster and switch a port goes to, from settings alone."""

from __future__ import annotations

import pytest

from contrail_vsphere.ml2.driver.binding import choose, vif_details
from contrail_vsphere.ml2.placement import Site, Switch, VCenterMaps, placement
from contrail_vsphere.ml2.tables.groups import KnownGroup, group_name
from contrail_vsphere.model.errors import SettingsError

ONE = VCenterMaps("vC1", {"compute-a": "east", "compute-b": "west"}, ["east/physnet1:dvs-e", "west/physnet1:dvs-w"])
TWO = VCenterMaps("vC2", {"compute-c": "prod"}, ["physnet1:dvs-2", "physnet2:dvs-2"])


def segment(number, physnet, kind="vlan"):
    return {"id": f"segment-{number}", "network_type": kind, "physical_network": physnet, "segmentation_id": number}


def test_host_leads_to_cluster_and_cluster_to_switch():
    found = placement([ONE, TWO])
    assert found.site("compute-b") == Site("vC1", "west")
    assert found.switch(Site("vC1", "west"), "physnet1") == Switch("vC1", "dvs-w")
    assert found.switch(Site("vC2", "prod"), "physnet2") == Switch("vC2", "dvs-2")
    assert found.site("kvm-1") is None
    assert found.carriers("physnet1") == {Switch("vC1", "dvs-e"), Switch("vC1", "dvs-w"), Switch("vC2", "dvs-2")}
    assert found.physical_networks("compute-c") == {"physnet1", "physnet2"}
    assert found.physical_networks("kvm-1") == frozenset()


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        ([ONE, VCenterMaps("vC2", {"compute-a": "x"}, ["physnet1:d"])], "host compute-a is mapped by vC1 and vC2"),
        ([VCenterMaps("vC1", {"a": "x"}, ["physnet1"])], "cannot be read"),
        ([VCenterMaps("vC1", {"a": "x"}, ["/physnet1:d"])], "cannot be read"),
        ([VCenterMaps("vC1", {"a": "x"}, ["p:d", "p:e"])], "two switches for p"),
        ([VCenterMaps("vC1", {"a": "x"}, ["p:d", "q:e"])], "gives each cluster 2 switches"),
        ([VCenterMaps("vC1", {"a": "x"}, ["x/p:d", "q:e"])], "gives cluster x 2 switches"),
    ],
)
def test_what_does_not_fit_together_is_refused(maps, complaint):
    with pytest.raises(SettingsError, match=complaint):
        placement(maps)


def test_several_switches_where_they_are_meant():
    found = placement([VCenterMaps("vC1", {"a": "x"}, ["p:d", "q:e"], several_switches=True)])
    assert found.switch(Site("vC1", "x"), "q") == Switch("vC1", "e")


def test_the_first_segment_that_a_switch_of_the_cluster_carries():
    found = placement([ONE, TWO])
    segments = [segment(1, None, "vxlan"), segment(2, "physnet9"), segment(3, "physnet1"), segment(4, "physnet1")]
    choice = choose(found, Site("vC1", "west"), segments)
    assert choice is not None
    assert (choice.segment_id, choice.switch.name) == ("segment-3", "dvs-w")
    assert choose(found, Site("vC1", "west"), segments[:2]) is None
    flat = choose(found, Site("vC2", "prod"), [segment(5, "physnet2", "flat")])
    assert flat is not None


def test_what_nova_is_told():
    group = KnownGroup("vC1", "dvs-w", "segment-3", "net", "50 2c", "dvportgroup-7", "os-net~2")
    told = vif_details(group, fallback="os-net", port_key="12", port_filter=True)
    assert (told["dvs_id"], told["pg_id"], told["dvs_port_key"]) == ("50 2c", "dvportgroup-7", "12")
    assert told["dvs_port_group_name"] == "os-net~2"
    early = vif_details(None, fallback="os-net", port_key=None, port_filter=False)
    assert early == {"connectivity": "l2", "port_filter": False, "dvs_port_group_name": "os-net"}


def test_names_fit_and_hold_the_network_id():
    network, one = "0f9b1d3e-6f3c-4f7c-9a53-0c7c3fbd33aa", "77777777-6f3c-4f7c-9a53-0c7c3fbd33aa"
    for several in (False, True):
        name = group_name(network, one, several=several)
        assert network in name
        assert len(name) <= 78  # room for another number where the name is taken
