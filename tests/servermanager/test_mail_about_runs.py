"""By number, defect 23 of the seed era: mail about containers was never sent. Read in the mail server's own box."""

import asyncio
import email
import email.policy
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from sm_stand import ACTOR
from test_provisioning import fill, run

from contrail_vsphere.config.settings import ServerManagerSettings
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager import mail
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.mail import Post, Relay
from contrail_vsphere.servermanager.planner import Order, Planner
from contrail_vsphere.servermanager.provision import Provisioner
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.states import RunState

HOST = "127.61.0.9"


class MailServer:
    """As much of RFC 5321 as a sender needs; ``down`` refuses so many connections first."""

    def __init__(self, *, tls=None, down=0, unknown=()):
        self.tls, self.down, self.unknown = tls, down, unknown
        self.box, self.accounts, self.connections = [], [], 0

    async def talk(self, reader, writer):
        self.connections += 1
        recipients = []
        writer.write(b"421 later\r\n" if self.connections <= self.down else b"220 mail\r\n")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            verb = line.split(":")[0].upper()
            answer = "250 ok"
            if verb.startswith("EHLO"):
                answer = "250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN" if self.tls else "250 mail"
            elif verb == "STARTTLS":
                writer.write(b"220 go\r\n")
                await writer.start_tls(self.tls)
                continue
            elif verb.startswith("AUTH"):
                self.accounts.append((line, writer.get_extra_info("ssl_object") is not None))
                answer = "235 ok"
            elif verb == "RCPT TO":
                address = line.partition("<")[2].partition(">")[0]
                recipients += [] if address in self.unknown else [address]
                answer = "550 unknown" if address in self.unknown else answer
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                self.box.append((recipients, email.message_from_bytes(raw[:-3], policy=email.policy.default)))
            elif verb == "QUIT":
                break
            writer.write(f"{answer}\r\n".encode())
        writer.close()


@asynccontextmanager
async def telling(store, vault, ansible, server, **options):
    listening = await asyncio.start_server(server.talk, HOST, 0)
    port = listening.sockets[0].getsockname()[1]
    post = Post(store, Relay(HOST, port, "manager@example.com", **options), pause=0.01)
    planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
    provisioner = Provisioner(
        store, planner=planner, ansible=ansible, registry=RegistryToPull(address="reg:5100"), on_end=post.run_is_over
    )
    try:
        yield provisioner, post
    finally:
        await provisioner.stop()
        await post.stop()
        listening.close()
        await listening.wait_closed()


def address(store, objects):
    fill(store, objects, servers=3)
    with store.writing() as session:
        objects.put_cluster(session, ACTOR, {"id": "c1", "email": ["cluster@example.com", "night@example.com"]})
        objects.put_server(session, ACTOR, {"id": "s3", "email": "rack3@example.com"})


async def test_23_mail_tells_how_a_run_ended(sqlite_store, vault, objects, ansible):
    address(sqlite_store, objects)
    server = MailServer(down=2)
    async with telling(sqlite_store, vault, ansible, server) as (provisioner, post):
        ends = {"s1": "completed", "s2": "unreachable", "s3": "failed"}
        await run(provisioner, ansible, Order(cluster="c1"), ends, RunState.FAILED)
        await post.settled()
    told = {tuple(to): (letter["Subject"], letter.get_content()) for to, letter in server.box}
    assert set(told) == {("cluster@example.com", "night@example.com"), ("rack3@example.com",)}
    subject, text = told["cluster@example.com", "night@example.com"]
    assert subject == "provision of cluster c1: failed"
    assert "s1 completed" in text
    assert "s2 unreachable: why" in text
    assert "s3" not in text
    assert "s3 failed: why" in told["rack3@example.com",][1]


async def test_a_mail_server_elsewhere_is_spoken_to_in_tls_only(sqlite_store, vault, objects, ansible, tmp_path):
    address(sqlite_store, objects)
    authority = CertificateAuthority.load_or_create(tmp_path / "ca", name="t", now=lambda: datetime.now(UTC))
    issued = authority.issue_server([HOST])
    identity = Identity.install(issued.key_pem, issued.chain_pem, key_file=tmp_path / "k", cert_file=tmp_path / "c")
    trusted = client_context(ca_pem=authority.trust_bundle)
    for server, context, arrives in (
        (MailServer(tls=identity.server_context()), trusted, True),
        (MailServer(tls=identity.server_context()), client_context(), False),
        (MailServer(), trusted, False),
    ):
        options = {"tls": context, "username": "sm", "password": lambda: Secret("hunter2")}
        async with telling(sqlite_store, vault, ansible, server, **options) as (provisioner, post):
            await run(provisioner, ansible, Order(servers=("s3",)))
            await post.settled()
        assert bool(server.box) == arrives
        assert [in_tls for _, in_tls in server.accounts] == [True] * arrives
        assert server.connections == (1 if arrives else mail.TRIES)


async def test_who_is_unknown_there_is_not_tried_again(sqlite_store, vault, objects, ansible):
    address(sqlite_store, objects)
    server = MailServer(unknown=("rack3@example.com",))
    async with telling(sqlite_store, vault, ansible, server) as (provisioner, post):
        await run(provisioner, ansible, Order(servers=("s3",)))
        await post.settled()
    assert (server.box, server.connections) == ([], 1)


@pytest.mark.parametrize("given", [{"mail_server": "mail"}, {"mail_server": "mail:x"}, {"mail_username": "sm"}])
def test_settings_that_make_no_sense(given):
    with pytest.raises(ValidationError):
        ServerManagerSettings(**given)
