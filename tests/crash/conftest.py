"""The rig's modules, importable, and one prepared data directory per session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from crash_rig import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an operator makes before the first start and what takes long: CA, identities, packages 1.0.0 and 1.0.1."""
    return prepare(tmp_path_factory.mktemp("prepared"))
