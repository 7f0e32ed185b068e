from __future__ import annotations

import pytest
from dvs_lab import Lab


@pytest.fixture
async def lab():
    return Lab(hosts=3, clusters=1, vms=6)
