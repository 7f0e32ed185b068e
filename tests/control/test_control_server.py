"""The control API over real sockets, and its token file."""

import asyncio
import socket
import stat

import httpx
import pytest
from fastapi import FastAPI

from contrail_vsphere.app.access import Caller, TokenFile
from contrail_vsphere.app.control_server import ControlServer
from contrail_vsphere.config import Address
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity, client_context

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def app():
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "here"

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.3)
        return "finished"

    return app


async def test_it_serves_and_frees_its_port(app):
    for _ in range(2):
        server = ControlServer(app, LOOPBACK)
        await server.start()
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(server.url)
            assert answer.json() == "here"
            assert "server" not in answer.headers
        port = int(server.url.rpartition(":")[2])
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()


async def test_a_request_under_way_is_finished_at_the_end(app):
    server = ControlServer(app, LOOPBACK)
    await server.start()
    async with httpx.AsyncClient(timeout=5) as client:
        request = asyncio.create_task(client.get(f"{server.url}/slow"))
        await asyncio.sleep(0.1)
        await server.stop()
        assert (await request).json() == "finished"


async def test_a_port_in_use_is_one_line_and_not_the_end_of_the_process(app):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ControlServer(app, Address("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(SettingsError, match=r"control\.listen: cannot listen on .*: Address already in use"):
            await server.start()
    await server.stop()


async def test_tls(app, tmp_path, now):
    authority = CertificateAuthority.create(tmp_path / "ca", name="x", now=now)
    issued = authority.issue_server(["127.0.0.1"])
    identity = Identity.install(issued.key_pem, issued.chain_pem, key_file=tmp_path / "key", cert_file=tmp_path / "crt")
    server = ControlServer(app, LOOPBACK, tls=identity.server_context())
    await server.start()
    async with httpx.AsyncClient(timeout=5, verify=client_context(ca_pem=authority.trust_bundle)) as client:
        assert server.url.startswith("https://")
        assert (await client.get(server.url)).json() == "here"
    await server.stop()


def test_plain_http_stays_on_loopback(app):
    with pytest.raises(SettingsError, match="needs a certificate"):
        ControlServer(app, Address("0.0.0.0", 8080))


@pytest.mark.looptime
async def test_an_idle_server_costs_no_timers(app):
    server = ControlServer(app, LOOPBACK)
    await server.start()
    await asyncio.sleep(1_000_000)
    await server.stop()


def test_a_token_file_is_made_once_and_private(tmp_path):
    path = tmp_path / "control.tokens"
    tokens = TokenFile(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    operator, viewer = tokens.token("operator").reveal(), path.read_text().split()[-1]
    assert tokens.caller(operator) == Caller("operator", "operator")
    assert TokenFile(path).caller(viewer) == Caller("viewer", "viewer")
    assert tokens.caller("") is None
    assert operator not in repr(tokens) + repr(tokens._entries)


def test_a_changed_token_file_counts_at_once(tmp_path):
    path = tmp_path / "control.tokens"
    tokens = TokenFile(path)
    old = tokens.token("operator").reveal()
    path.unlink()
    path.touch(mode=0o600)
    path.write_text(f"# people\nanna operator {'a' * 40}\n\nprometheus viewer {'b' * 40}\n")
    assert tokens.caller(old) is None
    assert tokens.caller("a" * 40) == Caller("anna", "operator")
    assert tokens.token("viewer").reveal() == "a" * 40


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("anna root " + "a" * 40, "line 1: NAME ROLE TOKEN"),
        ("anna operator", "line 1: NAME ROLE TOKEN"),
        ("\nanna operator short", "line 2: the token is too short"),
    ],
)
def test_a_wrong_token_file_is_told_without_its_tokens(tmp_path, text, says):
    path = tmp_path / "control.tokens"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        TokenFile(path)
    assert "aaaa" not in str(caught.value)


def test_a_token_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "control.tokens"
    TokenFile(path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        TokenFile(path)
