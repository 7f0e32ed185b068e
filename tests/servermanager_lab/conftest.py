import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab_rig import CANARIES, PLACEMENT, Rig, what_is_missing

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
