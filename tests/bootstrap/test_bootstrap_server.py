"""The bootstrap server over real TLS, asked by the first-boot program itself and by others."""

import asyncio
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

import contrailvm_guest
from contrail_vsphere.model.errors import NotReadyYet
from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.guest.machine import Disk, SimulatedMachine, drive
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment
from contrailvm_guest.effects import LinuxNic
from contrailvm_guest.firstboot import AGENT_CONF, BIOS_UUID, CERTIFICATE, ENROLMENT, KEY, Refused, boot

BIOS = "42214f3e-1111-2222-3333-444455556666"


def environment(manager, url, token):
    properties = {
        "manager_url": url,
        "manager_ca_sha256": manager.ca_sha256,
        "bootstrap_token": token,
        "agency_id": "agency-1",
    }
    adapters = [EthernetAdapter(f"00:50:56:80:00:0{n}", f"net-{n}", 6 + n) for n in (1, 2)]
    return render_environment(properties=properties, adapters=adapters, vm_id="vm-17").encode()


def machine(manager, url, token, *, disk=None, bios=BIOS, address="127.0.0.1"):
    disk = disk or Disk()
    disk.write(BIOS_UUID, bios.upper().encode() + b"\n")
    nics = tuple(LinuxNic(f"ens{n}", f"00:50:56:80:00:0{n}") for n in (1, 2))
    return SimulatedMachine(
        clock=Clock(), disk=disk, environment=environment(manager, url, token), nics=nics, address=address
    )


async def run(guest):
    return await drive(boot(), guest.perform)


@pytest.mark.looptime
async def test_a_guest_enrols_once_and_is_known_from_then_on(manager, url, audit_log):
    token = manager.mint()
    guest = machine(manager, url, token)
    assert (await run(guest)).source == "enrolment"
    assert guest.services == {"contrail-vrouter-agent": "restart"}
    assert guest.disk.modes[KEY] == guest.disk.modes[ENROLMENT] == 0o600
    certificate = x509.load_pem_x509_certificate(guest.disk.files[CERTIFICATE])
    assert certificate.subject.rfc4514_string() == f"CN={BIOS}"
    later = machine(manager, url, "", disk=guest.disk)
    assert (await run(later)).source == "manager"
    assert later.services == {"contrail-vrouter-agent": "start"}
    assert "enrolled (vm vm-17" in audit_log.text
    assert token not in audit_log.text
    assert not any(token.encode() in content for content in guest.disk.files.values())


@pytest.mark.looptime
async def test_an_answer_that_was_lost_is_given_again_to_the_same_key_only(manager, url):
    token = manager.mint()
    guest = machine(manager, url, token)
    await run(guest)
    guest.disk.remove(ENROLMENT)
    assert (await run(machine(manager, url, token, disk=guest.disk))).source == "enrolment"
    with pytest.raises(Refused, match="unknown, used, expired"):
        await run(machine(manager, url, token))


@pytest.mark.looptime
@pytest.mark.parametrize("how", ["unknown", "expired", "of another VM", "malformed"])
async def test_a_wrong_token_opens_nothing(manager, url, audit_log, how):
    token = manager.mint(**({"agency_id": "agency-9"} if how == "of another VM" else {}))
    if how == "unknown":
        token = token[:-8] + "AAAAAAAA"
    if how == "expired":
        manager.moment += timedelta(hours=1)
    if how == "malformed":
        token = "x y"
    guest = machine(manager, url, token)
    with pytest.raises(Refused):
        await run(guest)
    assert guest.services == {}
    assert manager.certified == {}
    assert token not in audit_log.text
    assert "refused" in audit_log.text


@pytest.mark.looptime
async def test_a_stolen_token_is_void_once_another_bearer_showed_it(manager, url):
    token = manager.mint()
    with pytest.raises(Refused):
        await run(machine(manager, url, token, bios="99999999-1111-2222-3333-444455556666", address="127.0.0.9"))
    with pytest.raises(Refused):
        await run(machine(manager, url, token))
    assert manager.certified == {}


@pytest.mark.looptime
async def test_a_redeployed_guest_is_refused_its_configuration(manager, url, audit_log):
    guest = machine(manager, url, manager.mint())
    await run(guest)
    manager.revoked.add(BIOS)
    with pytest.raises(Refused, match="redeployed"):
        await run(machine(manager, url, "", disk=guest.disk))
    assert f"configuration refused: the VM was redeployed ({BIOS})" in audit_log.text


@pytest.mark.looptime
async def test_a_manager_that_cannot_judge_is_asked_again(manager, url):
    manager.trouble = NotReadyYet("still loading")
    guest = machine(manager, url, manager.mint())
    task = asyncio.create_task(run(guest))
    await asyncio.sleep(20)
    assert not task.done()
    manager.trouble = None
    assert (await task).source == "enrolment"


@pytest.mark.looptime
async def test_a_server_that_is_not_the_manager_learns_no_token(manager, url):
    guest = machine(manager, url, manager.mint())
    guest.environment = guest.environment.replace(manager.ca_sha256.encode(), b"ab" * 32)
    with pytest.raises(Refused, match="not our manager"):
        await run(guest)
    assert manager.certified == {}


def trusting(manager):
    return ssl.create_default_context(cadata=manager.ca.cert_pem)


def csr(name=BIOS, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256()).public_bytes(Encoding.PEM)


def enrolment(**changes):
    identity = {"instance_uuid": "", "bios_uuid": BIOS, "vm_id": "vm-1", "agency_id": "agency-1", "macs": []}
    return {"version": 1, "token": "cvt1.0123456789abcdef.0123", "csr": csr().decode(), "identity": identity} | changes


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 10_000, "not JSON"),
        (b"[]", "version"),
        ({"version": 2}, "version"),
        (enrolment(token=7), "token"),
        (enrolment(csr="nonsense"), "csr"),
        (enrolment(csr=csr("somebody else").decode()), "subject"),
        (enrolment(csr=csr(key=ec.generate_private_key(ec.SECP192R1())).decode()), "weak"),
        (enrolment(identity=[]), "identity"),
        (enrolment(identity={"bios_uuid": "x"}), "bios_uuid"),
        (enrolment(identity={"bios_uuid": BIOS, "macs": ["xx"]}), "macs"),
        (enrolment(identity={"bios_uuid": BIOS, "macs": ["00:50:56:00:00:01"] * 99}), "macs"),
        (enrolment(identity={"bios_uuid": BIOS, "vm_id": "vm-1\nline", "macs": []}), "vm_id"),
    ],
)
@pytest.mark.looptime
async def test_malformed_requests_are_named_and_spend_nothing(manager, url, body, reason):
    token = manager.mint()
    data = body if isinstance(body, bytes) else json.dumps(body).replace("cvt1.0123456789abcdef.0123", token).encode()
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/bootstrap", data=data, ssl=trusting(manager)) as reply,
    ):
        assert (reply.status, reason in (await reply.json())["error"]) == (400, True)
    await run(machine(manager, url, token))


@pytest.mark.looptime
async def test_long_bodies_and_unknown_paths(manager, url):
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/v1/bootstrap", data=b" " * 100_000, ssl=trusting(manager)) as reply:
            assert reply.status == 413
        async with http.get(f"{url}/etc/passwd", ssl=trusting(manager)) as reply:
            assert reply.status == 404
        async with http.get(f"{url}/v1/configuration", ssl=trusting(manager)) as reply:
            assert (reply.status, await reply.json()) == (403, {"error": "a client certificate is needed"})


@pytest.mark.looptime
async def test_guessing_is_slowed_down_per_address(manager, url):
    async def guess(http):
        async with http.post(f"{url}/v1/bootstrap", json=enrolment(), ssl=trusting(manager)) as reply:
            return reply.status

    async with aiohttp.ClientSession() as http:
        assert [await guess(http) for _ in range(5)] == [403, 403, 403, 429, 429]
        await run(machine(manager, url, manager.mint(), address="127.0.0.7"))
        await asyncio.sleep(61)
        assert [await guess(http) for _ in range(5)] == [403, 403, 403, 429, 429]


@pytest.mark.looptime
async def test_vcenter_reads_the_health_document_without_a_certificate(manager, url):
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/health/health.xml", ssl=trusting(manager)) as reply,
    ):
        assert (reply.status, reply.content_type) == (200, "text/xml")
        assert b'<vimhealth xmlns="http://www.vmware.com/vi/healthservice"' in await reply.read()


@pytest.mark.looptime
async def test_a_port_in_use_is_an_os_error(manager, server):
    with pytest.raises(OSError, match="in use"):
        from contrail_vsphere.contrailvm.bootstrap.server import BootstrapServer

        await BootstrapServer(
            tls=server._tls,
            ca_pem=bytes,
            redeem=manager.redeem,
            configuration=manager.configuration,
            sign=manager.sign,
            health=manager.health,
            listen=f"127.0.0.1:{server.address[1]}",
        ).start()


@pytest.mark.process
async def test_the_program_as_a_process_with_openssl_and_http_client(manager, url, tmp_path):
    """``python -m contrailvm_guest`` as it ships, without our packages, with stand-ins for VMware Tools and systemd."""
    root, tools = tmp_path / "root", tmp_path / "bin"
    tools.mkdir()
    for path, content in {
        "sys/class/dmi/id/product_uuid": BIOS,
        "sys/class/net/ens1/address": "00:50:56:80:00:01",
        "sys/class/net/ens2/address": "00:50:56:80:00:02",
        "sys/class/net/lo/address": "00:00:00:00:00:00",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n")
    for nic in ("ens1", "ens2"):
        (root / f"sys/class/net/{nic}/device").mkdir()
    (tmp_path / "environment.xml").write_bytes(environment(manager, url, manager.mint()))
    for name, script in {
        "vmtoolsd": f"cat {tmp_path}/environment.xml",
        "systemctl": f'echo "$@" >> {tmp_path}/systemctl.log',
        "ethtool": f'echo "$@" >> {tmp_path}/ethtool.log',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    home = str(Path(contrailvm_guest.__file__).parent.parent)

    async def program():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c"),
            f"import sys; sys.path.insert(0, {home!r}); import contrailvm_guest.__main__ as m;"
            f"sys.exit(m.main(['--root', {str(root)!r}]))",
            env={"PATH": f"{tools}:/usr/bin:/bin"},
            stderr=asyncio.subprocess.PIPE,
        )
        _out, err = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode, err.decode()

    code, said = await program()
    assert (code, "configuration from enrolment (management ens1, overlay ens2)" in said) == (0, True), said
    assert (root / KEY.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert "vmware_physical_interface=ens2" in (root / AGENT_CONF.lstrip("/")).read_text()
    code, said = await program()
    assert (code, "configuration from manager" in said) == (0, True), said
    log = (tmp_path / "systemctl.log").read_text().splitlines()
    assert log == ["restart -- contrail-vrouter-agent", "start -- contrail-vrouter-agent"]
    manager.revoked.add(BIOS)
    code, said = await program()
    assert code == 1
    assert said.splitlines()[-1].startswith("contrailvm: the manager refuses (403): the VM was redeployed")
