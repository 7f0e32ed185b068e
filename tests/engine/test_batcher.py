"""Batches by size, age and quiet, in virtual time; whatever happens, every item gets exactly one answer."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.model.errors import TransientError, Unreachable

pytestmark = pytest.mark.looptime


def loop_time():
    return asyncio.get_running_loop().time()


class Flushes:
    """A flush that records, takes ``seconds`` and answers each value doubled."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.seen = []

    async def __call__(self, group, values):
        self.seen.append((loop_time(), group, values))
        await asyncio.sleep(self.seconds)
        return [value if isinstance(value, Exception) else value * 2 for value in values]


async def gather(batcher, values, group="g"):
    return await asyncio.gather(*(batcher.submit(group, value) for value in values), return_exceptions=True)


async def test_items_of_one_moment_go_together_and_each_gets_its_own_answer():
    flush = Flushes()
    wrong = Unreachable("only this one")
    results = await gather(Batcher(flush, size=10, age=5, idle=1), [1, wrong, 3])
    assert results == [2, wrong, 6]
    assert flush.seen == [(pytest.approx(1), "g", (1, wrong, 3))]


async def test_a_full_batch_goes_at_once_and_the_rest_follows_after_it():
    flush = Flushes(seconds=10)
    results = await gather(Batcher(flush, size=3, age=5, idle=1), [1, 2, 3, 4])
    assert results == [2, 4, 6, 8]
    assert [(round(at), len(values)) for at, _, values in flush.seen] == [(0, 3), (10, 1)]


async def test_a_steady_trickle_goes_when_its_oldest_item_is_old_enough():
    flush = Flushes()
    batcher = Batcher(flush, size=100, age=5, idle=2)
    tasks = []
    for value in range(8):
        tasks.append(asyncio.create_task(batcher.submit("g", value)))
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    assert [(round(at), values) for at, _, values in flush.seen] == [(5, (0, 1, 2, 3, 4)), (9, (5, 6, 7))]


async def test_one_that_is_in_a_hurry_takes_along_what_waits_and_no_more():
    flush = Flushes()
    batcher = Batcher(flush, size=2, age=5, idle=5)
    tasks = [asyncio.create_task(batcher.submit("g", 1))]
    await asyncio.sleep(1)
    tasks += [asyncio.create_task(batcher.submit("g", value, at_once=value == 3)) for value in (2, 3)]
    await asyncio.sleep(1)
    tasks.append(asyncio.create_task(batcher.submit("g", 4)))
    await asyncio.gather(*tasks)
    assert [(round(at), values) for at, _, values in flush.seen] == [(1, (1, 2)), (1, (3,)), (7, (4,))]


async def test_groups_do_not_wait_for_each_other():
    flush = Flushes(seconds=10)
    batcher = Batcher(flush, size=1, age=1, idle=1)
    await asyncio.gather(batcher.submit("a", 1), batcher.submit("b", 1))
    assert loop_time() == pytest.approx(10)


async def test_a_failed_flush_fails_all_its_items_and_no_other():
    async def flush(group, values):
        if 1 in values:
            raise Unreachable("gone")
        return values

    batcher = Batcher(flush, size=2, age=1, idle=1)
    results = await gather(batcher, [1, 2, 3])
    assert [str(result) for result in results] == ["gone", "gone", "3"]
    assert batcher.counters.failures == 2


async def test_a_flush_that_answers_too_few_is_an_error_not_a_hang():
    async def flush(group, values):
        return []

    with pytest.raises(RuntimeError, match="answered 0 of 1"):
        await Batcher(flush, size=2, age=1, idle=1).submit("g", 1)


async def test_a_cancelled_submitter_withdraws_what_was_not_sent_and_harms_nobody():
    flush = Flushes(seconds=10)
    batcher = Batcher(flush, size=10, age=5, idle=5)
    first, second = (asyncio.create_task(batcher.submit("g", value)) for value in (1, 2))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == 4
    assert flush.seen[0][2] == (2,)


async def test_a_cancelled_submitter_does_not_stop_a_flush_that_took_its_item():
    flush = Flushes(seconds=10)
    batcher = Batcher(flush, size=2, age=5, idle=5)
    first, second = (asyncio.create_task(batcher.submit("g", value)) for value in (1, 2))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == 4
    assert flush.seen[0][2] == (1, 2)


async def test_close_sends_what_waits():
    flush = Flushes(seconds=1)
    batcher = Batcher(flush, size=2, age=500, idle=500)
    tasks = [asyncio.create_task(batcher.submit("g", value)) for value in range(5)]
    await asyncio.sleep(0)
    await batcher.close(deadline=10)
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
    assert loop_time() == pytest.approx(3)
    with pytest.raises(TransientError, match="nothing was sent"):
        await batcher.submit("g", 1)


async def test_close_cuts_off_after_its_deadline_and_says_what_is_unknown():
    batcher = Batcher(Flushes(seconds=100), size=1, age=1, idle=1)
    tasks = [asyncio.create_task(batcher.submit("g", value)) for value in range(2)]
    await asyncio.sleep(1)
    await batcher.close(deadline=5)
    taken, waiting = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(taken, TransientError)
    assert "not known" in str(taken)
    assert "not sent" in str(waiting)
    assert loop_time() == pytest.approx(6)


SUBMISSIONS = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from("ab"), st.booleans(), st.none() | st.floats(0, 6)), max_size=40
)


@given(SUBMISSIONS, st.integers(1, 5), st.floats(0, 4), st.floats(0, 4), st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_every_item_is_flushed_at_most_once_and_answered(virtually, steps, size, age, idle, seconds):
    async def walk():
        in_flight, flushed = Counter(), Counter()

        async def flush(group, values):
            in_flight[group] += 1
            assert in_flight[group] == 1
            assert 1 <= len(values) <= size
            flushed.update(values)
            await asyncio.sleep(seconds)
            in_flight[group] -= 1
            return [Unreachable("x") if steps[value][2] else value for value in values]

        batcher = Batcher(flush, size=size, age=age, idle=idle)
        tasks = {}
        for number, (pause, group, _, patience) in enumerate(steps):
            await asyncio.sleep(pause)
            tasks[number] = asyncio.create_task(batcher.submit(group, number))
            if patience is not None:
                asyncio.get_running_loop().call_later(patience, tasks[number].cancel)
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, asyncio.CancelledError):
                assert steps[number][3] is not None
                assert flushed[number] <= 1
            else:
                assert flushed[number] == 1
                assert isinstance(result, Unreachable) if steps[number][2] else result == number
        await batcher.close()
        assert batcher.waiting == 0
        assert not batcher._groups

    virtually(walk())
