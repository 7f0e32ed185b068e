"""F13: an upgrade goes host by host, canary first; who is not in turn goes on forwarding all the time."""

import pytest

pytestmark = pytest.mark.looptime


async def test_f13_every_host_gets_the_new_version_and_only_the_one_in_turn_is_dark(scene):
    async with scene(hosts=4) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")
        assert lab.most_dark == 1
        assert sorted(lab.turns) == sorted(host.name for host in lab.in_service())
        assert {each.version for each in lab.manager.hosts()} == {"1.1.0"}
