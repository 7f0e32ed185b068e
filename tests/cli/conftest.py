"""What the tests of commands stand on: an operator's desk, and a vCenter for all of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from operators_desk import Desk, SimulatorThread


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """``run`` sets up logging for its process; here the process goes on."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def vcenter_thread() -> Iterator[SimulatorThread]:
    running = SimulatorThread()
    yield running
    running.close()


@pytest.fixture
def desk(
    tmp_path: Path,
    vcenter_thread: SimulatorThread,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """In the operator's own directory, with the settings file of the default name there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    made = Desk(tmp_path, vcenter_thread, capsys)
    made.settings()
    return made


@pytest.fixture
def untouched(desk: Desk) -> Iterator[None]:
    """After the test nothing is half-made: no data directory, and vCenter as it was."""
    before = desk.vcenter.facts()
    yield
    assert not desk.data.exists()
    assert desk.vcenter.facts() == before
