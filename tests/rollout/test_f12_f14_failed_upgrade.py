"""F12, F14: a bad package is stopped at the first host that shows it, and everything goes back to the one before."""

import hashlib

import pytest

from contrail_vsphere.contrailvm.package import make_demo_package, verify
from contrail_vsphere.model.errors import DesiredStateError, PackageError
from contrail_vsphere.simulator.core.faults import FaultRule

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("profile", ["vc65", "vc80u3"])
async def test_f14_the_canary_fails_and_nobody_else_ever_noticed(scene, profile):
    async with scene(hosts=4, profile=profile) as lab:
        before = {vm.moid for vm in lab.contrailvms()}
        lab.break_package("1.1.0")
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert set(lab.turns) == {"esx-00"} and set(lab.dark) == {"esx-00"}
        assert len(before & {vm.moid for vm in lab.contrailvms()}) == 3, "the other three were never replaced"
        assert lab.told_in_vcenter("rolledBack")


async def test_f14_a_host_fails_after_the_canary_passed(scene):
    async with scene(hosts=5) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: len(lab.rollout().passed) == 2, seconds=1800)
        lab.break_package("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert "esx-03" not in lab.turns and "esx-04" not in lab.turns, "they were held in their hook"
        assert not {"esx-03", "esx-04"} & set(lab.dark)
        assert lab.most_dark <= 1


async def test_f14_stop_instead_of_rollback_waits_for_a_person(scene):
    async with scene(hosts=3, rollout='gate = 20\non_failure = "stop"') as lab:
        rule = lab.break_package("1.1.0")
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().state == "stopped", seconds=1800)
        assert "esx-00 is not well" in lab.alarms()
        await lab.pass_time(1200)
        assert set(lab.dark) == {"esx-00"}
        lab.vcenter.faults.remove(rule)
        lab.manager.operator.release()
        lab.manager.operator.upgrades.resume("dc1")
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.1.0")


async def test_f12_a_package_that_vcenter_cannot_import_never_costs_a_vrouter(scene):
    async with scene(hosts=4, clusters=2) as lab:
        lab.fault(point="eam.deploy", fault="OvfInvalidPackage", fields={"lineNumber": 1})
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        lab.vcenter.faults.clear()
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert not lab.turns and not lab.dark


@pytest.mark.parametrize("profile", ["vc67", "vc80u3"])
async def test_f12_a_package_that_cannot_be_powered_on_is_stopped_at_the_canary(scene, profile):
    async with scene(hosts=3, profile=profile) as lab:
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.waiting(), seconds=600)
        lab.vcenter.faults.add(
            FaultRule(point="eam.power_on", fault="InvalidDeviceSpec", fields={"property": "x"}, times=9)
        )
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        lab.vcenter.faults.clear()
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert len(set(lab.dark)) == 1


async def test_f14_when_the_controllers_are_down_the_package_is_not_to_blame(scene):
    async with scene(hosts=4) as lab:
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().turns, seconds=600)
        for name in list(lab.vcenter.vrouters.agents):
            await lab.scenario.vrouter(name, "xmpp-down")
        with lab.while_faulty(point="vrouter.connect", drop=True):
            await lab.pass_time(900)
            assert (lab.rollout().kind, lab.rollout().state) == ("upgrade", "running")
            assert len(set(lab.turns)) <= 1


async def test_f14_a_bad_package_is_found_out_without_canaries_too(scene):
    """Most hosts fail at once, which looks like controllers that are down, but only those in turn do."""
    async with scene(hosts=4, rollout="gate = 20\ncanary = 0\nconcurrency = 3") as lab:
        lab.break_package("1.1.0")
        lab.begin_watch()
        await lab.upgrade("1.1.0")
        await lab.until(lambda: lab.rollout().kind == "rollback", seconds=1800)
        await lab.until(lab.over, seconds=3600)
        assert lab.all_on("1.0.0")
        assert lab.most_dark == 3 and "esx-03" not in lab.dark


WRONG = {
    "bad XML": (b"<NetworkSection>", b"<Networks>", "not well-formed XML"),
    "a property is missing": (b'ovf:key="agency_id"', b'ovf:key="agency"', "the property 'agency_id' is missing"),
    "an unknown network": (b"<rasd:Connection>overlay<", b"<rasd:Connection>elsewhere<", "elsewhere"),
    "hardware that no host knows": (b"vmx-13", b"vmx-99", "no hardware version of 'vmx-99' will do"),
    "a disk that is not there": (b'ovf:href="contrailvm-disk1.vmdk"', b'ovf:href="lost.vmdk"', "is missing"),
}


async def test_f12_a_wrong_package_is_refused_before_it_is_published_and_no_upgrade_can_name_it(scene):
    """The manifest fits each time: it is what the package says that is wrong, not that it was damaged on the way."""
    async with scene(hosts=1, versions=()) as lab:
        updates = lab.vcenter.calls["Update"]
        for number, (what, (old, new, complaint)) in enumerate(WRONG.items()):
            version = f"1.1.{number}"
            package = make_demo_package(lab.directory / f"wrong-{number}", version=version)
            falsify(package.directory, old, new)
            with pytest.raises(PackageError) as refused:
                await lab.publisher.publish(verify(package.directory))
            assert any(complaint in line for line in refused.value.problems), (what, refused.value.problems)
            assert not any("manifest" in line for line in refused.value.problems), what
            with pytest.raises(DesiredStateError, match="no package"):
                await lab.upgrade(version)
        assert lab.rollout() is None and lab.vcenter.calls["Update"] == updates and lab.all_on("1.0.0")


async def test_f12_a_package_that_was_changed_after_it_was_looked_at_is_not_published(scene):
    async with scene(hosts=1, versions=()) as lab:
        package = make_demo_package(lab.directory / "changed", version="1.1.0")
        falsify(package.directory, b"vmx-13", b"vmx-14")
        with pytest.raises(PackageError):
            await lab.publisher.publish(package)
        assert [each.version for each in lab.publisher.store.packages.values()] == ["1.0.0"]


def falsify(directory, old, new) -> None:
    """Change the descriptor, and the manifest with it."""
    descriptor, manifest = directory / "contrailvm.ovf", directory / "contrailvm.mf"
    data = descriptor.read_bytes()
    assert old in data, old
    before = hashlib.sha256(data).hexdigest()
    descriptor.write_bytes(data.replace(old, new))
    after = hashlib.sha256(descriptor.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(before, after))
