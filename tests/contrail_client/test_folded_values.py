"""What is kept folded is read as it was: nothing is lost, and equal values are told to be equal."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrail.snapshot import FOLDINGS, Snapshot
from contrail_vsphere.model.contrail import Annotations, ContrailChange, ContrailVm, InstanceIp, Vmi
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.folded import Folded, FoldedSequence, Folding
from contrail_vsphere.model.inventory import Nic, VirtualMachine
from contrail_vsphere.vcenter_plugin.books import ledger, port_book, port_states
from contrail_vsphere.vcenter_plugin.books.port_states import PortState
from contrail_vsphere.vcenter_plugin.books.records import Plug, PortRecord
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vsphere.told import folded_vms

UUIDS = st.uuids()
SOME = st.sampled_from([UUID(int=number) for number in (0, 1, 2**127)])
TEXTS = (
    st.text(max_size=8)
    | UUIDS.map(str)
    | UUIDS.map(lambda uuid: str(uuid).upper())
    | UUIDS.map(lambda uuid: uuid.hex + "    ")
)
ANNOTATIONS = st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda found: Annotations(found.items()))
ADDRESSES = st.ip_addresses()
PORTS = st.builds(PortId, UUIDS, st.integers(-(2**31), 2**31 - 1))
PLUGS = st.builds(Plug, TEXTS, st.integers(0, 4095), TEXTS, st.booleans(), st.booleans())
VALUES = {
    "virtual-machine": st.builds(ContrailVm, UUIDS, TEXTS, TEXTS, TEXTS, TEXTS, ANNOTATIONS),
    "virtual-machine-interface": st.builds(
        Vmi,
        uuid=UUIDS,
        fq_name=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
        parent_uuid=st.none() | SOME,
        display_name=TEXTS,
        network=st.none() | SOME,
        vm=st.none() | UUIDS,
        macs=st.lists(TEXTS, max_size=2).map(tuple),
        security_groups=st.lists(SOME, max_size=2).map(tuple),
        port_security=st.booleans(),
        address_pairs=st.lists(TEXTS, max_size=2).map(tuple),
        device_owner=TEXTS,
        host=TEXTS,
        sub_interface_vlan=st.none() | st.integers(0, 4095),
        enabled=st.booleans(),
        creator=TEXTS,
        annotations=ANNOTATIONS,
    ),
    "instance-ip": st.builds(
        InstanceIp,
        uuid=UUIDS,
        name=TEXTS,
        address=st.none() | ADDRESSES,
        family=st.sampled_from(["v4", "v6"]),
        network=st.none() | SOME,
        vmis=st.lists(UUIDS, max_size=2).map(tuple),
        subnet_uuid=TEXTS,
        secondary=st.booleans(),
        service=st.booleans(),
        display_name=TEXTS,
        creator=TEXTS,
        annotations=ANNOTATIONS,
    ),
}


@pytest.mark.parametrize("kind", sorted(FOLDINGS))
@given(st.data())
def test_contrails_objects_are_read_as_they_were(kind, data):
    first, second = data.draw(VALUES[kind]), data.draw(VALUES[kind])
    table = Folded(FOLDINGS[kind])
    table[first.uuid] = first
    assert table[first.uuid] == first
    assert table.holds(first.uuid, first)
    assert table.holds(first.uuid, second) == (FOLDINGS[kind].unfold(FOLDINGS[kind].fold(second), first.uuid) == first)
    assert list(table) == [first.uuid]


@given(
    st.builds(
        DvPort,
        TEXTS,
        TEXTS,
        TEXTS,
        TEXTS,
        st.none() | st.integers(0, 4095),
        st.none() | st.booleans(),
        st.none() | TEXTS,
        st.none() | TEXTS,
        st.none() | st.integers(-(2**31), 2**31 - 1),
        st.none() | st.integers(-(2**31), 2**31 - 1),
        st.booleans(),
    )
)
def test_ports_of_switches_are_read_as_they_were(port):
    folding = port_book.FOLDING
    assert folding.unfold(folding.fold(port), port.key) == port


NUMBERS = st.integers(0, 2**40)
VMS = st.builds(
    VirtualMachine,
    id=st.just("vm-1"),
    name=TEXTS,
    host=st.none() | TEXTS,
    power=st.none() | st.sampled_from(["poweredOn", "poweredOff"]),
    connection=st.none() | TEXTS,
    instance_uuid=TEXTS,
    template=st.booleans(),
    heartbeat=st.none() | st.sampled_from(["green", "gray"]),
    ip_address=TEXTS,
    nics=st.lists(
        st.builds(
            Nic,
            key=st.integers(-(2**31), 2**31 - 1),
            mac=TEXTS,
            kind=TEXTS,
            unit=st.none() | st.integers(0, 99),
            connected=st.booleans(),
            network=st.none() | TEXTS,
            dvs_uuid=TEXTS,
            port_key=TEXTS,
        ),
        max_size=2,
    ).map(tuple),
    managed_by=TEXTS,
    resource_pool=st.none() | TEXTS,
    cpu_mhz_reserved=NUMBERS,
    memory_mb=NUMBERS,
    memory_mb_reserved=NUMBERS,
    snapshots=st.lists(TEXTS, max_size=2).map(tuple),
)


@given(VMS, VMS)
def test_vms_are_read_as_they_were(first, second):
    one, other = folded_vms(), folded_vms()
    one[first.id], other[second.id] = first, second
    assert one[first.id] == first
    assert one.same(first.id, other) == (first == second) == one.same(first.id, {second.id: second})
    assert not one.same(first.id, {})
    assert list(one) == [first.id]
    assert one.pop(first.id) == first
    assert len(one) == 0


@given(st.lists(st.builds(PortRecord, PORTS, UUIDS, TEXTS, TEXTS, st.lists(PLUGS, max_size=2).map(tuple)), max_size=2))
def test_records_are_read_as_they_were(records):
    assert ledger.FOLDING.unfold_all(ledger.FOLDING.fold_all(records)) == tuple(records)


@given(
    st.lists(
        st.builds(PortState, PORTS, TEXTS, TEXTS, st.datetimes(timezones=st.just(UTC)), TEXTS, st.none() | TEXTS),
        max_size=2,
    )
)
def test_states_are_read_as_they_were(states):
    assert port_states.FOLDING.unfold_all(port_states.FOLDING.fold_all(states)) == tuple(states)


@given(st.lists(st.tuples(SOME, st.lists(st.sampled_from(["ACTIVE", "ERROR"]), max_size=3)), max_size=6))
def test_ports_are_counted_as_they_come_and_go(passes):
    states, now = port_states.PortStates(), datetime(2026, 1, 1, tzinfo=UTC)
    for vm, found in passes:
        states.put(vm, [PortState(PortId(vm, nic), state, "", now, "web", "host-1") for nic, state in enumerate(found)])
    assert +states.counts == Counter(state.state for state in states)


def test_a_folded_sequence_is_a_sequence():
    ports = [DvPort("dvs-1", str(number), "dvportgroup-1") for number in range(4)]
    folding = Folding(DvPort)
    folded = FoldedSequence(folding, [folding.fold(port) for port in ports])
    assert list(folded) == ports
    assert list(folded[1:3]) == ports[1:3]
    assert folded[-1] == ports[-1]
    assert len(folded) == 4


@given(PORTS)
def test_a_port_and_its_number(port):
    assert PortId.numbered(port.number) == port


@dataclass(frozen=True)
class Moment:
    what: object


def test_a_type_that_nobody_knows_how_to_fold_is_refused():
    with pytest.raises(TypeError, match="Moment has a field of type <class 'object'>"):
        Folding(Moment)


def test_addresses_of_an_interface_are_found_among_all():
    snapshot = Snapshot(["instance-ip"], wanted=lambda _value: True)
    vmi, other = UUID(int=7), UUID(int=8)
    for number, vmis in ((1, (vmi,)), (2, (other,)), (3, (other, vmi)), (4, ())):
        value = InstanceIp(UUID(int=number), str(number), ip_address("10.0.0.1"), vmis=vmis)
        snapshot.fold(ContrailChange(None, value))
    assert {value.uuid.int for value in snapshot.mentioning("instance-ip", vmi)} == {1, 3}
