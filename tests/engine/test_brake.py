"""The deletion brake: lets ordinary deletions through, stops mass deletion until a person says so, across restarts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.engine.brake import KIND, RELEASES, DeletionBrake
from contrail_vsphere.engine.journal import Journal
from contrail_vsphere.model.errors import BrakeEngaged, InvalidState


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time

    def pass_(self, **span):
        self.time += timedelta(**span)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    with Journal(tmp_path / "journal.db", now=clock) as journal:
        yield journal


def brake(journal, clock, **options):
    return DeletionBrake("esx-agents", journal=journal, now=clock, **options)


def test_a_few_deletions_pass_also_in_a_small_population(journal, clock):
    subject = brake(journal, clock)
    subject.permit(["a", "b", "c"], population=4)
    assert not subject.state.engaged


def test_too_many_within_the_window_engage_it_and_spread_out_they_do_not(journal, clock):
    subject = brake(journal, clock)
    for number in range(20):
        subject.permit([f"h{number}"], population=10)
        clock.pass_(minutes=6)
    subject.permit(["x"], population=10)
    with pytest.raises(BrakeEngaged, match=r"4 of 10 would be deleted within 15 min, 3 are allowed.*release"):
        subject.permit(["y"], population=10)


def test_the_fraction_counts_in_a_large_population(journal, clock):
    subject = brake(journal, clock)
    subject.permit([str(number) for number in range(100)], population=1000)
    with pytest.raises(BrakeEngaged):
        subject.permit(["one more"], population=1000)


def test_asking_again_for_the_same_deletion_is_not_a_second_one(journal, clock):
    subject = brake(journal, clock, absolute=1)
    for _ in range(10):
        subject.permit(["a"], population=5)
    assert not subject.state.engaged


def test_while_engaged_nothing_passes_even_much_later_or_after_a_restart(journal, clock):
    with pytest.raises(BrakeEngaged):
        brake(journal, clock).permit("abcdef", population=6)
    clock.pass_(days=3)
    subject = brake(journal, clock)
    with pytest.raises(BrakeEngaged):
        subject.permit(["g"], population=100)
    assert subject.state.refused == tuple("abcdefg")
    assert subject.state.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_restart_does_not_reset_the_count(journal, clock):
    brake(journal, clock).permit("abc", population=10)
    with pytest.raises(BrakeEngaged):
        brake(journal, clock).permit("d", population=10)


def test_a_release_approves_exactly_what_was_refused_and_is_recorded(journal, clock):
    subject = brake(journal, clock)
    with pytest.raises(BrakeEngaged):
        subject.permit("abcdef", population=6)
    assert subject.release(by="anna", reason="cluster retired") == tuple("abcdef")
    subject = brake(journal, clock)
    subject.permit("abcdef", population=6)
    subject.permit("xyz", population=6)
    with pytest.raises(BrakeEngaged):
        subject.permit("w", population=6)
    record = journal.items(RELEASES)[0].value
    assert (record["by"], record["reason"], record["keys"]) == ("anna", "cluster retired", list("abcdef"))


def test_an_approval_does_not_last_for_ever(journal, clock):
    subject = brake(journal, clock)
    with pytest.raises(BrakeEngaged):
        subject.permit("abcdef", population=6)
    subject.release(by="anna")
    clock.pass_(hours=2)
    with pytest.raises(BrakeEngaged):
        subject.permit("abcdef", population=6)


def test_only_an_engaged_brake_can_be_released(journal, clock):
    with pytest.raises(InvalidState, match="not engaged"):
        brake(journal, clock).release(by="anna")


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=60),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(1, 40),
)
def test_never_more_than_the_limit_passes_within_any_window(asks, absolute, fraction, population):
    clock = Clock()
    subject = DeletionBrake("b", journal=NoJournal(), now=clock, absolute=absolute, fraction=fraction)
    passed = []
    for key, minutes in asks:
        clock.pass_(minutes=minutes)
        try:
            subject.permit([str(key)], population=population)
        except BrakeEngaged:
            assert subject.state.engaged
            break
        passed.append((clock(), key))
    for start, _ in passed:
        within = {key for at, key in passed if start <= at < start + timedelta(minutes=15)}
        # A key asked for again counts once per window, from its last ask.
        assert len(within) <= subject.limit(population)


class NoJournal:
    """Storage is not what that property is about."""

    def get(self, kind, key):
        assert kind == KIND

    def put(self, kind, key, value):
        return 1
