"""What the demo and the benchmark start beside them ends with them, however they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
STORY = """
import asyncio, sys
from pathlib import Path
from contrail_vsphere.demo.neutron_lab import NeutronLab

async def main():
    async with NeutronLab(Path(sys.argv[1])) as lab:
        child = await lab._spawn("sleep", "60", log="sleep")
        print(child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def runs(pid: int) -> bool:
    """A process that ended and that nobody has asked about is not running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_neutrons_lab_started_ends_when_the_lab_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", STORY, tmp_path], stdout=subprocess.PIPE, text=True) as story:
        child = int(story.stdout.readline())
        assert runs(child)
        story.kill()
    deadline = time.monotonic() + 10
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        assert not runs(child)
    finally:
        if runs(child):
            os.kill(child, 9)
