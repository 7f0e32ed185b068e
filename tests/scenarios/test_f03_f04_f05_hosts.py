"""F3, F4, F5, F28: hosts join, lack what a ContrailVM needs, pass through maintenance, lose power."""

import asyncio

import pytest

from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.wire.soap.fault import SoapFault

pytestmark = pytest.mark.looptime

BY_HOST_SETTINGS = """
[deployment.dc1]
clusters = ["C0"]
package = "{version}"
[deployment.dc1.networks]
management = "mgmt"
overlay = {{ switch = "dvs0" }}
[deployment.dc1.guest]
controllers = ["127.0.0.1"]
"""


def take_away(lab, host, *names):
    """The host loses datastores or networks of these names; returns the way to give them back."""
    entity = lab.host(host)
    stores, networks = entity.datastores, entity.networks
    with lab.world.commit("somebody") as tx:
        tx.set(entity, datastores=tuple(each for each in stores if each.name not in names))
        tx.set(entity, networks=tuple(each for each in networks if each.name not in names))

    def give_back():
        with lab.world.commit("somebody") as tx:
            tx.set(entity, datastores=stores, networks=networks)

    return give_back


async def join_without(lab, name, *missing):
    """A host joins that lacks these datastores or networks from the first moment."""
    found = []

    def strip(done):
        for entry in done.entries:
            if entry.kind == "enter" and getattr(entry.entity, "name", "") == name and not found:
                found.append(None)
                loop = asyncio.get_running_loop()
                loop.call_soon(lambda: found.append(take_away(lab, name, *missing)))

    stop = lab.world.observe(strip)
    await lab.scenario.add_host(name)
    while len(found) < 2:
        await lab.pass_time(0)
    stop()
    return found[1]


async def test_f3_a_host_that_joins_is_closed_until_its_vrouter_has_a_controller(scene):
    async with scene(hosts=3) as lab:
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await lab.scenario.add_host("esx-99")
            await lab.until(lambda: lab.on("esx-99") is not None and lab.on("esx-99").tools_running)
            assert lab.wiring(lab.on("esx-99")) == lab.wiring(lab.on("esx-00"))
            await lab.pass_time(120)
            assert not lab.forwarding("esx-99") and not lab.open_for_tenants("esx-99")
            tenant = await lab.scenario.create_vm("tenant", host="esx-00")
            with pytest.raises(SoapFault) as refused:
                await lab.scenario.move_vm(tenant, "esx-99")
            assert refused.value.kind == "InsufficientAgentVmsDeployed" and tenant.host.name == "esx-00"
        lab.vcenter.vrouters.xmpp(lab.on("esx-99").moid, "established")
        took = await lab.heals(seconds=60)
        assert took <= 10, "a vRouter that tenants wait for is asked every few seconds"
        await lab.scenario.move_vm(tenant, "esx-99")
        assert lab.resolves() == 0


@pytest.mark.parametrize(
    ("missing", "issue"), [("nfs-shared", "NoCustomAgentVmDatastore"), ("mgmt", "NoCustomAgentVmNetwork")]
)
async def test_f4_only_the_host_without_it_is_red_and_it_heals_when_it_is_attached(scene, missing, issue):
    async with scene(hosts=3) as lab:
        give_back = await join_without(lab, "esx-99", missing)
        await lab.until(lambda: lab.agent("esx-99").issues, seconds=120)
        await lab.until(lambda: lab.told("esx-99").issues, seconds=60)
        assert [each.type for each in lab.agent("esx-99").issues] == [issue]
        assert all(lab.forwarding(f"esx-0{n}") and lab.told(f"esx-0{n}").state == "healthy" for n in range(3))
        assert missing in lab.alarms("esx-99"), "what it lacks is named"
        await lab.pass_time(600)
        assert lab.resolves() == 0 and lab.on("esx-99") is None
        give_back()
        await lab.heals()


async def test_f4_settings_are_written_where_there_is_one_choice_only(scene):
    async with scene(hosts=3, deploy=False) as lab:
        for host in ("esx-00", "esx-01", "esx-02"):
            take_away(lab, host, "nfs-shared")
        lab.apply(BY_HOST_SETTINGS)
        await lab.heals()
        assert lab.host("esx-00").agent_datastore in lab.host("esx-00").datastores


async def test_f4_with_several_choices_they_are_named_and_nothing_is_written(scene):
    async with scene(hosts=2, deploy=False) as lab:
        take_away(lab, "esx-00", "nfs-shared")
        lab.apply(BY_HOST_SETTINGS)
        await lab.until(lambda: lab.forwarding("esx-00") and lab.told("esx-01").alarms)
        host = lab.host("esx-01")
        assert all(store.name in lab.alarms("esx-01") for store in host.datastores)
        assert host.agent_datastore is None and lab.on("esx-01") is None
        with lab.world.commit("somebody") as tx:
            tx.set(host, agent_datastore=host.datastores[0])
        await lab.heals()


@pytest.mark.parametrize("profile", ["vc65", "vc67", "vc80u3"])
async def test_f5_a_host_in_maintenance_is_left_alone_for_hours(scene, profile):
    async with scene(profile=profile) as lab:
        tenant = await lab.scenario.create_vm("tenant", host="esx-00")
        before = lab.on("esx-00")
        await lab.scenario.enter_maintenance("esx-00")
        assert tenant.host.name != "esx-00" and tenant.power_state == "poweredOn"
        await lab.pass_time(2 * 3600)
        assert lab.host("esx-00").in_maintenance and before.power_state == "poweredOff"
        assert lab.resolves() == 0
        state = lab.manager.status().deployments[0]
        assert lab.told("esx-00").state == "maintenance" and not lab.told("esx-00").alarms
        assert all(each.state == "healthy" for each in state.hosts if each.name != "esx-00"), "green except maintenance"
        await lab.scenario.exit_maintenance("esx-00")
        await lab.heals()
        assert lab.on("esx-00") is before


async def test_f5_an_issue_that_only_waits_for_the_end_of_maintenance_is_not_resolved(scene):
    async with scene() as lab:
        await lab.scenario.enter_maintenance("esx-00")
        victim = lab.on("esx-00")
        await vm_life.destroy(lab.world, victim, user="somebody")
        await lab.pass_time(1800)
        assert lab.host("esx-00").in_maintenance and lab.resolves() == 0
        leaving = asyncio.create_task(lab.scenario.exit_maintenance("esx-00"))
        await lab.heals()
        await leaving


async def test_f5_a_host_that_dpm_put_to_sleep_is_left_asleep(scene):
    async with scene() as lab:
        before = lab.on("esx-00")
        await lab.scenario.standby_host("esx-00")
        await lab.pass_time(2 * 3600)
        assert lab.host("esx-00").power_state == "standBy" and before.power_state == "poweredOff"
        assert lab.resolves() == 0 and not lab.writes_planned()
        assert all(lab.told(f"esx-0{n}").state == "healthy" for n in (1, 2, 3))
        await lab.scenario.wake_host("esx-00")
        await lab.heals()
        assert lab.on("esx-00") is before


async def test_f5_a_host_back_from_maintenance_that_does_not_forward_is_an_alarm_and_stays_closed(scene):
    async with scene() as lab:
        await lab.scenario.enter_maintenance("esx-00")
        with lab.while_faulty(point="vrouter.connect", drop=True):
            leaving = asyncio.create_task(lab.scenario.exit_maintenance("esx-00"))
            await lab.until(lambda: "does not forward" in lab.alarms("esx-00"), seconds=900)
            assert lab.on("esx-00").power_state == "poweredOn" and not lab.open_for_tenants("esx-00")
        await lab.heals(seconds=1800)
        await leaving


@pytest.mark.parametrize("away", ["disconnect_host", "lose_host"])
async def test_f7_a_host_that_comes_back_changed_is_judged_anew(scene, away):
    async with scene() as lab:
        victim = lab.on("esx-03")
        await getattr(lab.scenario, away)("esx-03")
        await lab.pass_time(3600)
        assert lab.resolves() == 0 and lab.on("esx-03") is victim
        assert lab.told("esx-03").state == "unreachable" and not lab.writes_planned()
        await lab.scenario.reconnect_host("esx-03")
        await lab.scenario.power_off(victim)
        await lab.heals(seconds=200)
        assert lab.on("esx-03") is victim


async def test_f28_after_a_power_failure_the_contrailvm_comes_first_then_the_tenants(scene):
    async with scene() as lab:
        tenant = await lab.scenario.create_vm("tenant", host="esx-02")
        await lab.scenario.crash_host("esx-02")
        await lab.until(lambda: tenant.host.name != "esx-02", seconds=200)
        assert tenant.power_state == "poweredOn" and lab.open_for_tenants(tenant.host.name), "HA goes where it forwards"
        await lab.until(lambda: lab.told("esx-02").state == "unreachable", seconds=60)
        assert lab.resolves() == 0
        await lab.scenario.boot_host("esx-02")
        assert not lab.open_for_tenants("esx-02")
        await lab.heals()
        assert lab.resolves() <= 1
        await lab.scenario.move_vm(tenant, "esx-02")


async def test_f28_tenants_of_a_host_that_boots_wait_for_its_vrouter(scene):
    async with scene(hosts=1) as lab:
        tenant = await lab.scenario.create_vm("tenant", host="esx-00")
        await lab.scenario.crash_host("esx-00")
        await lab.pass_time(60)
        started = []

        def note(done):
            for vm in (lab.on("esx-00"), tenant):
                if vm.power_state == "poweredOn" and vm not in started:
                    started.append(vm)
                    if vm is tenant:
                        started.append(lab.forwarding("esx-00"))

        await lab.scenario.boot_host("esx-00")
        assert tenant.power_state == "poweredOff"
        stop = lab.world.observe(note)
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await lab.pass_time(300)
            assert started == [lab.on("esx-00")], "it boots, without a controller, for minutes"
        await lab.until(lambda: len(started) == 3, seconds=900)
        stop()
        assert started == [lab.on("esx-00"), tenant, True], "the vRouter forwarded when the tenant started"
