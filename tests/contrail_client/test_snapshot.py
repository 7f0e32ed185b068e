"""Readings that overtake each other never leave the snapshot behind the world once all is quiet."""

from contextlib import ExitStack
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.contrail.snapshot import Snapshot
from contrail_vsphere.contrail.values import READINGS, subnets_of
from contrail_vsphere.model.contrail import ContrailChange, ContrailVm
from contrail_vsphere.model.errors import ProtocolError

KIND = "virtual-machine"
IDS = [UUID(int=number) for number in range(1, 5)]


def row(uuid, name):
    return {"uuid": str(uuid), "fq_name": [str(uuid)], "display_name": name}


def value(uuid, name):
    return READINGS[KIND].read(row(uuid, name))


class World:
    """A server whose answers are made when asked and arrive when the test says so."""

    def __init__(self):
        self.names = {}
        self.marks = set()
        self.snapshot = Snapshot([KIND], wanted=lambda _value: True)
        self.seen = {}
        self.snapshot.subscribe(self.heard)

    def heard(self, change: ContrailChange):
        """Subscribers can rebuild everything from changes alone."""
        uuid = (change.after or change.before).uuid
        assert self.seen.get(uuid) == change.before
        if change.after is None:
            del self.seen[uuid]
        else:
            self.seen[uuid] = change.after

    def change(self, uuid, name, *, ours):
        before = self.names.get(uuid)
        if name is None:
            self.names.pop(uuid, None)
        else:
            self.names[uuid] = name
        if ours and (name is not None or before is not None):
            after = None if name is None else value(uuid, name)
            self.snapshot.fold(ContrailChange(None if before is None else value(uuid, before), after))
        self.marks.add(uuid)  # every change has its notification

    def ask(self, stack, uuids):
        """Send a reading (None: of everything); returns how its answer is taken in."""
        number = stack.enter_context(self.snapshot.reading())
        if uuids is not None:
            self.marks -= set(uuids)
        answer = [row(uuid, name) for uuid, name in self.names.items() if uuids is None or uuid in uuids]

        def arrive():
            seen = self.snapshot.take(KIND, answer, number=number)
            if uuids is None:
                self.snapshot.sweep(KIND, seen, number=number)
            else:
                self.snapshot.gone(KIND, [uuid for uuid in uuids if uuid not in seen], number=number)

        return arrive


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(IDS), st.none() | st.sampled_from("abc"), st.booleans()),
        st.tuples(st.just("ask"), st.none() | st.lists(st.sampled_from(IDS), min_size=1, unique=True)),
        st.tuples(st.just("arrive"), st.integers(0, 5)),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_snapshot_ends_where_the_world_is(steps):
    world, under_way = World(), []
    for verb, *arguments in steps:
        match verb:
            case "change":
                uuid, name, ours = arguments
                world.change(uuid, name, ours=ours)
            case "ask":
                stack = ExitStack()
                under_way.append((stack, world.ask(stack, arguments[0])))
            case "arrive" if under_way:
                stack, arrive = under_way.pop(arguments[0] % len(under_way))
                arrive()
                stack.close()
    with ExitStack() as stack:  # what was marked is read again, while old answers are still on their way
        arrive = world.ask(stack, sorted(world.marks) or IDS)
        arrive()
        for old, late in under_way:
            late()
            old.close()
    assert {uuid: one.display_name for uuid, one in world.snapshot.of(KIND).items()} == world.names
    assert world.seen == dict(world.snapshot.of(KIND))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(READINGS)), st.data())
def test_no_answer_breaks_the_reader(kind, data):
    reading = READINGS[kind]
    fields = {name: data.draw(JSON) for name in data.draw(st.lists(st.sampled_from(reading.fields), max_size=4))}
    base = {"uuid": str(IDS[0]), "fq_name": ["a", "b", "c"], "parent_uuid": str(IDS[1])}
    try:
        assert reading.read({**base, **fields}).uuid == IDS[0]
    except ProtocolError as error:
        assert kind in str(error)


def test_an_object_that_cannot_be_read_is_kept_as_it_was_and_named():
    snapshot = Snapshot([KIND], wanted=lambda _value: True)
    with snapshot.reading() as number:
        snapshot.take(KIND, [row(IDS[0], "a")], number=number)
    with snapshot.reading() as number:
        seen = snapshot.take(KIND, [{**row(IDS[0], "a"), "display_name": 7}], number=number)
        snapshot.sweep(KIND, seen, number=number)
    assert isinstance(snapshot.of(KIND)[IDS[0]], ContrailVm)
    assert str(IDS[0]) in snapshot.unreadable[IDS[0]]


def test_a_subnet_without_gateway_and_one_with_host_bits():
    plain = {"subnet": {"ip_prefix": "10.0.0.7", "ip_prefix_len": 24}, "default_gateway": "0.0.0.0"}
    flat = {"subnet": None, "subnet_uuid": "x"}
    (subnet,) = subnets_of({"ipam_subnets": [plain, flat]})
    assert str(subnet.prefix) == "10.0.0.0/24"
    assert subnet.gateway is None
