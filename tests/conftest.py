"""Shared by all tests: virtual time for those marked ``looptime``, and the switch for the long form."""

import os

import pytest

SOAK = bool(os.environ.get("CONTRAIL_VSPHERE_SOAK"))



def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long form: make soak"))
