"""F22: every certificate changes while all goes on, and no EsxAgent is red at any moment."""

import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from service_site import LongSite, ServiceSite

from contrail_vsphere.app.data_dir import DataDirectory
from contrail_vsphere.model.errors import InvalidState
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.pins import thumbprint
from contrail_vsphere.pki.secrets import write_private

pytestmark = pytest.mark.looptime


def bare(pem):
    return "".join(pem.split())


def renew_publishing(lab, *, lifetime=timedelta(days=300)):
    """As an operator's tool does: both files are replaced."""
    issued = lab.data.authority().issue_server([lab.settings.publish.listen.host], lifetime=lifetime)
    directory = lab.data.path / "identities"
    write_private(directory / "publish.key", issued.key_pem)
    write_private(directory / "publish.crt", issued.cert_pem)
    return bare(issued.cert_pem.decode())


async def test_publishing_the_new_one_is_presented_and_pinned_at_rest(tmp_path):
    async with ServiceSite(tmp_path, hosts=2) as lab:
        red, vms = lab.watch_red(), {vm.moid for vm in lab.contrailvms()}
        new = renew_publishing(lab)
        took = await lab.until(lambda: lab.pins() == {new}, seconds=300)
        assert took <= 90 and bare(lab.publisher.certificate_pem) == new
        await lab.pass_time(400)
        assert {vm.moid for vm in lab.contrailvms()} == vms and not red
        await lab.scenario.add_host("esx-77")
        await lab.heals()
        assert not red, "EAM fetches with the new pin"


async def test_publishing_waits_while_eam_deploys(tmp_path):
    async with ServiceSite(tmp_path, hosts=2) as lab:
        red, old = lab.watch_red(), lab.pins()
        with lab.while_faulty(point="eam.deploy", delay=400):
            await lab.scenario.add_host("esx-77")
            await lab.until(lambda: not lab.manager.at_rest(), seconds=60)
            new = renew_publishing(lab)
            await lab.pass_time(200)
            assert lab.pins() == old and {bare(lab.publisher.certificate_pem)} == old
        await lab.heals(seconds=1800)
        await lab.until(lambda: lab.pins() == {new}, seconds=300)
        assert not red


async def test_the_extension_gets_a_new_certificate_and_logs_in_with_it(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        red, old = lab.watch_red(), lab.extension_certificate()
        assert await lab.service.renew_extension()
        assert lab.extension_certificate() != old
        await lab.asks_anew()
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.heals()
        await lab.suspend_resume_manager(10)
        await lab.until(lambda: not lab.manager.blind(), seconds=60)
        assert not [each for each in red if "VmPoweredOff" not in each]


async def test_a_crash_in_the_middle_of_it_leaves_one_that_logs_in(tmp_path, monkeypatch):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        old = lab.extension_certificate()
        with monkeypatch.context() as broken:
            broken.setattr(DataDirectory, "promote_extension", lambda _self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await lab.service.renew_extension()
        assert lab.extension_certificate() != old
        await lab.suspend_resume_manager(10)
        await lab.until(lambda: not lab.manager.blind(), seconds=60)
        assert ssl.PEM_cert_to_DER_cert(lab.service._login.identity.cert_pem) == lab.extension_certificate()


async def test_the_extensions_certificate_is_renewed_in_time_and_nobody_notices(tmp_path):
    async with LongSite(tmp_path, hosts=1) as lab:
        red, first = lab.watch_red(), lab.extension_certificate()
        await lab.days_pass(366)
        assert lab.extension_certificate() == first, "it is not due"
        with lab.while_faulty(method="SetExtensionCertificate", fault="NotFound"):
            await lab.days_pass(2)
            assert lab.extension_certificate() == first
            assert any("extension: expires in" in each for each in lab.service.certificates.warnings())
            assert lab.told_in_vcenter("degraded")
        await lab.until(lambda: lab.extension_certificate() != first, seconds=120)
        new = lab.extension_certificate()
        # Not one more after it, and it is the one that logs in.
        await lab.days_pass(1, settle=300)
        assert lab.extension_certificate() == new
        await lab.asks_anew()
        await lab.heals()
        assert not lab.service.certificates.warnings() and not red


async def test_the_ca_is_rotated_while_guests_start_and_hosts_join(tmp_path):
    async with LongSite(tmp_path, hosts=2) as lab:
        red, vms = lab.watch_red(), {vm.moid for vm in lab.contrailvms()}
        office, authority = lab.service.certificates, lab.service._authority
        await office.step("prepare")
        await lab.scenario.add_host("esx-77")
        await lab.heals()
        await office.step("activate")
        # A guest that starts at this very moment knows only the CA of before.
        await lab.scenario.reset_vm(lab.on("esx-00"))
        await lab.pass_time(120)
        assert lab.forwarding("esx-00")
        with pytest.raises(InvalidState, match="3 ContrailVMs hold certificates"):
            await office.step("retire")
        old = lab.certificate_of("esx-01")
        await lab.days_pass(1)
        await office.step("retire")
        assert authority.stage == "steady"
        # The listener has forgotten the CA of before in the same process, the guests have it no more.
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await lab.configuration_for(old)
        assert await lab.configuration_for(lab.certificate_of("esx-01")) == 200
        for host in ("esx-00", "esx-01", "esx-77"):
            await lab.scenario.reset_vm(lab.on(host))
        await lab.heals()
        await lab.scenario.add_host("esx-78")
        await lab.heals()
        assert vms < {vm.moid for vm in lab.contrailvms()} and not red


async def test_a_ca_that_was_copied_to_a_standby_is_trusted_there_without_a_restart(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        elsewhere = CertificateAuthority.load(lab.data.path / "ca", now=lab.now)
        elsewhere.prepare()
        elsewhere.activate()
        await lab.pass_time(90)
        issued = elsewhere.issue_client("a guest that the leader certified")
        assert await lab.configuration_for(issued.key_pem + issued.cert_pem) == 403, "known by its CA, not by its key"
        assert lab.service._authority.fingerprint == elsewhere.fingerprint


async def test_vcenter_gets_another_certificate_whose_thumbprint_was_added_before(tmp_path):
    directory = tmp_path / "vcenter"
    authority = CertificateAuthority.create(directory, name="next", now=lambda: datetime.now(UTC))
    issued = authority.issue_server(["127.0.0.1"])
    chain = directory / "next.pem"
    write_private(chain, issued.key_pem + issued.cert_pem)
    async with ServiceSite(tmp_path, hosts=1) as lab:
        both = f'thumbprint = "{lab.vcenter.ready["thumbprint"]}, {thumbprint(issued.cert_pem)}"'
        file = tmp_path / "settings.toml"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(both if line.startswith("ca_file") else line for line in lines))
        await lab.suspend_resume_manager(1)
        await lab.until(lambda: not lab.manager.blind(), seconds=60)
        for context in (lab.vcenter_tls.plain, lab.vcenter_tls.tunnel):
            context.load_cert_chain(chain)
        await lab.asks_anew()
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.heals()
        await lab.service.certificates._ask_vcenter()
        (line,) = [each for each in lab.service.certificates.lines() if each.name == "vcenter"]
        assert line.thumbprint == thumbprint(issued.cert_pem)


async def test_what_expires_soon_is_said_everywhere_once_and_is_over_when_renewed(tmp_path):
    async with ServiceSite(tmp_path, hosts=1) as lab:
        own = tmp_path / "own"
        assert not lab.service.certificates.warnings()
        expiring = lab.data.authority().issue_server([lab.settings.publish.listen.host], lifetime=timedelta(days=20))
        own.mkdir()
        write_private(own / "publish.key", expiring.key_pem)
        write_private(own / "publish.crt", expiring.cert_pem)
        file = tmp_path / "settings.toml"
        lines = 'cert_file = "own/publish.crt"\nkey_file = "own/publish.key"'
        file.write_text(file.read_text().replace("[bootstrap]", f"{lines}\n[bootstrap]"))
        await lab.suspend_resume_manager(1)
        await lab.until(lambda: lab.told_in_vcenter("degraded"), seconds=120)
        assert "certificate publish: expires in 19 days" in lab.service.certificates.warnings()[0]
        metrics = lab.service.metrics.render().decode()
        (value,) = [line for line in metrics.splitlines() if 'expires_seconds{certificate="publish"}' in line]
        assert 18 * 86400 < float(value.rpartition(" ")[2]) < 20 * 86400
        assert [each.key for each in lab.service.health.bad()] == ["publish"]
        await lab.suspend_resume_manager(1)
        await lab.pass_time(300)
        (event,) = lab.told_in_vcenter("degraded")
        assert event.message.startswith("ContrailVM Manager: certificate publish expires in 19 days")
        fresh = lab.data.authority().issue_server([lab.settings.publish.listen.host])
        write_private(own / "publish.key", fresh.key_pem)
        write_private(own / "publish.crt", fresh.cert_pem)
        await lab.until(lambda: lab.told_in_vcenter("healthy"), seconds=200)
        assert not lab.service.certificates.warnings() and not lab.service.health.bad()
