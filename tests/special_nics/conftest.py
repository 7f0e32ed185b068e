"""Stands whose hosts have PCI devices and SR-IOV adapters."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("scenarios", "contrailvm"))]

from scene import Scene  # noqa: E402 - found by the path above


@pytest.fixture
def scene(tmp_path):
    return lambda **options: Scene(tmp_path, **options)
