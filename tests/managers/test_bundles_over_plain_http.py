"""An old vCenter that takes no certificate of ours, and a vendor's VIBs: published, applied, installed, warned of."""

import logging
import sys
from pathlib import Path

import pytest
from service_site import ServiceSite
from stand import DEPLOYMENT

sys.path.insert(0, str(Path(__file__).parent.parent / "vib"))

import vendor

from contrail_vsphere.app.control_client import ControlClient
from contrail_vsphere.contrailvm.package.bundle import verify_bundle
from contrail_vsphere.model.errors import UsageError
from contrail_vsphere.simulator.eam.host_image import HostImage

pytestmark = pytest.mark.looptime

WITH_VIB = DEPLOYMENT.format(version="1.0.0").replace("package =", 'vib = "contrail-tool 1.0-1"\npackage =')


async def test_the_whole_way_on_a_vcenter_that_needs_plain_http(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    site = ServiceSite(tmp_path, hosts=2, deploy=False, profile="vc65", publishing="plain_http = true")
    async with site as lab, ControlClient(lab.settings, role="operator") as client:
        with pytest.raises(UsageError, match="contrail-tool"):
            await client.post("/v1/apply", {"document": WITH_VIB})
        file = tmp_path / "bundle.zip"
        file.write_bytes(vendor.whole(level="partner"))
        lab.data.bundles().add(verify_bundle(file))  # as `package publish` does, in a process of its own
        lab.publisher.reload()
        await client.post("/v1/apply", {"document": WITH_VIB})
        await lab.until(lambda: lab.healed() and lab.manager.converged(), seconds=3600)
        (agency,) = lab.agencies()
        (entry,) = agency.config.agentConfig
        assert entry.vibUrl.startswith("http://") and entry.ovfPackageUrl.startswith("http://")
        images = [HostImage.of(lab.world, host) for host in lab.in_service()]
        assert all("contrail-tool" in {vib.name for vib in image.vibs} for image in images)
        assert "plain HTTP" in caplog.text
        said = await client.get("/v1/status")
        assert any("plain HTTP" in each and "8.0 U2" in each for each in said["problems"])
