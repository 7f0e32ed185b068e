"""Property-based tests run each example on a virtual-time loop of its own."""

import asyncio

import looptime
import pytest


@pytest.fixture(scope="session")
def virtually():
    def run(coroutine):
        # Not asyncio.Runner: it would take away the loop that pytest-asyncio has set.
        loop = looptime.new_event_loop(start=0)
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            assert not asyncio.all_tasks(loop)

    return run
