"""Whatever way a run ends, nothing that it started goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="Linux hands orphans on")]

LEASH = Path(__file__).parent / "leash.py"
LEAVES_SOMEBODY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {deaf!r} + "print(1, flush=True); import time; time.sleep(600)"],
                         stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
try:
    print(child.pid, flush=True)  # whoever reads this may tell it to end at once
    time.sleep({stays})
except KeyboardInterrupt:
    sys.exit(7)
sys.exit(3)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def leashed(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(LEASH), sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@pytest.mark.parametrize("deaf", ["", DEAF])
def test_who_is_left_ends_and_the_commands_word_is_kept(deaf: str) -> None:
    with leashed(LEAVES_SOMEBODY.format(deaf=deaf, stays=0)) as run:
        said, complaint = run.communicate(timeout=60)
    assert run.returncode == 3
    assert "1 processes that were left: python" in complaint
    assert not Path(f"/proc/{said.strip()}").exists()


def test_an_order_to_end_lets_the_command_end_itself() -> None:
    with leashed(LEAVES_SOMEBODY.format(deaf="", stays=600)) as run:
        assert run.stdout is not None
        left = run.stdout.readline().strip()
        run.terminate()
        run.wait(60)
    assert run.returncode == 7
    assert not Path(f"/proc/{left}").exists()


def test_a_command_that_was_killed_leaves_nobody_either() -> None:
    with leashed(LEAVES_SOMEBODY.format(deaf="", stays=600)) as run:
        assert run.stdout is not None
        left = run.stdout.readline().strip()
        command = Path(f"/proc/{left}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(command), signal.SIGKILL)
        run.wait(60)
    assert run.returncode == 128 + signal.SIGKILL
    assert not Path(f"/proc/{left}").exists()


def test_who_leaves_nobody_is_not_spoken_of() -> None:
    with leashed("import sys; sys.exit(5)") as run:
        assert run.communicate(timeout=60) == ("", "")
    assert run.returncode == 5
