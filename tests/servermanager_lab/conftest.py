import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab_rig import CANARIES, FINAL, PLACEMENT, Rig, what_is_missing

CLUSTER = {
    "global": {"GLOBAL": {"cloud_orchestrator": "openstack", "log_level": "SYS_INFO"}},
    "controller": {
        "KEYSTONE": {"ip": "10.9.9.9", "admin_password": CANARIES["keystone"]},
        "RABBITMQ": {"password": CANARIES["rabbit"]},
        "WEBUI": {"vcenter_wsdl_path": "{{ lookup('pipe', 'id') }}"},
    },
    "lb": {"HAPROXY": {"haproxy_auth_password": CANARIES["haproxy"]}},
}


@pytest.fixture(scope="session")
def lab():
    """Three servers, images of five roles, a cluster, everything provisioned once."""
    missing = what_is_missing()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    rig = Rig()
    try:
        rig.start(list(PLACEMENT))
        roles = sorted({role for roles in PLACEMENT.values() for role in roles})
        rig.image_added = rig.add_image("contrail-container", roles)
        rig.add_cluster("c1", "contrail-container", CLUSTER)
        for name, roles in PLACEMENT.items():
            rig.add_server(name, "c1", roles)
        rig.first = rig.provisioned(cluster="c1")
        yield rig
    finally:
        rig.stop()


@pytest.fixture(autouse=True)
def nothing_is_left_running(request):
    """A test that failed in the middle of a run, or of a kill, does not bring down those after it."""
    yield
    if "lab" in request.fixturenames:
        rig = request.getfixturevalue("lab")
        for part in ("serve-ansible", "serve"):
            if part not in rig.processes:
                rig.serve(part)
        for row in rig.ask("GET", "/v1/runs?limit=500")["items"]:
            if row["state"] not in FINAL:
                rig.ask("POST", f"/v1/runs/{row['id']}/cancel")
                rig.run(row["id"])
