"""One of several acts: what a take-over costs, and what one can do that does not know it was succeeded."""

import asyncio

import pytest
from elected_stand import ElectedStand
from plugin_stand import MARK

pytestmark = pytest.mark.looptime


async def test_a_take_over_reads_and_writes_nothing(tmp_path):
    async with ElectedStand(tmp_path, "a", "b") as stand:
        assert stand.reigning == "a"
        for name in ("red", "blue"):
            stand.network(name)
        await stand.until(lambda: {"red", "blue"} <= set(stand.groups()))
        vms = [await stand.vm(f"vm-{n}", ("red", "blue")[n % 2], host=n // 2 % 2) for n in range(20)]
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await stand.settle()
        before, reads = stand.calls(), stand.vcenter.calls["FetchDVPorts"]
        listed = sum(number for (verb, _), number in stand.contrail.calls.items() if verb == "list")
        await stand.stop("a")
        await stand.until(lambda: stand.reigning == "b")
        await stand.settle()
        assert stand.written(before) == {}
        # It was warm: of all there is it reads the DVPorts of its one switch, and nothing of Contrail.
        assert stand.vcenter.calls["FetchDVPorts"] - reads == 1
        assert sum(number for (verb, _), number in stand.contrail.calls.items() if verb == "list") == listed

        late = await stand.vm("late", "red")
        await stand.until(lambda: stand.served(late))
        await stand.vcenter.scenario.delete_vm(vms[0])
        await stand.until(lambda: len(stand.objects("virtual-machine")) == 20)
        stand.check()


async def test_who_was_frozen_in_a_burst_writes_nothing_after_its_successor_has_begun(tmp_path):
    async with ElectedStand(tmp_path, "a", "b", linger=1.0) as stand:
        stand.network("red", "10.0.0.0/16")
        await stand.until(lambda: "red" in stand.groups())
        vms = [await stand.vm(f"vm-{n}", "red", host=n % 2, on=False) for n in range(32)]
        await asyncio.gather(*(stand.vcenter.scenario.power_on(vm) for vm in vms[:16]))
        await asyncio.sleep(0.3)
        for number in range(40):
            stand.network(f"net-{number:03}", f"10.{1 + number}.0.0/24")
        await asyncio.sleep(0.1)
        frozen = stand.election.freeze()
        await asyncio.gather(*(stand.vcenter.scenario.power_on(vm) for vm in vms[16:]))
        # For a minute the first one goes on in its belief, with all it sees, beside the second.
        await asyncio.sleep(0.5)  # what was on the wire has arrived
        sent = stand.sent("a")
        assert stand.members["b"].leads
        for number in range(5):
            stand.network(f"more-{number}", f"10.{101 + number}.0.0/24")
        vms += [await stand.vm(f"late-{n}", "red", host=n % 2) for n in range(4)]
        await asyncio.sleep(60)
        assert stand.sent("a") == sent
        assert stand.members["a"].leads, "it has not heard"
        assert frozen.refused > 0
        frozen.hears()
        await stand.until(lambda: not stand.members["a"].leads)
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await stand.until(lambda: len(stand.groups()) == 46)
        await stand.settle()
        marks = [blob.opaqueData for group in stand.groups().values() for blob in group.vendor if blob.key == MARK]
        assert len(marks) == len(set(marks)) == 46
        for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip"):
            assert len(stand.objects(kind)) == len(vms)
        assert sum(len(stand.plugged(host)) for host in stand.vcenter.scenario.hosts()) == len(vms)


async def test_reigns_that_end_over_and_over_leave_one_truth(tmp_path):
    async with ElectedStand(tmp_path, "a", "b", "c", linger=1.0) as stand:
        stand.network("red", "10.0.0.0/16")
        await stand.until(lambda: "red" in stand.groups())
        vms = []
        for turn in range(6):
            burst = [await stand.vm(f"vm-{turn}-{n}", "red", host=n % 2, on=False) for n in range(6)]
            await asyncio.gather(*(stand.vcenter.scenario.power_on(vm) for vm in burst))
            if vms:
                await stand.vcenter.scenario.delete_vm(vms.pop(0))
            vms += burst
            await asyncio.sleep(0.05 * (turn + 1))
            name = stand.reigning
            assert name is not None
            await stand.stop(name)
            await stand.begin(name)
            await stand.until(lambda: stand.reigning is not None)
        await stand.until(lambda: all(stand.served(vm) for vm in vms))
        await stand.until(lambda: len(stand.objects("virtual-machine")) == len(vms), seconds=600)
        await stand.settle()
        assert len(stand.objects("virtual-machine-interface")) == len(stand.objects("instance-ip")) == len(vms)
        assert sum(len(stand.plugged(host)) for host in stand.vcenter.scenario.hosts()) == len(vms)
