"""A member of the election as a process of its own: says when a reign begins or ends, and confirms on request.

Usage: leader_member.py HOSTS SESSION NAME. Each line on stdin asks for a confirmation.
"""

import asyncio
import sys

from contrail_vsphere.engine.leader_zookeeper import ZooKeeperLeader
from contrail_vsphere.engine.zookeeper import ZooKeeper, ZooKeeperServers
from contrail_vsphere.model.errors import ContrailVsphereError


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def reigns(leader: ZooKeeperLeader) -> None:
    while True:
        say("leads", await leader.wait_until_leader())
        await leader.lost()
        say("lost", leader.epoch)
        await asyncio.sleep(0)


async def main() -> None:
    hosts, session, name = sys.argv[1:]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with (
        ZooKeeper(ZooKeeperServers(hosts, session=float(session))) as zookeeper,
        ZooKeeperLeader(zookeeper, path="/test/processes", name=name) as leader,
    ):
        watching = asyncio.create_task(reigns(leader))
        while await reader.readline():
            try:
                say("confirmed", await leader.confirm())
            except ContrailVsphereError as error:
                say("refused", type(error).__name__)
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(main())
