"""Elections over TLS: both sides show certificates, and whoever's is not from the right CA is not spoken to."""

import asyncio
import gc
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from real_zookeeper import RealZooKeeper

from contrail_vsphere.engine.journal_zookeeper import ZooKeeperJournal
from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader
from contrail_vsphere.engine.zookeeper import ZooKeeper, ZooKeeperServers
from contrail_vsphere.pki.ca import CertificateAuthority

pytestmark = [
    pytest.mark.process,
    pytest.mark.xdist_group("zookeeper-tls"),
    # kazoo leaves sockets whose handshake failed to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def now():
    return datetime.now(UTC)


def authority(directory, name):
    directory.mkdir()
    made = CertificateAuthority.create(directory / "ca", name=name, now=now)
    (directory / "ca.pem").write_text(made.trust_bundle)
    server, client = made.issue_server(["127.0.0.1", "localhost"]), made.issue_client("plugin")
    (directory / "server.pem").write_bytes(server.key_pem + server.chain_pem)
    (directory / "client.key").write_bytes(client.key_pem)
    (directory / "client.crt").write_bytes(client.chain_pem)
    return directory


@asynccontextmanager
async def client(real, ours, theirs):
    """``ours`` signs what we show, ``theirs`` what we trust."""
    servers = ZooKeeperServers(
        real.hosts, session=3.0, ca_file=theirs / "ca.pem", cert_file=ours / "client.crt", key_file=ours / "client.key"
    )
    async with ZooKeeper(servers) as zookeeper:
        yield zookeeper


@pytest.fixture
def quiet_kazoo(monkeypatch):
    """Its warnings hold on to the sockets whose handshake failed."""
    monkeypatch.setattr(logging.getLogger("contrail_vsphere.zookeeper"), "disabled", True)


async def test_leader_and_journal_work_over_tls_and_strangers_are_kept_out(tmp_path, quiet_kazoo):
    site, stranger = authority(tmp_path / "site", "site CA"), authority(tmp_path / "other", "another CA")
    home = tmp_path / "zookeeper"
    home.mkdir()
    real = RealZooKeeper(home, tls=(site / "server.pem", site / "ca.pem"))
    try:
        real.start()
        async with client(real, site, site) as zookeeper:
            async with ZooKeeperLeader(zookeeper, path="/test/tls", name="a") as leader:
                epoch = await asyncio.wait_for(leader.wait_until_leader(), 30)
                journal = ZooKeeperJournal(zookeeper, path="/test/tls.journal", now=now)
                await journal.open()
                journal.fence("/test/tls.epoch", epoch)
                journal.put("port", "one", {"vlan": 7})
                await journal.durable()
                assert await leader.confirm() == epoch
            again = ZooKeeperJournal(zookeeper, path="/test/tls.journal", now=now)
            await again.open()
            assert again.get("port", "one").value == {"vlan": 7}
        for ours, theirs in ((site, stranger), (stranger, site)):
            async with client(real, ours, theirs) as kept_out:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(kept_out.connected(), 3)
            gc.collect()
    finally:
        real.stop()
