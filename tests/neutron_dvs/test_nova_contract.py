"""What nova 34 makes of our vif_details: its own code, in a process of its own, and no vCenter to ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contrail_vsphere.ml2.driver.binding import vif_details
from contrail_vsphere.ml2.tables.groups import KnownGroup

ROOT = Path(__file__).parents[2]
NOVA = ROOT / ".tools/nova"
GROUP = KnownGroup("vC1", "dvs0", "segment", "network", "50 2c 1a aa-bb", "dvportgroup-7", "os-network")

ASK_NOVA = """
import json, sys
from unittest import mock
from nova.network import model
from nova.virt.vmwareapi import vif, vm_util

details = json.loads(sys.argv[1])
session = mock.Mock()
network = model.Network(id="network", bridge="network")
card = model.VIF(id="port", address="fa:16:3e:00:00:01", network=network, type="dvs", details=details)
found = vif.get_network_ref(session, "cluster", card)
print(json.dumps({"ref": found, "calls": len(session.mock_calls)}))
"""


def asked(details):
    if not (NOVA / ".complete").exists():
        if os.environ.get("CI"):
            pytest.fail("nova is not there: tests/neutron_dvs/nova_vif.sh .tools/nova")
        pytest.skip("nova is not there: tests/neutron_dvs/nova_vif.sh .tools/nova")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK_NOVA, json.dumps(details)], capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(NOVA)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("key", [None, "12"])
def test_nova_asks_vcenter_nothing(key):
    found = asked(vif_details(GROUP, fallback="os-network", port_key=key, port_filter=True))
    assert found["calls"] == 0
    assert found["ref"]["type"] == "DistributedVirtualPortgroup"
    assert found["ref"]["dvpg"] == "dvportgroup-7"
    assert found["ref"]["dvsw"] == "50 2c 1a aa-bb"
    assert found["ref"].get("dvs_port_key") == key
