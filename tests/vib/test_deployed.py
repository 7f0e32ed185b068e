"""A deployment with a bundle of VIBs, against the simulated EAM: installed, refused, approved; and plain HTTP."""

import pytest
import vendor
from scene import DEPLOYMENT

from contrail_vsphere.config.settings import PublishSettings
from contrail_vsphere.contrailvm.package.bundle import verify_bundle
from contrail_vsphere.model.errors import DesiredStateError
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.host_image import HostImage

pytestmark = pytest.mark.looptime

WITH_VIB = DEPLOYMENT.replace("[deployment.dc1]\n", '[deployment.dc1]\nvib = "contrail-tool 1.0-1"\n', 1)


def publish(lab, **fields) -> str:
    path = lab.directory / "bundle.zip"
    path.write_bytes(vendor.whole(level="partner", **fields))
    return lab.publisher.publish_bundle(verify_bundle(path))


def installed(lab, host) -> set[str]:
    image = HostImage.of(lab.world, lab.host(host))
    return {vib.name for vib in image.vibs} if image is not None else set()


async def test_a_published_bundle_is_on_every_host_before_the_contrailvm_serves(scene):
    async with scene(hosts=2, deploy=False) as lab:
        url = publish(lab)
        lab.apply(WITH_VIB)
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=3600)
        (agency,) = lab.world.of_type(Agency)
        assert agency.config.agentConfig[0].vibUrl == url and url.startswith("https://")
        assert agency.config.agentConfig[0].vibSslTrust.sslCertificate
        assert all("contrail-tool" in installed(lab, host) for host in ("esx-00", "esx-01"))


async def test_a_bundle_that_nobody_published_is_a_mistake_in_the_file(scene):
    async with scene(hosts=1, deploy=False) as lab:
        with pytest.raises(DesiredStateError, match="package publish"):
            lab.apply(WITH_VIB)


async def test_an_older_bundle_is_a_mistake_in_the_file(scene):
    async with scene(hosts=1, deploy=False) as lab:
        publish(lab, version="1.1-1")
        lab.apply(WITH_VIB.replace("1.0-1", "1.1-1"))
        publish(lab)
        with pytest.raises(DesiredStateError, match="is older than"):
            lab.apply(WITH_VIB)


async def test_a_vib_that_a_host_cannot_take_is_told_and_tried_now_and_then(scene):
    async with scene(hosts=1, deploy=False) as lab:
        publish(lab, depends="something-else")
        lab.apply(WITH_VIB)
        await lab.until(lambda: "VibDependenciesNotMetByHost" in lab.alarms("esx-00"), seconds=600)
        before = lab.resolves()
        await lab.until(lambda: lab.resolves() > before, seconds=1500)
        assert lab.told("esx-00").state != "held"


async def test_no_host_goes_into_maintenance_for_a_vib_before_a_person_approves(scene):
    async with scene(hosts=1, deploy=False) as lab:
        publish(lab, maintenance=True)
        lab.apply(WITH_VIB)
        await lab.until(lambda: "VibRequiresHostInMaintenanceMode" in lab.alarms("esx-00"), seconds=600)
        with pytest.raises(AssertionError):
            await lab.until(lambda: lab.resolves() or lab.host("esx-00").in_maintenance, seconds=900)
        lab.manager.operator.approve(host="esx-00", issues=("VibRequiresHostInMaintenanceMode",))
        await lab.until(lambda: "contrail-tool" in installed(lab, "esx-00"), seconds=1800)
        await lab.until(lambda: lab.healed(), seconds=1800)


def test_plain_http_must_be_said_and_excludes_a_certificate():
    assert not PublishSettings().plain_http
    assert PublishSettings(plain_http=True, advertise="http://manager:8081").plain_http
    for wrong in ({"plain_http": True, "advertise": "https://m:8443"}, {"advertise": "http://m:8081"}):
        with pytest.raises(ValueError, match="advertise must begin"):
            PublishSettings(**wrong)


async def test_plain_http_serves_an_old_vcenter_and_is_complained_of_all_the_time(scene, caplog):
    lab = scene(hosts=1, deploy=False, profile="vc65")
    lab.plain_http = True
    async with lab:
        assert lab.publisher.base_url.startswith("http://") and "plain HTTP" in caplog.text
        lab.apply()
        await lab.until(lambda: lab.healed(), seconds=1800)
        assert "plain HTTP" in " ".join(lab.manager.status().problems)
