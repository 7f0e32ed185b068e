"""Logging in, staying logged in, and what is said when that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    NotFound,
    NotReadyYet,
    ProtocolError,
    SettingsError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.vsphere.session import SERVICE
from contrail_vsphere.vsphere.transport import safe
from contrail_vsphere.vsphere.vcenter import Endpoint, ExtensionLogin, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import eam, vim

pytestmark = pytest.mark.looptime
Connect = Callable[..., VCenter]
KEY = "net.juniper.contrail.test"
EAM_MANAGER = eam.EsxAgentManager("EsxAgentManager")


async def test_a_session_knows_its_versions(client: VCenter) -> None:
    assert client.about.apiVersion == "8.0.3.0"
    assert client.versions == {"urn:vim25": "vim.version.v8_0_3_0", "urn:eam": "eam.version.version8_3"}
    assert client.health.reachable
    assert await client.call(EAM_MANAGER, "QueryAgency") == []


@pytest.mark.parametrize("newer", ["answered", "refused"])
async def test_an_eam_that_is_older_than_its_vcenter_is_spoken_to_in_its_version(
    vcenter: VCenterSimulator, client: VCenter, newer: str
) -> None:
    vcenter.scenario.set_switch("eam.api_version", "7.5")
    vcenter.scenario.set_switch("eam.newer_version", newer)
    assert await client.call(EAM_MANAGER, "QueryAgency") == []
    assert client.versions["urn:eam"] == f"eam.version.version{'7_5' if newer == 'refused' else '8_3'}"


@pytest.mark.parametrize("profile", ["vc67", "vc70", "vc80u2", "vc90"])
async def test_older_and_newer_vcenters_are_spoken_to_in_their_version(
    profile: str, connect_to: Callable[[VCenterSimulator], VCenter]
) -> None:
    simulator = VCenterSimulator(profile=profile, hosts=1, guests=False)
    await simulator.start()
    try:
        async with connect_to(simulator) as client:
            release = client.about.apiVersion
            assert client.versions["urn:vim25"].replace("_", ".").endswith(release) or release.startswith("6.7")
            vcls = release[0] in "78" and release < "8.0.3"  # vCenter's own agency, for every user to see
            assert len(await client.call(EAM_MANAGER, "QueryAgency")) == vcls
    finally:
        await simulator.stop()


# -- trust ------------------------------------------------------------------------------------------------------------


async def test_a_pinned_thumbprint_is_enough(vcenter: VCenterSimulator, connect: Connect) -> None:
    async with connect(ca_file="", thumbprint=vcenter.ready["thumbprint"]) as client:
        assert client.about.version


@pytest.mark.parametrize("trust", [{"ca_file": ""}, {"ca_file": "", "thumbprint": ":".join(["AB"] * 20)}])
async def test_an_untrusted_certificate_gets_no_password(
    vcenter: VCenterSimulator, connect: Connect, trust: dict[str, str]
) -> None:
    with pytest.raises(Untrusted, match="ca_file, or the thumbprint"):
        await connect(**trust).__aenter__()
    assert not vcenter.calls


async def test_a_ca_file_that_is_none_is_a_settings_error(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError):
        await connect(ca_file=str(tmp_path / "ca.pem")).__aenter__()


# -- passwords --------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_not_tried_again_at_once(
    vcenter: VCenterSimulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    login = PasswordLogin(vcenter.ready["username"], Secret("swordfish"))
    client = connect(login)
    with pytest.raises(AuthenticationFailed, match="check user name and password"):
        await client.session.ensure()
    for _ in range(3):
        with pytest.raises(AuthenticationFailed, match="lock the account"):
            await client.session.ensure()
    assert vcenter.calls["Login"] == 1
    await asyncio.sleep(31)
    with pytest.raises(AuthenticationFailed, match="check user name"):
        await client.session.ensure()
    assert vcenter.calls["Login"] == 2
    await client.close()
    assert "swordfish" not in caplog.text
    assert "swordfish" not in repr(login)


async def test_a_forgotten_session_is_renewed_once_for_all(vcenter: VCenterSimulator, client: VCenter) -> None:
    before = vcenter.calls["Login"]
    vcenter.expire_sessions()
    times = await asyncio.gather(*(client.call(SERVICE, "RetrieveServiceContent") for _ in range(4)))
    assert times
    vcenter.expire_sessions()
    folder = client.content.rootFolder
    names = await asyncio.gather(*(client.read(folder, "name") for _ in range(12)))
    assert {name["name"] for name in names} == {"Datacenters"}
    assert vcenter.calls["Login"] == before + 1
    assert client.session.epoch == 2


async def test_eam_notices_a_lost_session_too(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.expire_sessions()
    assert await client.call(EAM_MANAGER, "QueryAgency") == []
    assert client.session.epoch == 2


async def test_eam_that_lost_vcenter_costs_no_login(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="QueryAgency", fault="EamInvalidLogin", times=3)
    for _ in range(3):
        with pytest.raises(NotReadyYet, match="EAM does not accept"):
            await client.call(EAM_MANAGER, "QueryAgency")
    assert client.session.epoch == 1
    assert await client.call(EAM_MANAGER, "QueryAgency") == []


async def test_one_impatient_caller_does_not_end_the_login_of_the_others(
    vcenter: VCenterSimulator, client: VCenter
) -> None:
    vcenter.scenario.add_fault(method="Login", delay=5.0, times=1)
    vcenter.expire_sessions()
    folder = client.content.rootFolder
    impatient = asyncio.create_task(client.read(folder, "name"))
    patient = asyncio.create_task(client.read(folder, "name"))
    await asyncio.sleep(1)
    impatient.cancel()
    assert (await patient)["name"] == "Datacenters"
    assert vcenter.calls["Login"] == 2


async def test_leaving_logs_out(vcenter: VCenterSimulator, connect: Connect) -> None:
    async with connect():
        assert len(vcenter.sessions.sessions) == 1
    assert not vcenter.sessions.sessions


# -- extensions -------------------------------------------------------------------------------------------------------


def extension(key: str) -> Any:
    return vim.Extension(
        key=key,
        version="1.0",
        description=vim.Description(label="Test", summary="Test"),
        company="Contrail",
        lastHeartbeatTime=datetime.now(UTC),
        server=[],
        client=[],
    )


def identity(directory: Path, name: str) -> Identity:
    authority = CertificateAuthority.load_or_create(directory / "ca", name="test", now=lambda: datetime.now(UTC))
    issued = authority.issue_client(name, key_kind="rsa")
    return Identity.install(
        issued.key_pem, issued.cert_pem, key_file=directory / f"{name}.key", cert_file=directory / f"{name}.crt"
    )


async def test_an_extension_logs_in_through_the_tunnel(
    vcenter: VCenterSimulator, client: VCenter, connect: Connect, tmp_path: Path
) -> None:
    manager = client.content.extensionManager
    mine = identity(tmp_path, "mine")
    await client.call(manager, "RegisterExtension", extension=extension(KEY))
    await client.call(manager, "SetExtensionCertificate", extensionKey=KEY, certificatePem=mine.cert_pem)
    async with connect(ExtensionLogin(KEY, mine)) as own:
        session = (await own.read(own.content.sessionManager, "currentSession"))["currentSession"]
        assert session.userName == KEY
        assert await own.eam.query_agencies() == ()
        vcenter.expire_sessions()
        assert await own.eam.query_agencies() == ()
        assert vcenter.calls["LoginExtensionByCertificate"] == 2
    other = connect(ExtensionLogin(KEY, identity(tmp_path, "other")))
    with pytest.raises((AuthenticationFailed, Untrusted, Unreachable)):
        await other.__aenter__()


@pytest.mark.parametrize("pin", [True, False])
async def test_the_tunnel_is_verified_as_well(
    vcenter: VCenterSimulator, client: VCenter, connect: Connect, tmp_path: Path, pin: bool
) -> None:
    """The certificate inside the tunnel is checked, not the name sdkTunnel."""
    mine = identity(tmp_path, "mine")
    manager = client.content.extensionManager
    await client.call(manager, "RegisterExtension", extension=extension(KEY))
    await client.call(manager, "SetExtensionCertificate", extensionKey=KEY, certificatePem=mine.cert_pem)
    trust = {"ca_file": "", "thumbprint": vcenter.ready["thumbprint"]} if pin else {}
    async with connect(ExtensionLogin(KEY, mine), **trust) as own:
        assert own.session.epoch == 1


async def _serve(answer: bytes) -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Unreachable),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n\r\n", (Unreachable, Untrusted)),
        (b"x" * 100_000, ProtocolError),
        (b"", Unreachable),
    ],
)
async def test_what_is_no_tunnel_is_named(
    connect: Connect, tmp_path: Path, answer: bytes, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    server, port = await _serve(answer)
    client = connect(ExtensionLogin(KEY, identity(tmp_path, "mine")), tunnel=("127.0.0.1", port))
    with pytest.raises(error):
        await client.__aenter__()
    server.close()


# -- the wire in between ----------------------------------------------------------------------------------------------


async def test_no_answer_within_the_deadline_is_unreachable(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="RetrieveServiceContent", delay=100.0)
    with pytest.raises(Unreachable, match="no answer to RetrieveServiceContent within 5 s"):
        await client.call(SERVICE, "RetrieveServiceContent", deadline=5.0)


async def test_only_what_cannot_change_anything_is_sent_twice(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="CurrentTime", drop=True, times=1)
    assert await client.call(SERVICE, "CurrentTime")
    vcenter.scenario.add_fault(method="CreateFolder", drop=True, times=1)
    with pytest.raises(Unreachable, match="broke during CreateFolder"):
        await client.call(client.content.rootFolder, "CreateFolder", name="once")
    assert client.calls["CreateFolder"] == 1


async def test_a_reply_that_got_lost_is_not_asked_for_again(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="CreateFolder", drop_reply=True, times=1)
    with pytest.raises(Unreachable):
        await client.call(client.content.rootFolder, "CreateFolder", name="done")
    assert "done" in vcenter.inventory


def test_which_methods_are_safe() -> None:
    assert all(
        map(safe, ("RetrievePropertiesEx", "CurrentTime", "Fetch", "QueryAgency", "AgencyQueryRuntime", "FindByUuid"))
    )
    for name in (
        "CreateAgency",
        "Agency_Disable",
        "ContinueRetrievePropertiesEx",
        "Resolve",
        "PowerOnVM_Task",
        "Login",
    ):
        assert not safe(name)


async def test_connections_dropped_while_idle_cost_nothing(vcenter: VCenterSimulator, client: VCenter) -> None:
    assert (await client.read(client.content.rootFolder, "name"))["name"]
    await vcenter.drop_connections()
    assert (await client.read(client.content.rootFolder, "name"))["name"]


async def test_a_proxy_without_its_service_is_not_ready(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="RetrieveServiceContent", http_status=503, times=1)
    with pytest.raises(NotReadyYet):
        await client.call(SERVICE, "RetrieveServiceContent")
    assert client.health.reachable


async def test_a_cut_off_answer_is_unreachable(vcenter: VCenterSimulator, client: VCenter) -> None:
    vcenter.scenario.add_fault(method="RetrieveServiceContent", truncate=300, times=1)
    with pytest.raises(Unreachable, match="middle of the answer"):
        await client.call(SERVICE, "RetrieveServiceContent")


async def test_a_dead_vcenter_is_left_alone_for_a_while(vcenter: VCenterSimulator, client: VCenter) -> None:
    rule = vcenter.scenario.add_fault(method="CreateFolder", drop=True)
    root = client.content.rootFolder
    for _ in range(8):
        with pytest.raises(Unreachable):
            await client.call(root, "CreateFolder", name="x")
    assert vcenter.calls["CreateFolder"] <= 4
    assert not client.health.reachable
    assert client.health.error
    vcenter.scenario.remove_fault(rule)
    await asyncio.sleep(6)
    assert await client.call(root, "CreateFolder", name="x")
    assert client.health.reachable
    assert not client.health.failures


async def test_nobody_listening_is_one_clear_line() -> None:
    client = VCenter(Endpoint("127.0.0.1", 1), PasswordLogin("u", "p"))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1: Connect.* \(is vCenter up"):
        await client.__aenter__()


async def test_what_is_no_vcenter_is_named(connect: Connect, vcenter: VCenterSimulator) -> None:
    client = connect()
    with pytest.raises(ProtocolError, match="is this address a vCenter"):
        await client.session.transport.get("/nothing/here", deadline=5.0)
    await client.close()


async def test_gone_objects_are_not_found(client: VCenter) -> None:
    with pytest.raises(NotFound, match="ManagedObjectNotFound"):
        await client.read(vim.VirtualMachine("vm-404"), "name")
    with pytest.raises(NotFound, match="PowerOnVM_Task of VirtualMachine vm-404"):
        await client.call(vim.VirtualMachine("vm-404"), "PowerOnVM_Task")
