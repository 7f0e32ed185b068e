"""A token that somebody reads in vCenter opens nothing from elsewhere; where it did, its ContrailVM wins it back."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / name) for name in ("scenarios", "contrailvm")]

from scene import Scene  # noqa: E402 - found by the path above
from thief import Thief, bound_to  # noqa: E402

pytestmark = pytest.mark.looptime
ELSEWHERE = "127.0.0.66"


async def steals(lab, host, *, address="", every=0.1) -> list[int]:
    """As soon as the new ContrailVM of a host has a token, all that is right but the place; until it gets in."""
    answers: list[int] = []
    while True:
        vm = lab.on(host)
        is_up = vm is not None and vm.vapp_properties.get("bootstrap_token") and vm.power_state == "poweredOn"
        if is_up and (address or vm.guest_ip):
            lab.thief = Thief(lab, vm, address=address)
            answers.append(await lab.thief.redeem())
            if answers[-1] == 200 or lab.healed():
                return answers
        await asyncio.sleep(every)


async def test_from_elsewhere_a_thief_with_all_the_rest_right_never_gets_in_and_is_told_of(tmp_path):
    async with Scene(tmp_path, hosts=1) as lab:
        await lab.scenario.delete_vm(lab.on("esx-00"))
        thief = asyncio.create_task(steals(lab, "esx-00", address=ELSEWHERE, every=1.0))
        await lab.heals()
        answers = await thief
        assert len(answers) > 3 and set(answers) <= {503, 403}
        assert ELSEWHERE in lab.alarms("esx-00") and "bootstrap token" in lab.alarms("esx-00")
        (event,) = [each for each in lab.told_in_vcenter("degraded") if ELSEWHERE in each.message]
        assert event.host.name == "esx-00"
        lab.manager.operator.release()
        await lab.until(lambda: not lab.alarms("esx-00"), seconds=60)
        assert lab.healed()


async def test_one_that_took_the_contrailvms_own_address_loses_what_it_got_when_that_comes_itself(tmp_path):
    async with Scene(tmp_path, hosts=1) as lab:
        await lab.scenario.delete_vm(lab.on("esx-00"))
        answers = await steals(lab, "esx-00")
        assert answers[-1] == 200 and await lab.thief.configuration() in {200, 503}
        vm = lab.on("esx-00")
        await lab.until(lambda: "revoked" in lab.alarms("esx-00"), seconds=120)
        assert await lab.thief.configuration() == 403
        assert await lab.thief.redeem() == 403
        await lab.heals(seconds=3600)
        assert lab.on("esx-00") is vm, "restarted, not deployed anew"
        assert await lab.thief.configuration() == 403 and await lab.thief.redeem() == 403


async def test_what_is_shown_from_elsewhere_after_it_was_spent_takes_nothing_from_the_contrailvm(tmp_path):
    async with Scene(tmp_path, hosts=1) as lab:
        vm = lab.on("esx-00")
        assert await Thief(lab, vm, address=ELSEWHERE).redeem() == 403
        await lab.until(lambda: "opened nothing" in lab.alarms("esx-00"), seconds=60)
        await lab.scenario.reset_vm(vm)
        await lab.pass_time(60)
        assert lab.vcenter.guests.guest(vm).outcome.source == "manager" and lab.healed()


async def test_while_the_vm_is_off_nobody_is_it(tmp_path):
    async with Scene(tmp_path, hosts=1) as lab:
        vm = lab.on("esx-00")
        thief = Thief(lab, vm)
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        lab.manager.operator.pause(by="a person")
        await lab.scenario.power_off(vm)
        assert await thief.redeem(token) == 503


async def test_behind_a_nat_the_address_can_be_left_out(tmp_path):
    async with Scene(tmp_path, hosts=1) as lab:
        vm = lab.on("esx-00")
        lab.manager.office._check_address = False
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        assert await Thief(lab, vm, address=ELSEWHERE).redeem(token) == 200
