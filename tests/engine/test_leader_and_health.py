"""The single-process leader, and the health book."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.leader import AlwaysLeader, Leader


@pytest.mark.looptime
async def test_a_single_process_leads_and_never_loses_it():
    leader: Leader = AlwaysLeader(epoch=7)
    assert leader.is_leader
    assert await leader.wait_until_leader() == leader.epoch == 7
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10_000):
            await leader.lost()


def test_the_book_keeps_since_when_and_lists_the_worst_first():
    time = datetime(2026, 1, 1, tzinfo=UTC)
    book = HealthBook(lambda: time)
    book.succeeded("agencies", "dc1")
    book.waiting("agencies", "dc2", reason="host boots", next_try=5)
    book.failed("vcenter", "lab", reason="no connection", attempts=1, next_try=1)
    start, time = time, time + timedelta(minutes=1)
    book.failed("vcenter", "lab", reason="no connection", attempts=2, next_try=2)
    book.failed("agencies", "dc1", state="refused", reason="no privilege", hint="grant EAM.Modify")
    entries = book.items()
    assert [(entry.source, entry.key, entry.state) for entry in entries] == [
        ("agencies", "dc1", "refused"),
        ("vcenter", "lab", "failing"),
        ("agencies", "dc2", "waiting"),
    ]
    assert [entry.since for entry in entries] == [time, start, start]
    assert entries[0].last_success == start
    assert entries[1].next_try == time + timedelta(seconds=2)
    assert [entry.key for entry in book.bad()] == ["dc1", "lab"]
    assert [entry.key for entry in book.items("vcenter")] == ["lab"]
    book.forget("vcenter", "lab")
    assert book.get("vcenter", "lab") is None
