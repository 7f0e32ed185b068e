"""With a plugin in each ContrailVM, a host is opened, and a rollout goes on, when that host's plugin says it is synced.

The guests run the shipped first-boot program; what reports is the product's reporter, with what that left on the disk.
"""

from __future__ import annotations

import asyncio
import tomllib
from contextlib import asynccontextmanager

import aiohttp
import pytest
from rollout_scene import RolloutScene

from contrail_vsphere.app.synced import HostReports
from contrail_vsphere.app.synced_report import SyncedReporter
from contrail_vsphere.contrailvm.bootstrap.enrolment import PLUGIN_SERVICE
from contrail_vsphere.contrailvm.bootstrap.host_configuration import PluginConfiguration
from contrail_vsphere.pki.identity import Identity

pytestmark = pytest.mark.looptime


class PluginScene(RolloutScene):
    """``owing``: versions whose plugins never have all ports. ``dead``: versions whose plugins do not run."""

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.reports = HostReports(lambda certificate: self.manager.office.host_of(certificate))
        self.synced, self.report = self.reports, self.reports.take
        self.owing: set[str] = set()
        self.dead: set[str] = set()
        self.reporters: dict[str, SyncedReporter] = {}

    async def resume(self):
        await super().resume()
        self.manager.office.plugin_of = lambda _host: PluginConfiguration({"vcenter": {}, "contrail": {}, "plugin": {}})
        self.vcenter.guests.programs[PLUGIN_SERVICE] = self.boot

    @asynccontextmanager
    async def boot(self, vm, machine):
        files = machine.disk.files
        door = tomllib.loads(files["/etc/contrail/vcenter-plugin.toml"].decode())["vcenter"]["site"]
        home = self.directory / f"disk-{vm.moid}"
        home.mkdir(exist_ok=True)
        for name in ("manager_ca_file", "manager_cert_file", "manager_key_file"):
            file = home / name
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(files[door[name]])
        identity = Identity(home / "manager_key_file", home / "manager_cert_file")
        version = vm.product_version
        async with aiohttp.ClientSession() as http:
            reporter = SyncedReporter(
                door["manager_url"],
                http,
                lambda: identity.client_context(ca_file=home / "manager_ca_file"),
                state=lambda: (False, "3 ports are not plugged yet") if version in self.owing else (True, ""),
            )
            self.reporters[vm.moid] = reporter
            if version not in self.dead:
                reporter.start()
            yield
            await reporter.stop()

    def on_new(self):
        return {name for name, version in self.versions().items() if version == "1.1.0"}


@pytest.mark.parametrize("why", ["owes ports", pytest.param("does not run", marks=pytest.mark.soak)])
async def test_an_upgraded_host_s_turn_waits_for_its_plugin(tmp_path, why):
    async with PluginScene(tmp_path, hosts=2) as scene:
        (scene.owing if why == "owes ports" else scene.dead).add("1.1.0")
        await scene.upgrade("1.1.0")
        await scene.until(lambda: any(scene.forwarding(host) for host in scene.on_new()), seconds=300)
        (first,) = scene.on_new()
        await scene.pass_time(80)
        assert scene.on_new() == {first}, "nobody else begins"
        assert scene.forwarding(first)
        assert not scene.open_for_tenants(first)
        if why == "owes ports":
            assert "3 ports are not plugged yet" in scene.told(first).next
        else:
            assert "has not reported yet" in scene.told(first).next
            vm = next(v for v in scene.contrailvms() if v.host.name == first and v.product_version == "1.1.0")
            scene.reporters[vm.moid].start()
        scene.owing.clear()
        scene.dead.clear()
        await scene.until(lambda: scene.over() and scene.all_on("1.1.0"), seconds=3600)


async def test_a_host_whose_plugin_never_has_its_ports_ends_the_upgrade_with_an_alarm(tmp_path):
    async with PluginScene(tmp_path, hosts=2) as scene:
        scene.owing.add("1.1.0")
        await scene.upgrade("1.1.0")
        await scene.until(lambda: scene.on_new(), seconds=300)
        (first,) = scene.on_new()
        await scene.until(lambda: "not plugged" in scene.alarms(first), seconds=200)
        assert "does not forward" not in scene.alarms(first)
        await scene.until(lambda: scene.all_on("1.0.0") and scene.over(), seconds=3600)
        assert set(scene.turns) <= {first}, "nobody else was ever touched"


async def test_what_a_contrailvm_said_does_not_count_for_the_one_in_its_place(tmp_path):
    async with PluginScene(tmp_path, hosts=1) as scene:
        vm = scene.on("esx-00")
        assert await scene.reports(vm.host.moid) == (True, "")
        scene.dead.add("1.0.0")
        await scene.scenario.power_off(vm)
        await scene.scenario.delete_vm(vm)
        await scene.until(lambda: scene.forwarding("esx-00"), seconds=900)
        assert not scene.open_for_tenants("esx-00")
        assert (await scene.reports(scene.on("esx-00").host.moid))[0] is False
        await asyncio.sleep(60)
        assert not scene.open_for_tenants("esx-00")


async def test_who_falls_silent_is_not_believed_for_long(tmp_path):
    async with PluginScene(tmp_path, hosts=1) as scene:
        vm = scene.on("esx-00")
        await scene.reporters[vm.moid].stop()
        await asyncio.sleep(80)
        synced, reason = await scene.reports(vm.host.moid)
        assert not synced
        assert "has not reported for" in reason
        scene.reporters[vm.moid].start()
        await asyncio.sleep(1)
        assert await scene.reports(vm.host.moid) == (True, "")
