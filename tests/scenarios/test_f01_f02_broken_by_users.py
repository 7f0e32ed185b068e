"""F1 and F2: what users power off, suspend or delete comes back; what breaks again and again is left to a person."""

import pytest

from contrail_vsphere.contrailvm.bootstrap.request import EnrolmentRefused, GuestIdentity
from contrail_vsphere.model.errors import NotReadyYet
from contrail_vsphere.simulator.vcenter import vm_life

pytestmark = pytest.mark.looptime

RESERVED = """
[deployment.dc1]
clusters = ["C0"]
package = "{version}"
datastores = ["nfs-shared"]
reservation = {{ cpu_mhz = 3000, memory_mb = 1200 }}
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


@pytest.mark.parametrize(
    ("mischief", "words"), [("power_off", "powered off"), ("suspend", "suspended"), ("delete_vm", "deleted")]
)
async def test_f1_an_event_in_vcenter_names_the_user(scene, mischief, words):
    async with scene(hosts=2) as lab:
        victim, host = lab.on("esx-01"), lab.host("esx-01")
        await getattr(lab.scenario, mischief)(victim)
        await lab.heals(seconds=300)
        event = lab.told_in_vcenter("repaired")[-1]
        user = lab.vcenter.ready["username"]
        assert event.message.startswith(f"{victim.name} on esx-01 was {words} by {user}; ")
        assert event.host.host._moId == host.moid and event.severity == "info"
        assert {each.key: each.value for each in event.arguments}["user"] == user
        assert not lab.told_in_vcenter("held")


async def test_f1_what_vcenter_did_by_itself_is_no_users_doing(scene):
    async with scene(hosts=2) as lab:
        await lab.scenario.power_off(lab.on("esx-00"))
        await lab.heals(seconds=120)
        await vm_life.power_off(lab.world, lab.on("esx-00"), user="")
        await lab.heals(seconds=120)
        first, second = lab.told_in_vcenter("repaired")
        assert lab.vcenter.ready["username"] in first.message
        assert lab.vcenter.ready["username"] not in second.message, "the deed of before is not told again"


async def test_f1_events_that_cannot_be_posted_stand_in_nobodys_way(scene):
    async with scene(hosts=2) as lab:
        with lab.while_faulty(method="PostEvent", fault="NoPermission", fields={"privilegeId": "Global.LogEvent"}):
            await lab.scenario.power_off(lab.on("esx-01"))
            await lab.heals(seconds=120)
        assert lab.vcenter.calls["PostEvent"] and not lab.told_in_vcenter("repaired")


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
        (held,) = lab.told_in_vcenter("held")
        assert held.severity == "warning" and f"suspended by {lab.vcenter.ready['username']}" in held.message
        lab.manager.operator.release(host="esx-01")
        await lab.heals(seconds=120)


async def test_f2_a_deletion_counts_once_for_the_flap_guard(scene):
    async with scene(hosts=2) as lab:
        for _ in range(3):
            await lab.scenario.delete_vm(lab.on("esx-01"))
            await lab.heals(seconds=240)
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.until(lambda: lab.told("esx-01").state == "held", seconds=60)
        assert lab.on("esx-01") is None and lab.forwarding("esx-00")
        lab.manager.operator.release(host="esx-01")
        await lab.heals(seconds=240)


async def test_f2_a_new_contrailvm_is_wired_and_reserved_as_the_old_one(scene):
    async with scene(text=RESERVED) as lab:
        old = lab.on("esx-02")
        wired, token, uuid = lab.wiring(old), old.vapp_properties["bootstrap_token"], old.instance_uuid
        reserved = (old.cpu_reservation, old.memory_reservation)
        assert wired == ["mgmt", "contrailvm-overlay"]
        assert reserved == (3000, 1200), "the deployment's word goes, over and under the package's 2000 and 8192"
        await lab.scenario.delete_vm(old)
        await lab.heals()
        new = lab.on("esx-02")
        assert new is not old and new.instance_uuid != uuid
        assert lab.wiring(new) == wired
        assert (new.cpu_reservation, new.memory_reservation) == reserved
        assert new.vapp_properties["bootstrap_token"] not in ("", token)
        guests = lab.vcenter.guests
        assert guests.guest(new).outcome.configuration.vrouter_name == "esx-02", "the old vRouter's identity"


async def test_f2_the_unused_token_of_a_contrailvm_that_is_gone_opens_nothing(scene):
    async with scene() as lab:
        with lab.while_faulty(point="guest.boot", drop=True):
            await lab.scenario.delete_vm(lab.on("esx-02"))
            await lab.until(lambda: lab.told("esx-02").state == "hook-powered-on")
            unused = lab.on("esx-02")
            token, identity = unused.vapp_properties["bootstrap_token"], identity_of(lab, unused)
            await lab.scenario.delete_vm(unused)
            await lab.pass_time(1)
            with pytest.raises((EnrolmentRefused, NotReadyYet)):
                await lab.manager.office.redeem(token, identity)
            await lab.until(lambda: lab.on("esx-02") not in (None, unused))
            await lab.until(lambda: lab.told("esx-02").state == "hook-powered-on")
        with pytest.raises(EnrolmentRefused):
            await lab.manager.office.redeem(token, identity)
        await lab.heals(seconds=3000)
        with pytest.raises(EnrolmentRefused):
            await lab.manager.office.redeem(token, identity)


def identity_of(lab, vm):
    """What the guest of that VM would say of itself."""
    return GuestIdentity(
        instance_uuid=vm.instance_uuid,
        bios_uuid=vm.bios_uuid,
        vm_id=vm.moid,
        agency_id=lab.agencies()[0].name,
        macs=tuple(sorted(nic.mac.lower() for nic in vm.nics)),
        key_sha256="0" * 64,
        address="127.0.0.1",
    )
