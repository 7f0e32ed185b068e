"""By number, defect 23 of the seed era: mail about containers was never sent. Read in the mail server's own box."""

import asyncio
import email
import email.policy
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError
from sm_stand import ACTOR
from sqlalchemy import select
from test_provisioning import fill, run

from contrail_vsphere.config.settings import ServerManagerSettings
from contrail_vsphere.model.errors import Unreachable
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.identity import Identity, client_context
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.servermanager import mail
from contrail_vsphere.servermanager.catalogue import catalogue
from contrail_vsphere.servermanager.mail import Post, Relay
from contrail_vsphere.servermanager.planner import Order, Planner
from contrail_vsphere.servermanager.provision import Provisioner
from contrail_vsphere.servermanager.runs import RegistryToPull
from contrail_vsphere.servermanager.service import Parts, ServerManager
from contrail_vsphere.servermanager.states import RunState
from contrail_vsphere.servermanager.store import Store
from contrail_vsphere.servermanager.tables import Audit, Letter
from contrail_vsphere.servermanager.vault import Vault

__all__ = ["Store", "Vault"]  # the process that is killed takes them from here

HOST = "127.61.0.9"


class MailServer:
    """As much of RFC 5321 as a sender needs; ``down`` refuses so many connections first, ``mute`` takes the first
    letter without a word."""

    def __init__(self, *, tls=None, down=0, unknown=(), mute=False):
        self.tls, self.down, self.unknown, self.mute = tls, down, unknown, mute
        self.box, self.accounts, self.connections = [], [], 0
        self.taken = asyncio.Event()

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
                self.taken.set()
                if self.mute and len(self.box) == 1:
                    continue
            elif verb == "QUIT":
                break
            writer.write(f"{answer}\r\n".encode())
        writer.close()


@asynccontextmanager
async def serving(server):
    """Its port."""
    listening = await asyncio.start_server(server.talk, HOST, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


def teller(store, vault, ansible, port, *, pause=0.01, **options):
    """Who provisions, and who tells of it."""
    post = Post(store, Relay(HOST, port, "manager@example.com", **options), pause=pause)
    planner = Planner(catalogue=catalogue(), vault=vault, config_dir="/etc/contrail")
    registry = RegistryToPull(address="reg:5100")
    return Provisioner(store, planner=planner, ansible=ansible, registry=registry, post=post), post


@asynccontextmanager
async def telling(store, vault, ansible, server, **options):
    async with serving(server) as port:
        provisioner, post = teller(store, vault, ansible, port, **options)
        try:
            yield provisioner, post
        finally:
            await provisioner.stop()
            await post.stop()


def waiting(store):
    with store.reading() as session:
        return [(letter.recipients, letter.tries) for letter in session.scalars(select(Letter).order_by(Letter.id))]


def given_up(store):
    with store.reading() as session:
        rows = session.scalars(select(Audit).where(Audit.action == "give up mail"))
        return [(row.object_id, row.detail["to"]) for row in rows]


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
    assert waiting(sqlite_store) == []


async def test_of_a_run_that_nobody_took_is_told_too(store, vault, objects, ansible):
    address(store, objects)
    server, ansible.away = MailServer(), True
    async with telling(store, vault, ansible, server) as (provisioner, post):
        with pytest.raises(Unreachable):
            await provisioner.provision(ACTOR, Order(servers=("s3",)))
        await post.settled()
    assert [(to, letter["Subject"]) for to, letter in server.box] == [
        (["rack3@example.com"], "provision of cluster c1: failed")
    ]


# A process of its own, to be killed: a run ends, and its letter goes out.
SENDER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_double import AnsibleDouble
from sm_stand import now
from test_mail_about_runs import Order, Store, Vault, run, teller

async def main(directory, port):
    store, ansible = Store(f"sqlite:///{directory}/server-manager.db", now=now), AnsibleDouble()
    provisioner, post = teller(store, Vault(directory / "secret.key"), ansible, port)
    await run(provisioner, ansible, Order(servers=("s3",)))
    await post.settled()

asyncio.run(main(Path(sys.argv[2]), int(sys.argv[3])))
"""


async def test_a_letter_under_way_when_the_process_is_killed_arrives_afterwards(
    sqlite_store, vault, objects, ansible, tmp_path
):
    address(sqlite_store, objects)
    server = MailServer(mute=True)
    async with serving(server) as port:
        place = str(Path(__file__).parent)
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SENDER, place, str(tmp_path), str(port), stdin=asyncio.subprocess.DEVNULL
        )
        await asyncio.wait_for(server.taken.wait(), 60)
        sender.kill()
        await sender.wait()
        assert waiting(sqlite_store) == [(["rack3@example.com"], 0)]
        _, post = teller(sqlite_store, vault, ansible, port)
        post.send()
        await post.settled()
    first, second = (letter for _, letter in server.box)
    assert first.as_string() == second.as_string()
    assert "s3 completed" in second.get_content()
    assert waiting(sqlite_store) == []


async def test_tries_are_counted_over_restarts_and_what_is_given_up_stands_in_the_audit_log(
    sqlite_store, vault, objects, ansible
):
    address(sqlite_store, objects)
    server = MailServer(down=1000)
    async with telling(sqlite_store, vault, ansible, server, pause=600) as (provisioner, post):
        run_id = await run(provisioner, ansible, Order(servers=("s3",)))
        async with asyncio.timeout(20):
            while waiting(sqlite_store) != [(["rack3@example.com"], 1)]:  # noqa: ASYNC110 - it looks at a database
                await asyncio.sleep(0.02)
    assert given_up(sqlite_store) == []
    async with telling(sqlite_store, vault, ansible, server) as (_, post):
        post.send()
        post.send()
        await post.settled()
    assert (server.connections, waiting(sqlite_store)) == (mail.TRIES, [])
    assert given_up(sqlite_store) == [(run_id, ["rack3@example.com"])]


async def test_server_manager_sends_at_its_start_what_it_finds(sqlite_store, vault, objects, ansible, tmp_path):
    address(sqlite_store, objects)
    async with telling(sqlite_store, vault, ansible, MailServer(down=1000), pause=600) as (provisioner, _):
        await run(provisioner, ansible, Order(servers=("s3",)))
    server = MailServer()
    async with serving(server) as port:
        registry, relay = RegistryToPull(address="reg:5100"), Relay(HOST, port, "manager@example.com")
        parts = Parts(None, "reg:5100", registry, ansible, relay=relay)
        manager = ServerManager(sqlite_store, tmp_path / "data", parts=parts)
        await manager.start()
        await asyncio.wait_for(server.taken.wait(), 60)
        await manager.post.settled()
        assert waiting(sqlite_store) == []
        await manager.stop()
    assert [to for to, _ in server.box] == [["rack3@example.com"]]


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
    assert (server.box, server.connections, waiting(sqlite_store)) == ([], 1, [])
    assert given_up(sqlite_store)[0][1] == ["rack3@example.com"]


@pytest.mark.parametrize("given", [{"mail_server": "mail"}, {"mail_server": "mail:x"}, {"mail_username": "sm"}])
def test_settings_that_make_no_sense(given):
    with pytest.raises(ValidationError):
        ServerManagerSettings(**given)
