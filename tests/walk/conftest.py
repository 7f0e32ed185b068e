"""Walks use the crash rig: the manager's service as ``run`` starts it, in virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "crash")]

from crash_rig import prepare  # noqa: E402 - found beside this directory


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CA, identities and packages 1.0.0 and 1.0.1, made once."""
    return prepare(tmp_path_factory.mktemp("prepared"))
