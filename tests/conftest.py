"""Shared by all tests: virtual time for those marked ``looptime``, real servers, and the switch for the long form."""

import asyncio
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long form: make soak"))
