"""Every test starts its own scene inside the test, on the test's virtual time."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scenarios"), str(HERE.parent / "contrailvm")]

from rollout_scene import RolloutScene  # noqa: E402 - found beside this file


@pytest.fixture
def scene(tmp_path):
    """``async with scene(hosts=4) as lab``: 1.0.0 runs everywhere, 1.1.0 and others are published."""
    return lambda **options: RolloutScene(tmp_path, **options)
