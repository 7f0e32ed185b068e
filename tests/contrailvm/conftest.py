"""A stand to start inside the test: timers of a fixture would belong to another time than the test's virtual one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand


@pytest.fixture
def make_stand(tmp_path: Path) -> Callable[..., Stand]:
    """``async with make_stand(hosts=4) as stand``: simulated vCenter and manager, registered, nothing deployed."""
    return lambda **options: Stand(tmp_path, **options)
