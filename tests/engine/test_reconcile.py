"""Controllers in virtual time: coalescing, requeues, backoff by kind of error, health, stopping."""

import asyncio
import itertools
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.reconcile import Controller, Done, RequeueAfter, all_idle
from contrail_vsphere.model.errors import BrakeEngaged, NoPermission, Unreachable

pytestmark = pytest.mark.looptime

START = datetime(2026, 1, 1, tzinfo=UTC)
FLAT = Backoff(first=1, most=1, jitter=0)
SLOW = Backoff(first=100, most=100, jitter=0)


def loop_time():
    return asyncio.get_running_loop().time()


def now():
    return START + timedelta(seconds=loop_time())


def controller(reconcile, **options):
    options = {"backoff": FLAT, "refused": SLOW} | options
    return Controller("test", reconcile, health=HealthBook(now), random=Random(0), **options)


def health(subject, key):
    return subject._health.get("test", key)


async def test_marks_before_and_during_a_pass_coalesce():
    passes = []

    async def reconcile(key):
        passes.append(key)
        if len(passes) == 1:
            for _ in range(10):
                subject.mark(key)
        await asyncio.sleep(5)
        return Done()

    subject = controller(reconcile)
    for _ in range(10):
        subject.mark("a")
    subject.start()
    await subject.idle()
    assert passes == ["a", "a"]
    assert subject.counters.coalesced == 18
    assert loop_time() == pytest.approx(10)
    assert health(subject, "a").state == "ok"


async def test_requeue_runs_again_then_and_a_mark_runs_it_earlier():
    times = []

    async def reconcile(key):
        times.append(loop_time())
        return RequeueAfter(30, "waiting for the host") if len(times) < 3 else Done()

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await subject.idle()
    assert (health(subject, "a").state, health(subject, "a").reason) == ("waiting", "waiting for the host")
    assert health(subject, "a").next_try == now() + timedelta(seconds=30)
    await asyncio.sleep(10)
    subject.mark("a")
    await asyncio.sleep(100)
    assert times == pytest.approx([0, 10, 40])
    assert subject.depth == 0


@pytest.mark.parametrize(
    ("error", "state", "gap"),
    [
        (Unreachable("gone"), "failing", 1),
        (TimeoutError(), "failing", 1),
        (NoPermission("no", hint="grant it"), "refused", 100),
        (BrakeEngaged("stop"), "refused", 100),
        (KeyError("bug"), "broken", 1),
    ],
)
async def test_the_kind_of_error_decides_when_it_is_tried_again(error, state, gap, caplog):
    times = []

    async def reconcile(key):
        times.append(loop_time())
        if len(times) < 3:
            raise error
        return Done()

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await subject.idle()
    entry = health(subject, "a")
    assert (entry.state, entry.attempts, entry.since) == (state, 1, START)
    assert entry.next_try == START + timedelta(seconds=gap)
    await asyncio.sleep(gap * 1.5)
    entry = health(subject, "a")
    assert (entry.attempts, entry.since) == (2, START)
    await asyncio.sleep(gap)
    assert times == pytest.approx([0, gap, 2 * gap])
    assert health(subject, "a").state == "ok"
    assert health(subject, "a").attempts == 0
    traced = [record for record in caplog.records if record.exc_info and record.levelno == logging.ERROR]
    assert len(traced) == (2 if state == "broken" else 0)


async def test_a_failing_key_that_marks_itself_does_not_spin():
    times = []

    async def reconcile(key):
        times.append(loop_time())
        subject.mark(key)
        raise NoPermission("no")

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(10.5)
    assert len(times) <= 12
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times))
    await subject.stop()


async def test_what_a_key_does_not_bring_about_itself_need_not_wait_for_its_last_failure():
    times = []

    async def reconcile(key):
        times.append(loop_time())
        raise NoPermission("no")

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(0.25)
    subject.mark("a")
    subject.hasten("a")
    await asyncio.sleep(0.5)
    assert times == pytest.approx([0, 0.25])
    assert health(subject, "a").attempts == 2, "it fails as before"
    await subject.stop()


async def test_a_person_can_have_it_tried_at_once():
    times = []

    async def reconcile(key):
        times.append(loop_time())
        raise NoPermission("no")

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(0.5)
    subject.retry("a")
    await asyncio.sleep(0.1)
    assert times == pytest.approx([0, 0.5])
    assert health(subject, "a").attempts == 1


async def test_a_forgotten_key_leaves_nothing_behind_even_while_it_runs():
    async def reconcile(key):
        await asyncio.sleep(5)
        return RequeueAfter(1)

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(1)
    subject.forget("a")
    await asyncio.sleep(60)
    assert subject.counters.passes == 1
    assert health(subject, "a") is None
    assert subject.depth == 0
    subject.mark("a")
    await asyncio.sleep(1)
    assert subject.counters.passes == 2
    await subject.stop()


async def test_a_pass_that_hangs_is_ended_by_its_deadline():
    async def reconcile(key):
        await asyncio.Event().wait()

    subject = controller(reconcile, deadline=7)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(7.5)
    assert health(subject, "a").reason == "the deadline passed"
    assert subject.counters.transient == 1
    await subject.stop(deadline=0)


async def test_what_a_pass_awaits_being_cancelled_is_a_failure_and_not_the_end_of_the_key():
    passes = 0

    async def reconcile(key):
        nonlocal passes
        passes += 1
        if passes == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return Done()

    subject = controller(reconcile)
    subject.start()
    subject.mark("a")
    await asyncio.sleep(2)
    assert passes == 2
    assert health(subject, "a").state == "ok"


async def test_stop_waits_for_its_deadline_then_cuts_off_and_can_start_again():
    finished = []

    async def reconcile(key):
        await asyncio.sleep(5 if key == "quick" else 1000)
        finished.append(key)
        return Done()

    subject = controller(reconcile)
    subject.start()
    for key in ("quick", "slow"):
        subject.mark(key)
    await asyncio.sleep(1)
    subject.mark("quick")
    assert await subject.stop(deadline=10) == ("slow",)
    assert finished == ["quick"]
    assert loop_time() == pytest.approx(11)
    await asyncio.sleep(5000)
    assert finished == ["quick"]
    subject.start()
    await asyncio.sleep(1100)
    assert sorted(finished) == ["quick", "quick", "slow"]


async def test_concurrency_is_bounded():
    running, peak = 0, 0

    async def reconcile(key):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(1)
        running -= 1
        return Done()

    subject = controller(reconcile, concurrency=3)
    subject.start()
    for key in range(10):
        subject.mark(key)
    await subject.idle()
    assert peak == 3
    assert loop_time() == pytest.approx(4)


async def test_idle_of_several_waits_for_what_they_mark_in_each_other():
    seen = []

    async def first(key):
        await asyncio.sleep(1)
        seen.append(("first", key))
        if key < 3:
            second_one.mark(key + 1)
        return Done()

    async def second(key):
        await asyncio.sleep(1)
        seen.append(("second", key))
        first_one.mark(key)
        return Done()

    first_one, second_one = controller(first), controller(second)
    first_one.start()
    second_one.start()
    first_one.mark(0)
    await all_idle(first_one, second_one)
    assert seen[-1] == ("first", 3)


STEPS = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.sampled_from("abc"),
        st.sampled_from(["done", "requeue", "transient", "refused", "bug"]),
        st.floats(0, 3),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([None, 1, 2]))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_every_mark_is_answered_by_a_later_pass(virtually, steps, concurrency):
    """One key never overlaps itself, and after the last mark of a key a pass starts that sees it."""
    errors = {"transient": Unreachable("x"), "refused": NoPermission("x"), "bug": ValueError("x")}

    async def walk():
        script = {key: [step for step in steps if step[1] == key] for key in "abc"}
        running = Counter()
        last_mark, last_start = {}, {}

        async def reconcile(key):
            running[key] += 1
            assert running[key] == 1
            assert concurrency is None or running.total() <= concurrency
            last_start[key] = loop_time()
            _, _, kind, duration = script[key].pop() if script[key] else (0, key, "done", 0)
            await asyncio.sleep(duration)
            running[key] -= 1
            if kind in errors:
                raise errors[kind]
            return RequeueAfter(2) if kind == "requeue" else Done()

        subject = controller(reconcile, concurrency=concurrency)
        subject.start()
        for pause, key, _, _ in steps:
            await asyncio.sleep(pause)
            subject.mark(key)
            last_mark[key] = loop_time()
        await asyncio.sleep(100 * (len(steps) + 2))
        assert not running.total()
        assert subject.depth == 0
        assert all(last_start[key] >= at for key, at in last_mark.items())
        assert not subject._health.bad()

    logging.disable(logging.CRITICAL)
    try:
        virtually(walk())
    finally:
        logging.disable(logging.NOTSET)
