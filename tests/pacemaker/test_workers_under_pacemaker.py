"""Workers under a real Pacemaker of two and three nodes: killed, cut off, no quorum; nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cluster import PROGRAMS
from real_process import missing, needs

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("neutron")]
HERE = Path(__file__).parent


@pytest.fixture
def home(tmp_path):
    """Where nodes have their files: not in /dev/shm, of which each has one of its own."""
    if not tmp_path.is_relative_to("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="pacemaker-", dir="/var/tmp") as made:
        yield Path(made)


def told(home: Path, config: pytest.Config, nodes: str, tool: str, *chapters: str) -> dict:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    needs(*PROGRAMS, "mariadbd", str(Path(sys.prefix) / "bin/uwsgi"))
    if not Path("/usr/lib/ocf/lib/heartbeat/ocf-shellfuncs").exists():
        missing("resource-agents")
    done = subprocess.run(
        [sys.executable, str(HERE / "ha_scenario.py"), str(home), nodes, tool, *chapters], capture_output=True,
        text=True, timeout=900, check=False,
        env={**os.environ, "KEPT": str(config.cache.mkdir("neutron")), "TMPDIR": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_nodes_one_dies(home, pytestconfig):
    seen = told(home, pytestconfig, "ab", "crmsh", "kill_node")
    assert seen["spread"]
    assert seen["kill_node"] == {"moved": True, "fenced": True, "other_undisturbed": True}
    assert seen["networks"] == 2


@pytest.mark.soak
@pytest.mark.parametrize("tool", ["crmsh", "pcs"])
def test_two_nodes_whole(home, pytestconfig, tool):
    seen = told(home, pytestconfig, "ab", tool, "kill_worker", "upgrade", "vcenter_away", "kill_node", "rejoin", "cut")
    assert seen["spread"]
    assert seen["kill_worker"] == {"new_pid": True, "other_undisturbed": True}
    # Both are restarted by the first round, and run the newer code then; none by the second.
    assert seen["upgrade"] == [["vC1", "vC2"], []]
    assert seen["vcenter_away"] == {"undisturbed": True}
    assert seen["kill_node"] == {"moved": True, "fenced": True, "other_undisturbed": True}
    assert seen["cut"] == {"fenced": ["b"], "started_alone": []}


@pytest.mark.soak
def test_three_nodes_and_the_loss_of_quorum(home, pytestconfig):
    seen = told(home, pytestconfig, "abc", "crmsh", "kill_worker", "kill_node", "rejoin", "cut", "quorum")
    assert seen["kill_node"]["moved"]
    assert seen["cut"]["started_alone"] == []
    assert seen["quorum"] == {"stopped": True}
