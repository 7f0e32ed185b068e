"""Delays grow, stay within their bounds, and never overflow."""

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.engine.backoff import QUICK, Backoff

POLICIES = st.builds(
    lambda first, span, factor, jitter: Backoff(first=first, most=first * span, factor=factor, jitter=jitter),
    first=st.floats(0.01, 100),
    span=st.floats(1, 1e6),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 0.9),
)


@given(POLICIES, st.integers(1, 10**6), st.integers())
def test_a_delay_stays_within_its_bounds(policy, attempt, seed):
    delay = policy.delay(attempt, Random(seed))
    assert policy.first * (1 - policy.jitter) * 0.999 <= delay <= policy.most


@given(POLICIES)
def test_without_jitter_delays_never_shrink(policy):
    steady = Backoff(first=policy.first, most=policy.most, factor=policy.factor, jitter=0)
    delays = [steady.delay(attempt, Random(0)) for attempt in range(1, 60)]
    assert all(earlier <= later * 1.000001 for earlier, later in itertools.pairwise(delays))


def test_doubling():
    policy = Backoff(first=1, most=10, jitter=0)
    assert [round(policy.delay(attempt, Random(0)), 6) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(
    "wrong", [{"first": 0, "most": 1}, {"first": 2, "most": 1}, {"first": 1, "most": 2, "factor": 0.5}]
)
def test_a_policy_that_would_spin_is_refused(wrong):
    with pytest.raises(ValueError, match="not a backoff"):
        Backoff(**wrong)


def test_attempts_count_from_one():
    with pytest.raises(ValueError, match="from 1"):
        QUICK.delay(0, Random(0))
