"""The ContrailVM Manager opens a host to tenants only when the plugin owes it no port."""

import asyncio

import pytest
from host_estate import HostEstate

pytestmark = pytest.mark.looptime


def opened(host):
    return host.available_agents >= host.required_agents == 1


async def test_hosts_are_opened_once_the_plugin_acts_and_has_plugged_what_it_owes(tmp_path):
    async with HostEstate(tmp_path / "estate", inside=False) as estate:
        hosts = estate.vcenter.scenario.hosts()
        agents = estate.vcenter.vrouters.agents
        await estate.until(lambda: sum(each.forwards for each in agents.values()) == 2, seconds=900)
        await asyncio.sleep(60)
        assert not any(opened(host) for host in hosts), "nobody can say that they are synced"
        await estate.central_begins()
        await estate.until(lambda: all(opened(host) for host in hosts), seconds=300)
        estate.network("red")
        await estate.until(lambda: "red" in estate.groups())
        vms = [await estate.vm(f"vm-{number}", "red", host=number) for number in range(2)]
        await estate.until(lambda: all(estate.served(vm) for vm in vms))
