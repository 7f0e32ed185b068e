"""Every scenario starts its own scene inside the test, on the test's virtual time."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "contrailvm")]

from scene import Scene  # noqa: E402 - found beside this file


@pytest.fixture
def scene(tmp_path):
    """``async with scene(hosts=4) as lab``: deployed and quiet, unless ``deploy=False``."""
    return lambda **options: Scene(tmp_path, **options)
