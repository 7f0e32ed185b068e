"""F13 by vLCM on an estate: applies in batches as the rollout allows, no more hosts dark at a time than it says."""

import pytest

pytestmark = pytest.mark.looptime

ESTATES = [
    pytest.param(6, 2, id="6 hosts in 2 clusters"),
    pytest.param(64, 4, id="64 hosts in 4 clusters", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("hosts", "clusters"), ESTATES)
async def test_f13_an_estate_is_upgraded_as_many_hosts_at_a_time_as_allowed(scene, hosts, clusters):
    async with scene(hosts=hosts, clusters=clusters, rollout="gate = 20\nconcurrency = 4") as lab:
        applies = lab.rest.calls["Solutions.apply"]
        lab.begin_watch(every=2.0)
        await lab.upgrade("1.1.0")
        await lab.until(lambda: len(lab.rollout().passed) >= 1, seconds=1800)
        assert set(lab.dark) == {"esx-00"}, "the canary alone"
        await lab.until(lab.over, seconds=24 * 3600)
        assert lab.all_on("1.1.0") and len(lab.contrailvms()) == hosts == len(lab.dark)
        assert 1 < lab.most_dark <= 4
        assert set(lab.kept_by().values()) == {"vLCM"}
        assert lab.rest.calls["Solutions.apply"] - applies <= hosts
