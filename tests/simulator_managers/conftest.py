import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulator"))


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 3, "verify_fragments": True, "guests": False}
