"""The demo as a person starts it: it tells its story, says why when it cannot, and leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")]

DEMO = [sys.executable, "-m", "contrail_vsphere.cli.main", "demo"]


@pytest.fixture
def start(tmp_path):
    """Starts the demo with its temporary files under ``tmp_path``."""

    def begin(*arguments):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        return subprocess.Popen(
            [*DEMO, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # Who starts the tests in the background may have them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return begin


def children(directory: Path) -> list[int]:
    """Processes whose command line or temporary directory leads to ``directory``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in words:
                found.append(int(entry.name))
    return found


def wait_until(holds, *, within):
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_whole_story(start, tmp_path):
    with start("--once", "--hosts", "4", "--json", "--timeout", "240") as process:
        out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["hosts"] == summary["agents_green"] == summary["agents_total"] == 4
    assert summary["healed"] == 2
    assert 0 < summary["first_green_seconds"] < summary["seconds"]
    assert summary["vcenter_calls"] > 50
    assert (summary["networks"], summary["ports_active"], summary["vlan_conflicts"]) == (3, 8, 0)
    assert (summary["upgraded_to"], summary["rolled_back"]) == ("1.1.0", "1.2.0")
    assert 1 <= summary["most_dark"] <= 2
    assert summary["moves"] >= 4
    assert summary["contrail_calls"] > 8 * 4
    assert summary["vrouter_calls"] >= 8
    assert 0 < summary["plug_ms_p50"] <= summary["plug_ms_p99"]
    assert len(summary["steps"]) == err.count("✓") >= 10
    assert err.splitlines()[0].startswith("Simulated: vCenter")
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_not_converged_in_time(start, tmp_path):
    with start("--once", "--hosts", "4", "--json", "--timeout", "5") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    last = err.splitlines()[-1]
    assert re.fullmatch(r"error: not within 5 s: .+ \(a longer --timeout may help\)", last)
    assert children(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted(start, tmp_path, number):
    with start("--once", "--hosts", "3") as process:
        wait_until(lambda: len(children(tmp_path)) > 1, within=30)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted"
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_no_child_outlives_a_killed_demo(start, tmp_path):
    with start("--once", "--hosts", "3") as process:
        wait_until(lambda: len(children(tmp_path)) > 1, within=30)
        process.kill()
        process.communicate(timeout=30)
    wait_until(lambda: not children(tmp_path), within=30)
