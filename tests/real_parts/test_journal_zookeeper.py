"""The journal in a real ZooKeeper: a standby reads what is durable, and a leader that was succeeded writes nothing."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from contrail_vsphere.engine.journal_zookeeper import ZooKeeperJournal
from contrail_vsphere.engine.zookeeper import ZooKeeper, ZooKeeperServers
from contrail_vsphere.model.errors import Conflict

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("zookeeper")]


@asynccontextmanager
async def session(real):
    async with ZooKeeper(ZooKeeperServers(real.hosts, session=4.0)) as zookeeper:
        await zookeeper.connected()
        yield zookeeper


async def opened(zookeeper, path):
    journal = ZooKeeperJournal(zookeeper, path=path, now=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    await journal.open()
    return journal


async def test_a_standby_reads_what_was_durable_and_nothing_else(real_zookeeper):
    async with session(real_zookeeper) as one, session(real_zookeeper) as two:
        leader = await opened(one, "/test/journal/read")
        for number in range(2000):
            leader.put("port", f"vm-{number}/4000", {"vlan": number, "note": "x" * 200})
        leader.put("brake", "all", {"on": True})
        await leader.durable()
        leader.delete("port", "vm-7/4000")
        assert leader.put("port", "vm-8/4000", {"vlan": 9}, expect=1) == 2
        await leader.durable()
        leader.put("port", "vm-9/4000", {"vlan": 1})  # not durable

        standby = await opened(two, "/test/journal/read")
        assert len(standby.items("port")) == 1999
        assert standby.get("port", "vm-7/4000") is None
        assert standby.get("port", "vm-8/4000") == leader.get("port", "vm-8/4000")
        assert standby.get("port", "vm-9/4000").value["vlan"] == 9
        assert standby.get("brake", "all").value == {"on": True}


async def test_two_writers_do_not_overwrite_each_other(real_zookeeper):
    async with session(real_zookeeper) as one, session(real_zookeeper) as two:
        first, second = await opened(one, "/test/journal/two"), await opened(two, "/test/journal/two")
        first.put("port", "a", {"vlan": 1})
        second.put("port", "a", {"vlan": 2})
        await first.durable()
        with pytest.raises(Conflict):
            await second.durable()
        await second.open()
        assert second.get("port", "a").value == {"vlan": 1}
        second.put("port", "a", {"vlan": 3})
        await second.durable()
        with pytest.raises(Conflict):
            first.put("port", "a", {"vlan": 4}, expect=7)


async def test_a_reign_that_is_over_writes_nothing(real_zookeeper):
    async with session(real_zookeeper) as one:
        epoch = "/test/journal/leader.epoch"
        await one.create(epoch, b"4")
        journal = await opened(one, "/test/journal/fence")
        journal.fence(epoch, 4)
        journal.put("port", "a", {"vlan": 1})
        await journal.durable()
        await one.set(epoch, b"5")
        journal.put("port", "a", {"vlan": 2})
        with pytest.raises(Conflict):
            await journal.durable()
        await journal.open()
        assert journal.get("port", "a").value == {"vlan": 1}


async def test_a_transaction_that_fails_leaves_no_trace(real_zookeeper):
    async with session(real_zookeeper) as one:
        journal = await opened(one, "/test/journal/rollback")

        def fails():
            with journal.transaction():
                journal.put("port", "a", {"vlan": 1})
                raise KeyError("a")

        with pytest.raises(KeyError):
            fails()
        assert journal.items("port") == ()
        await journal.durable()
