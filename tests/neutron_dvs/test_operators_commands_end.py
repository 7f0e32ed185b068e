"""A command that an operator waits for ends, also where a worker would go on trying."""

from __future__ import annotations

import pytest
from neutron_stand import NeutronStand

from contrail_vsphere.ml2.worker.glance import looked
from contrail_vsphere.model.errors import NotConverged
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter


@pytest.mark.looptime
async def test_a_vcenter_that_lets_in_and_then_says_nothing(tmp_path):
    async with NeutronStand(tmp_path, None, vms=1, connected=False) as stand:
        stand.vcenter.scenario.add_fault(method="CreateContainerView", drop=True)
        ready = stand.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        another = VCenter(
            Endpoint(host, int(port), ca_file=ready["ca_file"]), PasswordLogin(ready["username"], ready["password"])
        )
        async with another:
            with pytest.raises(NotConverged, match="within 120 s"):
                await looked(another)
