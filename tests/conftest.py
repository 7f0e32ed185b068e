"""Shared by all tests: virtual time for those marked ``looptime``, real servers, and the switch for the long form."""

import asyncio
import gc
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "real_parts"))
pytest_plugins = ("real_part_fixtures",)

SOAK = bool(os.environ.get("CONTRAIL_VSPHERE_SOAK"))


def pytest_configure(config: pytest.Config) -> None:
    # looptime asks the policy for its loop before every test; before a synchronous one that would make a loop that
    # nobody closes, and the warning about it fails the run.
    asyncio.set_event_loop(None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the garbage collector pass over what was there before the first test.

    Looking through all of it took half a second at every full collection, and tests of foreign clients order one each.
    """
    gc.collect()
    gc.freeze()
    # A simulated world is thousands of objects that live as long as their test: the default looks every 700.
    gc.set_threshold(10_000)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _keep_groups_together(config, items)
    if SOAK:
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long form: make soak"))


def _keep_groups_together(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let ``xdist_group`` count: xdist 3.8 writes the group where pytest 9.2 does not look any more.

    Without it every worker starts a RabbitMQ, a Neutron and a server lab of its own.
    """
    if config.getoption("loadgroup", default=False):
        for item in items:
            grouped = item.__dict__.get("_nodeid")
            if grouped is not None and grouped != item.nodeid:
                item._id = item.id.parse(grouped)
