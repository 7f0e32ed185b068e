"""F19 and F30 on a whole stand: a stolen token opens nothing, a copy of a ContrailVM gets nothing and hears nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / name) for name in ("scenarios", "contrailvm")]

from scene import Scene  # noqa: E402 - found by the path above
from thief import Thief, bound_to  # noqa: E402

from contrail_vsphere.contrailvm.bootstrap.request import ClientCertificate, EnrolmentRefused  # noqa: E402
from contrail_vsphere.simulator.vcenter.dvs_ports import policy_in_force  # noqa: E402
from contrail_vsphere.vsphere.endpoint import PasswordLogin  # noqa: E402
from contrail_vsphere.vsphere.vcenter import VCenter  # noqa: E402
from contrail_vsphere.wire.soap.types import vim  # noqa: E402

pytestmark = pytest.mark.looptime


@pytest.fixture
def scene(tmp_path):
    return lambda **options: Scene(tmp_path, **options)


async def clone(lab, source, name, *, host="esx-01"):
    ready = lab.vcenter.ready
    async with VCenter(lab._endpoint, PasswordLogin(ready["username"], ready["password"])) as it:
        place = vim.vm.RelocateSpec(host=lab.host(host).ref)
        spec = vim.vm.CloneSpec(location=place, powerOn=True, template=False)
        folder = lab.world.get(source.parent.moid).ref
        await it.run_task(source.ref, "CloneVM_Task", folder=folder, name=name, spec=spec)
    return next(vm for vm in lab.scenario.vms() if vm.name == name)


def blocked(lab, *, anybody=False) -> set:
    """VMs on the overlay trunk whose ports are blocked; with ``anybody`` blocked ports that nobody is on count too."""
    trunk = lab.trunk()
    ports = [port for port in trunk.dvs.ports.ports.values() if port.group is trunk and (port.vm or anybody)]
    return {port.vm for port in ports if policy_in_force(port, "blocked").value}


async def test_f30_a_token_that_was_spent_opens_nothing(scene):
    async with scene(hosts=1) as lab:
        assert await Thief(lab, lab.on("esx-00")).redeem() == 403
        assert lab.forwarding("esx-00")


@pytest.mark.parametrize(
    "lie",
    [
        {"vm_id": "vm-9999"},
        {"vm_id": ""},
        {"bios_uuid": "", "instance_uuid": "5021aaaa-0000-0000-0000-000000000001"},
        {"bios_uuid": "4221aaaa-0000-0000-0000-000000000001"},
        {"agency_id": "dc1-domain-c99-00000000"},
        {"agency_id": ""},
        {"macs": []},
        {"macs": ["00:50:56:99:99:99"]},
    ],
    ids=lambda lie: f"{next(iter(lie))} {next(iter(lie.values())) or 'left out'}",
)
async def test_f30_a_fresh_token_is_bound_to_its_vm_and_void_after_a_wrong_try(scene, lie):
    async with scene(hosts=1) as lab:
        vm = lab.on("esx-00")
        thief = Thief(lab, vm)
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        assert await thief.redeem(token, **lie) == 403
        assert await thief.redeem(token) == 403, "it has leaked"


async def test_f30_a_right_answer_is_taken(scene):
    """So that the refusals above are for what they seem."""
    async with scene(hosts=1) as lab:
        vm = lab.on("esx-00")
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        assert await Thief(lab, vm).redeem(token) == 200


async def test_f30_firmware_may_show_its_uuid_in_the_other_order(scene):
    async with scene(hosts=1) as lab:
        vm = lab.on("esx-00")
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        other = str(UUID(bytes_le=UUID(vm.bios_uuid).bytes))
        assert await Thief(lab, vm).redeem(token, bios_uuid=other) == 200


async def test_f30_a_subset_of_the_nics_is_not_enough(scene):
    async with scene(hosts=1) as lab:
        vm = lab.on("esx-00")
        token = lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        assert await Thief(lab, vm).redeem(token, macs=[vm.nics[0].mac]) == 403


async def test_the_token_of_a_deleted_contrailvm_opens_nothing_from_the_same_moment_on(scene):
    async with scene(hosts=1) as lab:
        vm = lab.on("esx-00")
        thief, token = Thief(lab, vm), lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        await lab.scenario.delete_vm(vm)
        assert vm.moid in lab.client.inventory.vms, "the inventory does not know yet"
        assert await thief.redeem(token) == 403


async def test_the_token_of_a_contrailvm_that_was_moved_opens_nothing(scene):
    async with scene(hosts=2) as lab:
        vm = lab.on("esx-00")
        thief, token = Thief(lab, vm), lab.manager.office.mint(vm.moid, bound_to(lab, vm))
        with lab.world.commit() as tx:
            tx.set(vm, host=lab.host("esx-01"))
        assert await thief.redeem(token) == 403
        with lab.world.commit() as tx:
            tx.set(vm, host=lab.host("esx-00"))
        lab.violations.clear()  # two on one host is what was made


async def test_a_thief_that_watches_a_redeployment_never_gets_in(scene):
    async with scene(hosts=1) as lab:
        old = lab.on("esx-00")
        await lab.scenario.delete_vm(old)
        answers: list[int] = []

        async def steal():
            while True:
                vm = lab.on("esx-00")
                if vm is not None and vm.vapp_properties.get("bootstrap_token"):
                    thief = Thief(lab, vm)
                    answers.append(await thief.redeem(vm_id=old.moid, macs=[nic.mac for nic in old.nics]))
                    return
                await asyncio.sleep(1.0)

        stealing = asyncio.create_task(steal())
        await lab.until(lambda: lab.healed() and lab.converged(), seconds=3600)
        await stealing
        assert answers == [403]


async def test_the_certificate_of_a_replaced_contrailvm_is_revoked_before_the_next_has_its_own(scene):
    async with scene(hosts=1) as lab:
        (key,) = lab.manager.notebook.desired
        host = lab.host("esx-00").moid
        record = lab.manager.notebook.host(key, host)
        old = ClientCertificate(common_name="x", serial=1, key_sha256=record.enrolled_key, sha256="")
        assert (await lab.manager.office.configuration(old)).host == host
        await lab.scenario.delete_vm(lab.on("esx-00"))
        await lab.until(lambda: record.enrolled not in lab.client.inventory.vms)
        with pytest.raises(EnrolmentRefused):
            await lab.manager.office.configuration(old)
        await lab.until(lambda: lab.on("esx-00") and lab.on("esx-00").vapp_properties.get("bootstrap_token"))
        assert lab.manager.notebook.host(key, host).enrolled_key != record.enrolled_key
        await lab.until(lab.healed)
        with pytest.raises(EnrolmentRefused):
            await lab.manager.office.configuration(old)


async def test_f2_the_vrouter_keeps_its_name_and_its_addresses_over_a_redeployment(scene):
    async with scene(hosts=2) as lab:
        old = lab.on("esx-00")
        macs = [nic.mac for nic in sorted(old.nics, key=lambda nic: nic.key)]
        assert all(mac.startswith("02:") for mac in macs) and len(set(macs)) == len(macs)
        assert not set(macs) & {nic.mac for nic in lab.on("esx-01").nics}
        with lab.world.commit() as tx:
            tx.set(lab.host("esx-00"), name="esx-00.renamed")
        await lab.scenario.delete_vm(old)
        await lab.until(lambda: lab.healed() and lab.on("esx-00.renamed") is not None)
        new = lab.on("esx-00.renamed")
        assert new is not old
        assert [nic.mac for nic in sorted(new.nics, key=lambda nic: nic.key)] == macs
        agent = lab.vcenter.guests.disk(new).files["/etc/contrail/contrail-vrouter-agent.conf"].decode()
        assert "esx-00\n" in agent and "renamed" not in agent


async def test_f19_a_clone_is_told_of_hears_nothing_and_gets_no_certificate(scene):
    async with scene(hosts=2) as lab:
        original = lab.on("esx-00")
        copy = await clone(lab, original, "backup of ContrailVM")
        await lab.until(lambda: "backup of ContrailVM" in lab.alarms(), seconds=180)
        await lab.until(lambda: blocked(lab) == {copy})
        agent = lab.vcenter.vrouters.agents.get(copy.moid)
        assert agent is None or not agent.forwards
        assert copy.power_state == "poweredOn", "it is not ours to stop"
        assert lab.healed()

        await lab.scenario.delete_vm(copy)
        await lab.until(lambda: "backup" not in lab.alarms(), seconds=300)
        await lab.until(lambda: not blocked(lab, anybody=True))


async def test_f19_contrailvms_being_deployed_or_replaced_are_no_strangers(scene):
    async with scene(hosts=3, deploy=False) as lab:
        lab.apply()
        for _ in range(40):
            await asyncio.sleep(3)
            assert "overlay trunk" not in lab.alarms()
        await lab.until(lab.healed)
        await lab.crash()
        await lab.resume()
        await lab.scenario.delete_vm(lab.on("esx-01"))
        await lab.until(lab.healed)
        assert not any(lab.manager.notebook.memory(key).record.quarantined for key in lab.manager.notebook.desired)
