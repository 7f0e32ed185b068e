"""A plugin in every ContrailVM, configured by its first boot: it serves its host and dies with it, alone."""

import asyncio

import pytest
from host_estate import HostEstate

from contrail_vsphere.app.plugin import PluginService
from contrail_vsphere.config.load import load
from contrail_vsphere.model.errors import AuthenticationFailed

pytestmark = pytest.mark.looptime


async def test_each_contrailvm_serves_its_host_by_what_its_first_boot_left(tmp_path):
    async with HostEstate(tmp_path / "estate") as estate:
        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        vms = [await estate.vm(f"vm-{number}", "red", host=number % 2) for number in range(4)]
        await estate.until(lambda: all(estate.served(vm) for vm in vms))
        await asyncio.sleep(60)
        estate.check()
        for host in estate.vcenter.scenario.hosts():
            assert host.available_agents >= host.required_agents == 1, "open to tenants: its own plugin said so"
        assert len(estate.objects("virtual-machine-interface")) == len(estate.objects("virtual-machine")) == 4


async def test_when_a_plugin_or_its_contrailvm_dies_only_its_host_waits(tmp_path):
    async with HostEstate(tmp_path / "estate") as estate:
        first = estate.vcenter.scenario.hosts()[0]
        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        old = [await estate.vm(f"old-{number}", "red", host=number) for number in range(2)]
        await estate.until(lambda: all(estate.served(vm) for vm in old))

        await estate.end_plugin(first.name)
        new = [await estate.vm(f"new-{number}", "red", host=number) for number in range(2)]
        await estate.until(lambda: estate.served(new[1]))
        await asyncio.sleep(60)
        assert not estate.is_open(estate.port(new[0])), "blocked until its plugin is back"
        assert estate.served(old[0]), "what was plugged stays plugged"
        estate.start_plugin(first.name)
        await estate.until(lambda: estate.served(new[0]))

        # The ContrailVM goes down, and with it the plugin of that host; the manager brings both back.
        was = estate.contrailvm(first)
        await estate.vcenter.scenario.power_off(was)
        await estate.until(lambda: first.name not in estate.guests)
        late = await estate.vm("late", "red", host=1)
        await estate.until(lambda: estate.served(late))
        await estate.until(lambda: first.name in estate.guests, seconds=900)
        again = await estate.vm("again", "red", host=0)
        await estate.until(lambda: all(estate.served(vm) for vm in (*old, *new, late, again)), seconds=300)
        estate.check()
        assert len(estate.objects("virtual-machine-interface")) == 6


async def test_nothing_on_a_contrailvm_opens_vcenter_and_a_replaced_one_is_let_in_no_more(tmp_path):
    async with HostEstate(tmp_path / "estate", hosts=1) as estate:
        (host,) = estate.vcenter.scenario.hosts()
        disk = estate.vcenter.guests.disk(estate.contrailvm(host)).files
        assert "/etc/contrail/vcenter-plugin.toml" in disk
        assert b"vmware_mode=esxi_neutron\n" in disk["/etc/contrail/contrail-vrouter-agent.conf"]
        secret = estate.vcenter.ready["password"].encode()
        assert not [path for path, content in disk.items() if secret in content]

        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        vm = await estate.vm("vm", "red")
        await estate.until(lambda: estate.served(vm))
        old = load(estate.files[host.name], {})
        await estate.vcenter.scenario.power_off(estate.contrailvm(host))
        await estate.vcenter.scenario.delete_vm(estate.contrailvm(host))
        await estate.until(lambda: host.name in estate.guests, seconds=900)
        await estate.until(lambda: estate.served(vm), seconds=300)
        with pytest.raises(AuthenticationFailed, match=r"replaced|not known"):
            await PluginService(old, now=estate.now, seed=4).__aenter__()
