import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def vcenter_options():
    return {"hosts": 3, "vms": 250, "verify_fragments": True, "guests": False}
