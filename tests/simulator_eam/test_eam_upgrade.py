"""Updates of an agency: side-by-side upgrade with its hooks, roll-back, and changes that replace nothing."""

from __future__ import annotations

import pytest

from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import eam

pytestmark = pytest.mark.looptime


async def update(site, agency, config):
    await agency.Update(site.solution, config=config)
    await site.settle()


async def test_upgrade_without_hooks(make_site):
    async with make_site() as site:
        agency = await site.create()
        old = [agent.vm for agent in agency.agents]
        await agency.Update(site.solution, config=site.config(site.depot.package("v2", memory_mb=4096)))
        assert agency.status == "yellow"
        await site.settle()
        assert agency.status == "green"
        for agent, vm in zip(agency.agents, old, strict=True):
            assert site.world.get(vm.moid) is None
            assert (agent.vm.memory_mb, agent.vm.power_state) == (4096, "poweredOn")
        assert len(site.eam_vms()) == 2
        assert len(site.tasks("eam.agent.upgrade")) == 2
        assert site.events("agency.updated")


async def test_upgrade_stops_at_each_hook(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(site.config(hooks=True))
        agent = agency.agents[0]
        await site.mark(agent)
        await site.mark(agent)
        old = agent.vm
        await update(site, agency, site.config(site.depot.package("v2"), hooks=True))
        runtime = agent.AgentQueryRuntime(site.solution)
        assert (runtime.vm._moId, runtime.vmHook.vmState) == (old.moid, "provisioned")
        assert runtime.vmHook.vm._moId != old.moid
        assert old.power_state == "poweredOn"
        assert agent.host.available_agents == 1

        await site.mark(agent)
        runtime = agent.AgentQueryRuntime(site.solution)
        assert runtime.vmHook.vmState == "prePowerOn"
        assert site.world.get(old.moid) is None
        assert runtime.vm is None
        assert agent.host.available_agents == 0

        await site.mark(agent)
        assert agent.AgentQueryRuntime(site.solution).vmHook.vmState == "poweredOn"
        assert agent.host.available_agents == 0
        await site.mark(agent)
        assert (agent.status, agent.host.available_agents) == ("green", 1)


async def test_no_pre_power_on_hook(make_site, switches):
    async with make_site(hosts=1, switches=switches(pre_power_on_hook=False)) as site:
        agency = await site.create(site.config(hooks=True))
        agent = agency.agents[0]
        await site.mark(agent)
        await site.mark(agent)
        await update(site, agency, site.config(site.depot.package("v2"), hooks=True))
        await site.mark(agent)
        assert agent.hook == "poweredOn"


async def test_roll_back_while_held(make_site):
    async with make_site() as site:
        agency = await site.create(site.config(hooks=True))
        for _ in range(2):
            await site.mark(*agency.agents)
        old = [agent.vm for agent in agency.agents]
        await update(site, agency, site.config(site.depot.package("v2"), hooks=True))
        assert len(site.eam_vms()) == 4
        await update(site, agency, site.config(hooks=True))
        assert agency.status == "green"
        assert site.eam_vms() == old
        assert {agent.host.available_agents for agent in agency.agents} == {1}


async def test_third_package_while_the_second_is_held(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(site.config(hooks=True))
        agent = agency.agents[0]
        await site.mark(agent)
        await site.mark(agent)
        await update(site, agency, site.config(site.depot.package("v2"), hooks=True))
        second = agent.new_vm
        await update(site, agency, site.config(site.depot.package("v3", memory_mb=8192), hooks=True))
        assert site.world.get(second.moid) is None
        for _ in range(3):
            await site.mark(agent)
        assert (agent.status, agent.vm.memory_mb) == ("green", 8192)


async def test_refused_url_changes_nothing(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        with pytest.raises(SoapFault) as refused:
            await agency.Update(site.solution, config=site.config(f"{site.depot.url}/v9/none.ovf"))
        assert isinstance(refused.value.fault, eam.fault.InvalidUrl)
        await site.settle()
        assert (agency.status, agency.agents[0].vm) == ("green", vm)
        assert agency.QueryConfig(site.solution).agentConfig[0].ovfPackageUrl.endswith("/v1/contrailvm.ovf")


async def test_failed_upgrade_keeps_the_old_vm_and_rolls_back(make_site):
    async with make_site() as site:
        agency = await site.create()
        first, second = agency.agents
        old = first.vm
        site.add_fault(point="eam.deploy", where={"host": first.host.name}, fault="HostCommunication")
        await update(site, agency, site.config(site.depot.package("v2")))
        assert (first.status, second.status) == ("red", "green")
        assert (first.vm, old.power_state) == (old, "poweredOn")
        assert first.host.available_agents == 1
        await update(site, agency, site.config())
        assert agency.status == "green"
        assert first.vm is old


async def test_package_that_does_not_power_on_is_replaced_by_the_next_update(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        site.add_fault(point="eam.power_on", fault="InvalidDeviceBacking", times=1)
        await update(site, agency, site.config(site.depot.package("v2")))
        assert site.issues(agency) == ["InvalidConfig"]
        await update(site, agency, site.config(site.depot.package("v3", memory_mb=8192)))
        assert agency.status == "green"
        assert [vm.memory_mb for vm in site.eam_vms()] == [8192]


async def test_package_that_never_beats_is_replaced(make_site):
    async with make_site(hosts=1) as site:
        site.heartbeats = False
        agency = await site.create()
        assert agency.status == "yellow"
        site.heartbeats = True
        await update(site, agency, site.config(site.depot.package("v2")))
        assert agency.status == "green"
        assert len(site.eam_vms()) == 1


async def test_package_changed_before_the_first_power_on(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create(site.config(hooks=True))
        first = agency.agents[0].vm
        await update(site, agency, site.config(site.depot.package("v2", memory_mb=4096), hooks=True))
        agent = agency.agents[0]
        assert site.world.get(first.moid) is None
        assert (agent.hook, agent.vm.memory_mb) == ("provisioned", 4096)


async def test_properties_are_changed_in_place(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        booted = vm.boot_time
        await update(site, agency, site.config(properties={"manager_url": "https://127.0.0.1:9"}))
        assert (agency.agents[0].vm, vm.boot_time) == (vm, booted)
        assert vm.vapp_properties["manager_url"] == "https://127.0.0.1:9"
        assert vm.ovf_environment["manager_url"] == "https://127.0.0.1:8444"
        assert agency.status == "green"


async def test_new_properties_may_restart_the_vm(make_site, switches):
    async with make_site(hosts=1, switches=switches(environment_restarts=True)) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        await update(site, agency, site.config(properties={"manager_url": "https://127.0.0.1:9"}))
        assert agency.agents[0].vm is vm
        assert vm.ovf_environment["manager_url"] == "https://127.0.0.1:9"
        assert agency.status == "green"


async def test_same_configuration_does_nothing(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm, version = agency.agents[0].vm, agency.agents[0].vm.change_version
        await update(site, agency, agency.QueryConfig(site.solution))
        assert (agency.agents[0].vm, vm.change_version, agency.status) == (vm, version, "green")


async def test_unset_fields_stay_as_they_were(make_site):
    async with make_site(hosts=2, clusters=2) as site:
        agency = await site.create()
        scope = eam.Agency.ComputeResourceScope(computeResource=[item.ref for item in site.inventory.clusters])
        await update(site, agency, eam.Agency.ConfigInfo(scope=scope))
        assert (agency.name, len(agency.agents), agency.status) == ("ContrailVM-C0", 2, "green")


async def test_networks_apply_to_new_deployments_only(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        await update(site, agency, site.config(agentVmNetwork=[site.inventory.vm_network.ref]))
        assert agency.agents[0].vm is vm
        await site.delete(vm)
        await site.resolve_all(agency)
        assert agency.agents[0].vm.nics[0].network is site.inventory.vm_network


async def test_upgrade_waits_for_the_end_of_maintenance(make_site):
    async with make_site(hosts=2) as site:
        agency = await site.create()
        host = site.hosts[0]
        await site.enter_maintenance(host)
        await update(site, agency, site.config(site.depot.package("v2", memory_mb=4096)))
        assert site.issues(agency) == ["VmRequiresHostOutOfMaintenanceMode"]
        await site.exit_maintenance(host)
        assert agency.status == "green"
        assert [vm.memory_mb for vm in site.eam_vms()] == [4096, 4096]
