"""Leader election on a real ZooKeeper: one leader at a time, whatever is killed, frozen or cut off."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from real_zookeeper import RealZooKeeper

from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader
from contrail_vsphere.engine.zookeeper import ZooKeeper, ZooKeeperServers
from contrail_vsphere.model.errors import Conflict, ContrailVsphereError

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("zookeeper")]
SESSION = 2.0


@asynccontextmanager
async def member(real: RealZooKeeper, name: str, *, path: str):
    servers = ZooKeeperServers(real.hosts, session=SESSION)
    async with ZooKeeper(servers) as zookeeper, ZooKeeperLeader(zookeeper, path=path, name=name) as leader:
        yield leader


async def within(seconds: float, awaitable):
    return await asyncio.wait_for(awaitable, seconds)


async def test_the_first_leads_and_the_next_follows_with_a_higher_epoch(real_zookeeper):
    async with AsyncExitStack() as others:
        async with member(real_zookeeper, "a", path="/test/order") as first:
            leader: Leader = first
            epoch = await within(10, leader.wait_until_leader())
            second = await others.enter_async_context(member(real_zookeeper, "b", path="/test/order"))
            await asyncio.sleep(0.3)
            third = await others.enter_async_context(member(real_zookeeper, "c", path="/test/order"))
            await asyncio.sleep(0.3)
            assert not second.is_leader
            assert await first.members() == ("a", "b", "c")
            with pytest.raises(Conflict):
                await second.confirm()
        assert await within(5, second.wait_until_leader()) > epoch
        assert not first.is_leader
        assert not third.is_leader
        assert await second.confirm() == second.epoch


async def test_an_old_plugin_at_the_same_path_and_we_take_turns(real_zookeeper):
    path = "/vcenter-plugin"
    curator = KazooClient(real_zookeeper.hosts, timeout=SESSION)
    await asyncio.to_thread(curator.start)
    latch = await asyncio.to_thread(
        lambda: curator.create(
            f"{path}/_c_3f3b-latch-", b"vcenter-plugin", ephemeral=True, sequence=True, makepath=True
        )
    )
    async with member(real_zookeeper, "ours", path=path) as leader:
        await asyncio.sleep(1)
        assert not leader.is_leader
        # Curator looks for what follows "latch-" and takes the lowest: ours has to sort behind it.
        nodes = await asyncio.to_thread(curator.get_children, path)
        numbers = sorted(node.partition("latch-")[2] for node in nodes)
        assert numbers[0] == latch.partition("latch-")[2]
        assert all(number.isdigit() for number in numbers)
        await asyncio.to_thread(curator.delete, latch)
        await within(5, leader.wait_until_leader())
    await asyncio.to_thread(curator.stop)
    curator.close()


async def test_a_server_that_hangs_ends_the_reign_and_another_begins_when_it_is_back(real_zookeeper):
    async with member(real_zookeeper, "a", path="/test/hang") as leader:
        epoch = await within(10, leader.wait_until_leader())
        real_zookeeper.freeze()
        try:
            await within(SESSION * 2, leader.lost())
            with pytest.raises(ContrailVsphereError):
                await within(30, leader.confirm())
        finally:
            real_zookeeper.thaw()
        assert await within(20, leader.wait_until_leader()) > epoch


async def test_a_server_that_dies_and_comes_back_keeps_the_epoch_rising(real_zookeeper):
    async with AsyncExitStack() as stack:
        path = "/test/restart"
        first = await stack.enter_async_context(member(real_zookeeper, "a", path=path))
        epoch = await within(10, first.wait_until_leader())
        members = [first, await stack.enter_async_context(member(real_zookeeper, "b", path=path))]
        real_zookeeper.kill()
        try:
            await within(10, first.lost())
        finally:
            await asyncio.to_thread(real_zookeeper.start)
        waiting = [asyncio.create_task(one.wait_until_leader()) for one in members]
        done, pending = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert done.pop().result() > epoch
        await asyncio.sleep(SESSION)
        assert sum(one.is_leader for one in members) == 1
        for task in pending:
            task.cancel()


class Process:
    """One ``leader_member.py``."""

    def __init__(self, real: RealZooKeeper, name: str) -> None:
        self._command = (
            sys.executable,
            str(Path(__file__).parent / "leader_member.py"),
            real.hosts,
            str(SESSION),
            name,
        )
        self._child = None

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(self, *_):
        if self._child.returncode is None:
            self._child.kill()
        await self._child.wait()
        self._child._transport.close()

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    async def hears(self, *words: str, within: float = 15.0) -> str:
        """The next line that begins with one of the words."""
        async with asyncio.timeout(within):
            while True:
                line = (await self._child.stdout.readline()).decode().split()
                assert line, "the member ended"
                if line[0] in words:
                    return " ".join(line)

    async def confirm(self) -> str:
        self._child.stdin.write(b"\n")
        return await self.hears("confirmed", "refused")


async def test_a_leader_that_is_killed_is_followed_after_its_session(real_zookeeper):
    async with Process(real_zookeeper, "a") as first:
        epoch = int((await first.hears("leads")).split()[1])
        async with Process(real_zookeeper, "b") as second:
            first.send(signal.SIGKILL)
            began = asyncio.get_running_loop().time()
            assert int((await second.hears("leads")).split()[1]) > epoch
            assert asyncio.get_running_loop().time() - began < SESSION * 3


async def test_a_leader_that_was_frozen_is_refused_before_its_first_write(real_zookeeper):
    async with Process(real_zookeeper, "a") as first:
        epoch = int((await first.hears("leads")).split()[1])
        assert await first.confirm() == f"confirmed {epoch}"
        async with Process(real_zookeeper, "b") as second:
            first.send(signal.SIGSTOP)
            newer = int((await second.hears("leads")).split()[1])
            assert newer > epoch
            first.send(signal.SIGCONT)
            assert (await first.confirm()).startswith("refused")
            assert await second.confirm() == f"confirmed {newer}"
