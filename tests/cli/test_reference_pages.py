"""The committed reference is what the code says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Made by a process of its own: tests define simulated classes too."""
    directory = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-m", "contrail_vsphere.cli.reference", directory], check=True, timeout=60)
    return {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}


def test_no_page_is_missing_or_left_over(fresh):
    assert {path.name for path in REFERENCE.iterdir()} == set(fresh)


def test_the_pages_are_up_to_date(fresh):
    stale = [name for name, text in fresh.items() if (REFERENCE / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run `make docs` and commit: {', '.join(stale)}"


def test_every_command_has_its_place(fresh):
    for command in ("demo", "simulate control vm power", "contrailvm package build", "config show"):
        assert f"## `contrail-vsphere {command}" in fresh["commands.md"]
