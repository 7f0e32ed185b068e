"""Names of port groups, and the VLAN table under arbitrary histories."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contrail_vsphere.model.errors import OutOfResources
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.identity import Identity, PortId
from contrail_vsphere.vcenter_plugin.plan.names import LONGEST, escaped, group_name, is_name_of
from contrail_vsphere.vcenter_plugin.vlans import HIGHEST, LOWEST, VlanTable

NETWORK, OTHER = UUID(int=1 << 100), UUID(int=2 << 100)
H = [HostId(f"host-{number}") for number in range(4)]
P = [PortId(UUID(int=number), 4000) for number in range(12)]


@given(st.text(max_size=300), st.sets(st.text(max_size=10), max_size=3))
def test_every_network_gets_a_name_that_vcenter_takes(wanted, taken):
    name = group_name(wanted, NETWORK, taken=taken)
    assert name and len(escaped(name)) <= LONGEST and name not in taken
    assert is_name_of(name, wanted, NETWORK)


def test_names_are_kept_where_they_can_be():
    assert group_name("a/b%c", NETWORK) == "a/b%c"
    assert escaped("a/b%c\\") == "a%2fb%25c%5c"
    assert group_name("blue", NETWORK, taken={"blue"}) == "blue~00000010"
    assert len(escaped(group_name("/" * 100, NETWORK))) <= LONGEST
    assert group_name("blue", NETWORK, taken={"blue"}) != group_name("blue", OTHER, taken={"blue"})


def test_a_port_is_the_same_whatever_its_address():
    identity = Identity(UUID(int=5))
    assert identity.vmi(P[1], "00:50:56:00:00:01") == identity.vmi(P[1], "00:50:56:00:00:02")
    assert len({identity.vmi(PortId(vm, nic), "") for vm in (UUID(int=1), UUID(int=2)) for nic in (4000, 4001)}) == 4
    assert Identity(UUID(int=6)).vmi(P[1], "") != identity.vmi(P[1], "")
    compatible = Identity(UUID(int=5), "cvm")
    assert str(compatible.vmi(P[1], "00:50:56:00:00:64")) == "cdaa4be4-a5fd-3925-8239-2ce2669718ae"
    assert PortId.parse(str(P[3])) == P[3]


def test_a_cluster_wide_vlan_is_preferred():
    table = VlanTable()
    table.allocate(P[0], H[0], domain=H, at=0)
    assert table.allocate(P[1], H[1], domain=H, at=0) == 2, "1 is taken on another host of the cluster"
    assert table.allocate(P[0], H[1], domain=H, prefer=1, at=0) == 1, "so the port can move and keep it"


def test_a_full_cluster_falls_back_to_the_host_and_then_refuses():
    table = VlanTable(reserved=range(3, HIGHEST + 1))
    assert [table.allocate(P[n], H[0], domain=H[:2], at=0) for n in (0, 1)] == [1, 2]
    assert table.allocate(P[2], H[1], domain=H[:2], at=0) == 1
    with pytest.raises(OutOfResources, match="no VLAN is left on host-0"):
        table.allocate(P[3], H[0], domain=H[:2], at=0)
    assert table.capacity(H[0], at=0).free == 0


def test_one_that_rests_elsewhere_is_preferred_to_one_that_is_used_elsewhere():
    table = VlanTable(reserved=range(3, HIGHEST + 1))
    assert [table.allocate(P[n], H[1], domain=H[:2], at=0) for n in (0, 1)] == [1, 2]
    table.free(P[1], H[1], at=0)
    assert table.allocate(P[2], H[0], domain=H[:2], at=1) == 2, "it could not meet 1 where that goes"


def test_what_was_given_up_rests():
    table = VlanTable(reserved=range(2, HIGHEST + 1), quarantine=60)
    table.allocate(P[0], H[0], at=0)
    assert table.free(P[0], H[0], at=10) == 1
    assert table.free(P[0], H[0], at=10) is None
    with pytest.raises(OutOfResources):
        table.allocate(P[1], H[0], at=69)
    assert table.allocate(P[1], H[0], at=71) == 1


@pytest.mark.parametrize("vlan", [0, 4095, -1])
def test_what_is_no_vlan_never_enters_the_table(vlan):
    table = VlanTable()
    assert not table.observe(P[0], H[0], vlan)
    assert table.of(P[0]) == {}


def test_two_ports_seen_with_one_vlan_are_told_apart():
    table = VlanTable()
    assert table.observe(P[0], H[0], 7)
    assert not table.observe(P[1], H[0], 7)
    assert table.allocate(P[1], H[0], prefer=7, at=0) == 1
    assert table.observe(P[1], H[1], 7), "on another host it is free"


class VlanWalk(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.at = 0.0
        self.reserved = {1, 2}
        self.table = VlanTable(reserved=self.reserved | set(range(12, HIGHEST + 1)), quarantine=5)
        self.freed: dict[tuple[HostId, int], float] = {}

    @rule(port=st.sampled_from(P), host=st.sampled_from(H), prefer=st.none() | st.integers(-1, 4096))
    def allocate(self, port, host, prefer):
        before = self.table.of(port).get(host)
        try:
            vlan = self.table.allocate(port, host, domain=H[:2], prefer=prefer, at=self.at)
        except OutOfResources:
            assert self.table.capacity(host, at=self.at).free == 0
            return
        assert before in (None, vlan)
        if before is None:
            assert vlan not in self.reserved
            assert self.freed.get((host, vlan), -1.0) <= self.at

    @rule(port=st.sampled_from(P), host=st.sampled_from(H), vlan=st.integers(0, 20))
    def observe(self, port, host, vlan):
        if self.table.observe(port, host, vlan):
            assert self.table.of(port)[host] == vlan
            self.freed.pop((host, vlan), None)

    @rule(port=st.sampled_from(P), host=st.sampled_from(H))
    def free(self, port, host):
        vlan = self.table.free(port, host, at=self.at)
        if vlan is not None:
            self.freed[host, vlan] = self.at + 5

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds):
        self.at += seconds

    @invariant()
    def one_owner_each(self):
        for host in H:
            held = [self.table.of(port)[host] for port in P if host in self.table.of(port)]
            assert len(held) == len(set(held))
            assert all(LOWEST <= vlan <= HIGHEST for vlan in held)
            assert all(self.table.owner(host, self.table.of(p)[host]) == p for p in P if host in self.table.of(p))


TestVlanWalk = VlanWalk.TestCase
TestVlanWalk.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
