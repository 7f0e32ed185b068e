"""ContrailVMs that nobody restarts for a year keep a good certificate; one that was replaced gets no other."""

from __future__ import annotations

import json
import ssl
import sys
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / name) for name in ("scenarios", "contrailvm")]

from long_lived import LongLived  # noqa: E402 - found by the path above
from scene import Scene  # noqa: E402

from contrail_vsphere.pki.ca import CertificateAuthority  # noqa: E402
from contrail_vsphere.simulator.core.faults import FaultRule  # noqa: E402
from contrail_vsphere.simulator.guest.machine import SimulatedMachine  # noqa: E402
from contrailvm_guest.firstboot import CERTIFICATE, KEY  # noqa: E402

pytestmark = pytest.mark.looptime


class Site(LongLived, Scene):
    def files(self, host="esx-00"):
        return self.vcenter.guests.disk(self.on(host)).files

    def serial(self, host="esx-00"):
        return x509.load_pem_x509_certificate(self.files(host)[CERTIFICATE]).serial_number

    async def ask(self, pair, path="/v1/configuration", *, body=None):
        """As whoever holds that certificate and key; returns the status and what was said."""
        held = self.directory / "held.pem"
        held.write_bytes(b"".join(pair))
        trust = ssl.create_default_context(cadata=self.authority.cert_pem)
        trust.load_cert_chain(held)
        url = "https://{}:{}{}".format(*self.bootstrap.address, path)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, force_close=True)) as http,
            http.request("POST" if body else "GET", url, data=json.dumps(body) if body else None) as reply,
        ):
            return reply.status, (await reply.json()).get("error", "")


def pair(files):
    return files[CERTIFICATE], files[KEY]


async def test_in_a_year_every_certificate_is_renewed_once_and_the_one_before_is_void(tmp_path):
    async with Site(tmp_path, hosts=2) as lab:
        vms, first = {vm.moid for vm in lab.contrailvms()}, pair(lab.files())
        serials = lab.serial("esx-00"), lab.serial("esx-01")
        await lab.days_pass(200)
        assert (lab.serial("esx-00"), lab.serial("esx-01")) == serials, "it is not due"
        await lab.days_pass(66)
        assert not {*serials} & {lab.serial("esx-00"), lab.serial("esx-01")}
        assert (await lab.ask(first))[0] == 403
        assert (await lab.ask(pair(lab.files())))[0] == 200
        await lab.days_pass(60)
        again = lab.serial()
        await lab.scenario.reset_vm(lab.on("esx-00"))
        await lab.heals()
        assert lab.serial() == again and {vm.moid for vm in lab.contrailvms()} == vms


async def test_a_guest_that_dies_while_it_renews_goes_on_another_day(tmp_path):
    async with Site(tmp_path, hosts=1) as lab:
        first = lab.serial()
        # The manager has certified the next key; the guest dies before the answer is on its disk.
        lab.vcenter.faults.add(
            FaultRule(point="guest.firstboot", where={"step": "WriteFile"}, skip=1, times=1, drop=True)
        )
        await lab.days_pass(266)
        assert lab.serial() == first and (await lab.ask(pair(lab.files())))[0] == 200
        await lab.days_pass(1)
        assert lab.serial() != first and (await lab.ask(pair(lab.files())))[0] == 200


async def test_one_that_does_not_renew_is_named_before_its_certificate_expires(tmp_path):
    async with Site(tmp_path, hosts=2) as lab:
        lab.vcenter.faults.add(FaultRule(point="guest.firstboot", moid=lab.on("esx-01").moid, drop=True))
        before = lab.now() + timedelta(days=399)
        assert sorted(lab.manager.certificates_of_guests(before=before)) == [
            "of the ContrailVM on esx-00",
            "of the ContrailVM on esx-01",
        ]
        await lab.days_pass(300)
        (name,) = lab.manager.certificates_of_guests(before=lab.now() + timedelta(days=100))
        assert name == "of the ContrailVM on esx-01"


async def off_for_a_year(lab, vm):
    await lab.scenario.enter_maintenance(vm.host)
    await lab.days_pass(310)
    assert vm.power_state == "poweredOff"
    await lab.scenario.exit_maintenance(vm.host)


async def switched_off_after_a_year(lab, vm):
    await lab.days_pass(310)
    (advice,) = lab.manager.certificates_of_guests(before=lab.now()).values()
    assert "has expired 10 days ago; power the ContrailVM off" in advice
    await lab.scenario.power_off(vm)


@pytest.mark.parametrize("how", [off_for_a_year, switched_off_after_a_year])
async def test_one_whose_certificate_has_expired_gets_another_when_it_is_powered_on(tmp_path, monkeypatch, how):
    # OpenSSL, which goes by the real clock, takes it for expired from the beginning: so it is never renewed.
    monkeypatch.setitem(CertificateAuthority.sign_csr.__kwdefaults__, "lifetime", timedelta(days=300))
    async with Site(tmp_path, hosts=1) as lab:
        vm, first = lab.on("esx-00"), lab.serial()
        await how(lab, vm)
        await lab.until(lambda: not lab.open_for_tenants("esx-00"))
        await lab.heals()
        assert lab.on("esx-00") is vm
        assert lab.serial() != first
        assert not lab.manager.certificates_of_guests(before=lab.now() + timedelta(days=100))


async def test_one_that_does_not_take_the_token_is_restarted_once_and_serves(tmp_path, monkeypatch):
    monkeypatch.setitem(CertificateAuthority.sign_csr.__kwdefaults__, "lifetime", timedelta(days=300))
    async with Site(tmp_path, hosts=1) as lab:
        vm, first = lab.on("esx-00"), lab.serial()
        monkeypatch.setattr(SimulatedMachine, "_spent", lambda *_: None)  # as a guest that does not look
        resets = len(lab.vcenter.events.of_type("VmPoweredOnEvent"))
        await off_for_a_year(lab, vm)
        await lab.heals()
        await lab.pass_time(1800)
        assert lab.serial() == first and lab.forwarding("esx-00")
        assert len(lab.vcenter.events.of_type("VmPoweredOnEvent")) == resets + 2


async def test_what_a_replaced_contrailvm_held_is_neither_taken_nor_renewed(tmp_path):
    async with Site(tmp_path, hosts=1) as lab:
        old = pair(lab.files())
        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.heals()
        status, reason = await lab.ask(old, "/v1/renewal", body={"version": 1, "csr": "anything"})
        assert (status, reason) == (403, "this certificate is not known")


async def test_a_renewal_for_another_name_is_refused(tmp_path):
    async with Site(tmp_path, hosts=1) as lab:
        before = lab.serial()
        body = {"version": 1, "csr": request_of("somebody else")}
        status, reason = await lab.ask(pair(lab.files()), "/v1/renewal", body=body)
        assert status == 400 and "not that of the certificate" in reason
        assert lab.serial() == before


def request_of(name):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return csr.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM).decode()
