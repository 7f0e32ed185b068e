"""F1 and F2: what users power off, suspend or delete comes back; what breaks again and again is left to a person."""

import pytest

pytestmark = pytest.mark.looptime

RESERVED = """
[deployment.dc1]
clusters = ["C0"]
package = "{version}"
datastores = ["nfs-shared"]
reservation = {{ cpu_mhz = 3000, memory_mb = 2048 }}
[deployment.dc1.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
"""


@pytest.mark.parametrize("mischief", ["power_off", "suspend"])
async def test_f1_what_a_user_stops_runs_again(scene, mischief):
    async with scene() as lab:
        victim = lab.on("esx-01")
        others = {vm: vm.boot_time for vm in lab.contrailvms() if vm is not victim}
        await getattr(lab.scenario, mischief)(victim)
        took = await lab.until(lab.resolves, seconds=30)
        assert took <= 3, "two reads a second apart, then Resolve"
        await lab.heals(seconds=120)
        assert lab.on("esx-01") is victim and victim.power_state == "poweredOn"
        assert lab.resolves() == 1
        assert others == {vm: vm.boot_time for vm in others}, "the others were left alone"


async def test_f1_without_events_the_poll_finds_it(scene):
    async with scene() as lab:
        await lab.client.events.stop()
        await lab.client.inventory.stop()
        await lab.scenario.power_off(lab.on("esx-01"))
        took = await lab.until(lab.resolves, seconds=200)
        assert took <= 155, "the poll of EAM, then doubt because the inventory still says that it runs"


async def test_f1_flapping_ends_in_a_hold_with_the_host_closed(scene):
    async with scene() as lab:
        for _ in range(3):
            await lab.scenario.power_off(lab.on("esx-01"))
            await lab.heals(seconds=120)
        await lab.scenario.suspend(lab.on("esx-01"))
        await lab.until(lambda: lab.told("esx-01").state == "held", seconds=60)
        assert lab.resolves() == 3
        await lab.pass_time(1200)
        assert lab.resolves() == 3, "no more until a person releases it"
        assert lab.on("esx-01").power_state == "suspended"
        assert "repaired 3 times in 15 minutes" in lab.told("esx-01").reason
        assert not lab.open_for_tenants("esx-01")
        lab.manager.operator.release(host="esx-01")
        await lab.heals(seconds=120)
