"""F8 and F9: vCenter, EAM, sessions, connections and the manager go away and come back; nothing is doubled or lost."""

import pytest

from contrail_vsphere.simulator.eam.situation import Phase

pytestmark = pytest.mark.looptime


async def nothing_doubled(lab, vms):
    """The same agency, the same ContrailVMs, and nothing more to do."""
    await lab.heals()
    assert len(lab.agencies()) == 1
    assert {vm.moid for vm in lab.contrailvms()} == vms
    await lab.until(lambda: not lab.writes_planned() and not lab.manager.blind(), seconds=120)


async def vcenter_restarts(lab):
    lab.vcenter.expire_sessions()
    await lab.vcenter.drop_connections()
    await lab.vcenter.restart_eam()


async def eam_restarts(lab):
    await lab.vcenter.restart_eam()


async def session_ends(lab):
    lab.vcenter.expire_sessions()


async def not_authenticated_in_the_middle(lab):
    for method in ("AgencyQueryRuntime", "WaitForUpdatesEx", "ReadNextEvents", "QueryAgent", "Resolve"):
        lab.fault(method=method, fault="NotAuthenticated", fields={"privilegeId": "System.View"}, times=1)


async def connections_break(lab):
    await lab.vcenter.drop_connections()


async def replies_are_lost(lab):
    for method in ("Resolve", "AgencyQueryRuntime", "QueryAgent"):
        lab.fault(method=method, drop_reply=True, times=1)


async def replies_are_cut(lab):
    for method in ("WaitForUpdatesEx", "QueryAgent", "AgencyQueryRuntime"):
        lab.fault(method=method, truncate=100, times=1)


async def the_server_stumbles(lab):
    lab.fault(http_status=503, times=6)


DISTURBANCES = [
    vcenter_restarts,
    eam_restarts,
    session_ends,
    not_authenticated_in_the_middle,
    connections_break,
    replies_are_lost,
    replies_are_cut,
    the_server_stumbles,
]


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda each: each.__name__)
async def test_f8_what_broke_meanwhile_is_healed_and_nothing_is_doubled(scene, disturb):
    async with scene(hosts=3) as lab:
        vms = {vm.moid for vm in lab.contrailvms()}
        await disturb(lab)
        await lab.scenario.power_off(lab.on("esx-01"))
        await nothing_doubled(lab, vms)


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("phase", [Phase.HOOK_PROVISIONED, Phase.HOOK_POWERED_ON])
async def test_f8_no_hook_is_lost(scene, disturb, phase):
    async with scene(hosts=2) as lab:
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.until(lambda: lab.agent("esx-01").phase is phase)
        await disturb(lab)
        await lab.heals()
        assert len(lab.agencies()) == 1 and len(lab.contrailvms()) == 2


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda each: each.__name__)
async def test_f8_the_agency_is_made_once(scene, disturb):
    async with scene(hosts=2, deploy=False) as lab:
        lab.fault(method="CreateAgency", drop_reply=True, times=1)
        lab.apply()
        await lab.until(lambda: lab.vcenter.calls["CreateAgency"])
        await disturb(lab)
        await lab.heals()
        assert len(lab.agencies()) == 1 and len(lab.contrailvms()) == 2


async def test_f9_an_hour_away_while_hosts_join_and_hooks_wait(scene):
    async with scene(hosts=2) as lab:
        vms = {vm.moid for vm in lab.contrailvms()}
        await lab.crash()
        await lab.scenario.add_host("esx-77")
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.pass_time(3600)
        assert lab.agent("esx-77").phase is Phase.HOOK_PROVISIONED, "EAM waits for us for ever"
        assert not lab.open_for_tenants("esx-77")
        await lab.resume()
        await lab.heals()
        assert len(lab.agencies()) == 1 and vms < {vm.moid for vm in lab.contrailvms()}
        assert "contrailvm-overlay" in lab.wiring(lab.on("esx-77"))


async def test_f9_a_crash_between_the_creation_and_its_reply(scene):
    async with scene(hosts=2, deploy=False) as lab:
        lab.fault(method="CreateAgency", drop_reply=True, times=1)
        lab.apply()
        await lab.until(lab.agencies)
        await lab.crash()
        await lab.pass_time(30)
        await lab.resume()
        await lab.heals()
        assert len(lab.agencies()) == 1 and lab.vcenter.calls["CreateAgency"] == 1


async def test_f9_holds_and_attempts_survive_a_crash(scene):
    async with scene(hosts=2) as lab:
        for _ in range(3):
            await lab.scenario.power_off(lab.on("esx-01"))
            await lab.heals(seconds=120)
            await lab.suspend_resume_manager(1)
        await lab.scenario.power_off(lab.on("esx-01"))
        await lab.until(lambda: lab.told("esx-01").state == "held", seconds=60)
        await lab.suspend_resume_manager(60)
        await lab.pass_time(120)
        assert lab.told("esx-01").state == "held" and lab.on("esx-01").power_state == "poweredOff"
