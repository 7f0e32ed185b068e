"""A vRouter lost after it was ready: alarm, restart after a grace, bounded, then hold; guests that never come up."""

import pytest

pytestmark = pytest.mark.looptime


async def test_a_vrouter_without_controller_is_an_alarm_then_restarted_twice_then_held(scene):
    async with scene() as lab:
        vm, boots = lab.on("esx-02"), []
        with lab.while_faulty(point="vrouter.connect", moid=vm.moid, drop=True):
            lab.vcenter.vrouters.xmpp(vm.moid, "down")
            took = await lab.until(lambda: lab.alarms("esx-02"), seconds=60)
            assert took <= 35
            boots.append(vm.boot_time)
            await lab.until(lambda: vm.boot_time not in boots, seconds=300)
            boots.append(vm.boot_time)
            await lab.until(lambda: lab.told("esx-02").state == "held", seconds=4000)
            boots += [vm.boot_time] if vm.boot_time not in boots else []
            assert len(boots) == 3, "two restarts"
            await lab.pass_time(3600)
            assert vm.boot_time == boots[-1]
            assert all(lab.forwarding(f"esx-0{n}") for n in (0, 1, 3))
        await lab.scenario.reset_vm(vm)
        lab.manager.operator.release(host="esx-02")
        await lab.heals(seconds=300)


async def test_a_guest_that_hangs_is_restarted(scene):
    async with scene() as lab:
        vm = lab.on("esx-02")
        booted = vm.boot_time
        await lab.vcenter.guests.hang(vm)
        await lab.until(lambda: lab.alarms("esx-02"), seconds=60)
        await lab.until(lambda: vm.boot_time != booted, seconds=400)
        await lab.heals()
        assert lab.resolves() == 0


async def test_when_all_vrouters_lose_their_controllers_nobody_is_restarted(scene):
    async with scene() as lab:
        boots = {vm: vm.boot_time for vm in lab.contrailvms()}
        for vm in boots:
            lab.vcenter.vrouters.xmpp(vm.moid, "down")
        await lab.pass_time(1800)
        assert boots == {vm: vm.boot_time for vm in boots}
        assert "look at the controllers" in lab.told("esx-00").next
        for vm in boots:
            lab.vcenter.vrouters.xmpp(vm.moid, "established")
        await lab.heals(seconds=60)


async def test_a_guest_that_never_boots_is_an_alarm_and_the_host_stays_closed(scene):
    async with scene(hosts=3) as lab:
        vm = lab.on("esx-01")
        with lab.while_faulty(point="guest.boot", moid=vm.moid, drop=True):
            await lab.scenario.power_off(vm)
            await lab.until(lambda: "does not forward" in lab.alarms("esx-01"), seconds=1200)
            assert not lab.open_for_tenants("esx-01")
            await lab.pass_time(3600)
            assert not lab.open_for_tenants("esx-01") and lab.alarms("esx-01")
        assert all(lab.forwarding(host) for host in ("esx-00", "esx-02"))


async def test_a_first_boot_that_fails_is_tried_again(scene):
    async with scene(hosts=2, deploy=False) as lab:
        lab.fault(point="guest.firstboot", drop=True, times=2)
        lab.apply()
        await lab.heals()


async def test_a_contrailvm_whose_address_changes_is_followed(scene):
    async with scene(hosts=2) as lab:
        vm = lab.on("esx-01")
        fleet = lab.vcenter.vrouters
        agent = fleet.agents[vm.moid]
        await fleet.remove(vm.moid)
        moved = await fleet.add(vm.moid, controllers=agent.controllers, connect_after=0.5)
        with lab.world.commit() as tx:
            tx.set(vm, guest_ip=moved.address)
        assert moved.address != agent.address
        await lab.pass_time(60)
        assert lab.told("esx-01").address == moved.address and lab.told("esx-01").state == "healthy"
        assert lab.resolves() == 0
