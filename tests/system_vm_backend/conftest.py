"""Every test starts its own scene inside the test, on the test's virtual time."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
sys.path[:0] = [str(HERE), *(str(TESTS / name) for name in ("rollout", "scenarios", "contrailvm"))]

from vlcm_scene import VlcmScene  # noqa: E402 - found beside this file


@pytest.fixture(params=["vc90", "vc91"])
def profile(request):
    return request.param


@pytest.fixture
def scene(tmp_path):
    """``async with scene(hosts=4) as lab``: a vCenter 9, its cluster under an image, 1.0.0 running as System VMs."""
    return lambda **options: VlcmScene(tmp_path, **options)
