"""Agencies in a simulated vCenter: deployment, hooks, what people do, maintenance, removal."""

from __future__ import annotations

import pytest

from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import eam

pytestmark = pytest.mark.looptime


async def test_one_vm_per_host_and_green(make_site):
    async with make_site() as site:
        agency = await site.create()
        assert agency.status == "green"
        assert [agent.host for agent in agency.agents] == site.hosts
        for agent in agency.agents:
            assert agent.vm.host is agent.host
            assert agent.vm.power_state == "poweredOn"
            assert agent.vm.managed_by.extension_key == "com.vmware.vim.eam"
            assert agent.vm.parent.name == "ESX Agents"
            assert agent.vm.resource_pool.name == "ESX Agents"
            assert agent.vm.vapp_properties["manager_url"] == "https://127.0.0.1:8444"
            assert agent.vm.memory_mb == 2048
        assert sorted(agent.vm.name for agent in agency.agents) == ["ContrailVM (1)", "ContrailVM (2)"]
        assert len(site.tasks("eam.agent.install")) == 2
        for name in ("agency.create", "agency.goalstate", "agency.statusChanged"):
            assert site.events(name), name
        for name in ("agent.created", "agent.task.deployVm", "agent.task.powerOnVm", "agent.statusChanged"):
            assert len(site.events(name)) >= 2, name
        assert site.depot.requests.count("HEAD /v1/contrailvm.vmdk") == 2
        runtime = agency.agents[0].AgentQueryRuntime(site.solution)
        assert (runtime.status, runtime.vmPowerState, runtime.receivingHeartBeat) == ("green", "poweredOn", True)
        assert runtime.vm._moId == agency.agents[0].vm.moid


async def test_linked_clones_fetch_the_disk_once(make_site):
    async with make_site() as site:
        await site.create(site.config(optimizedDeploymentEnabled=None), goal="enabled")
        await site.do(host_life.add_host(site.world, site.cluster, name="esx-99"))
        new = next(host for host in site.cluster.hosts if host.name == "esx-99")
        site.set_agent_places(new)
        await site.settle()
        assert 1 <= site.depot.requests.count("GET /v1/contrailvm.vmdk") <= 3


async def test_no_heartbeat_stays_yellow(make_site):
    async with make_site() as site:
        site.heartbeats = False
        agency = await site.create()
        assert agency.status == "yellow"
        assert {agent.phase.value for agent in agency.agents} == {"wait-heartbeat"}
        assert site.hosts[0].available_agents == 1


async def test_hooks_hold_until_marked(make_site):
    async with make_site() as site:
        agency = await site.create(site.config(hooks=True))
        agent = agency.agents[0]
        hook = agent.AgentQueryRuntime(site.solution).vmHook
        assert (hook.vm._moId, hook.vmState) == (agent.vm.moid, "provisioned")
        assert agent.vm.power_state == "poweredOff"
        await site.sleep(36_000)
        assert agent.vm.power_state == "poweredOff"

        await site.mark(agent)
        assert agent.vm.power_state == "poweredOn"
        assert agent.AgentQueryRuntime(site.solution).vmHook.vmState == "poweredOn"
        assert (agent.host.required_agents, agent.host.available_agents) == (1, 0)
        assert agent.status == "yellow"

        await site.mark(agent)
        assert agent.AgentQueryRuntime(site.solution).vmHook is None
        assert (agent.status, agent.host.available_agents) == ("green", 1)
        await site.mark(agent)
        assert agent.status == "green"
        assert len(site.events("agent.markAgentVmAsAvailableAfterProvisioning")) == 2
        assert len(site.events("agent.markAgentVmAsAvailableAfterPowerOn")) == 1


async def test_tenants_wait_for_the_esx_agent(make_site):
    async with make_site(vms=4) as site:
        agency = await site.create(site.config(hooks=True))
        tenant = site.inventory.vms[0]
        if tenant.power_state == "poweredOn":
            await site.power_off(tenant)
        with pytest.raises(SoapFault) as refused:
            await site.power_on(tenant)
        assert refused.value.kind == "InsufficientAgentVmsDeployed"
        await site.mark(*agency.agents)
        await site.mark(*agency.agents)
        await site.power_on(tenant)


async def test_power_off_waits_for_resolve(make_site):
    async with make_site() as site:
        agency = await site.create()
        agent, other = agency.agents
        await site.power_off(agent.vm)
        await site.sleep(300)
        assert (agent.status, other.status, agency.status) == ("red", "green", "red")
        (issue,) = agency.QueryIssue(site.solution)
        assert isinstance(issue, eam.issue.VmPoweredOff)
        assert (issue.vm._moId, issue.host._moId, issue.hostName) == (agent.vm.moid, agent.host.moid, agent.host.name)
        assert issue.agent._moId == agent.moid
        assert issue.agency._moId == agency.moid
        assert agent.vm.name in issue.description
        assert site.events("issue.vmPoweredOff")[0].vm.name == agent.vm.name
        assert agent.host.available_agents == 0
        assert agency.Resolve(site.solution, issueKey=[issue.key, 4711]) == [4711]
        await site.settle()
        assert agency.status == "green"
        assert agent.vm.power_state == "poweredOn"
        assert site.events("issue.resolved")


async def test_power_on_by_the_user_clears_the_issue(make_site):
    async with make_site() as site:
        agency = await site.create()
        await site.power_off(agency.agents[0].vm)
        assert site.issues(agency) == ["VmPoweredOff"]
        await site.power_on(agency.agents[0].vm)
        assert agency.status == "green"


async def test_suspended_is_resumed_on_resolve(make_site):
    async with make_site() as site:
        agency = await site.create()
        agent = agency.agents[0]
        await site.suspend(agent.vm)
        assert site.issues(agent) == ["VmSuspended"]
        await site.resolve_all(agent)
        assert (agent.vm.power_state, agency.status) == ("poweredOn", "green")


async def test_deleted_vm_is_redeployed_only_on_resolve(make_site):
    async with make_site() as site:
        agency = await site.create()
        agent = agency.agents[0]
        old = agent.vm
        await site.delete(old)
        await site.sleep(300)
        assert site.issues(agency) == ["VmNotDeployed"]
        runtime = agent.AgentQueryRuntime(site.solution)
        assert (runtime.vm, runtime.vmName, runtime.vmPowerState) == (None, "", "poweredOff")
        await site.resolve_all(agency)
        assert agent.vm.moid != old.moid
        assert agent.vm.instance_uuid != old.instance_uuid
        assert agent.vm.name == "ContrailVM (3)"
        assert agency.status == "green"


async def test_a_host_that_joins_gets_one_and_waits_for_places(make_site):
    async with make_site() as site:
        agency = await site.create()
        await site.do(host_life.add_host(site.world, site.cluster, name="esx-99"))
        agent = agency.agents[-1]
        assert agent.host.name == "esx-99"
        assert sorted(site.issues(agent)) == ["NoAgentVmDatastore", "NoAgentVmNetwork"]
        assert (agent.host.required_agents, agent.host.available_agents) == (1, 0)
        assert [other.status for other in agency.agents] == ["green", "green", "red"]
        keys = {issue.key for issue in agent.QueryIssue(site.solution)}
        await site.resolve_all(agent)
        assert {issue.key for issue in agent.QueryIssue(site.solution)}.isdisjoint(keys)
        site.set_agent_places(agent.host)
        await site.settle()
        assert agency.status == "green"


async def test_custom_places_that_the_host_lacks(make_site):
    async with make_site() as site:
        network = [site.inventory.vm_network.ref]
        config = site.config(agentVmDatastore=[site.hosts[0].datastores[0].ref], agentVmNetwork=network)
        local = next(store for store in site.hosts[0].datastores if store.name.endswith("local"))
        config.agentVmDatastore = [local.ref]
        agency = await site.create(config)
        first, second = agency.agents
        assert first.status == "green"
        assert first.vm.datastores == (local,)
        assert first.vm.nics[0].network is site.inventory.vm_network
        (issue,) = second.QueryIssue(site.solution)
        assert isinstance(issue, eam.issue.NoCustomAgentVmDatastore)
        assert list(issue.customAgentVmDatastoreName) == [local.name]


async def test_maintenance_and_back(make_site):
    async with make_site() as site:
        agency = await site.create(site.config(hooks=True))
        await site.mark(*agency.agents)
        await site.mark(*agency.agents)
        agent = agency.agents[0]
        await site.enter_maintenance(agent.host)
        assert agent.host.in_maintenance
        assert agent.vm.power_state == "poweredOff"
        assert site.issues(agency) == []
        assert (agent.status, agency.status) == ("yellow", "yellow")
        await site.exit_maintenance(agent.host)
        assert agent.vm.power_state == "poweredOn"
        assert agent.hook == "poweredOn"
        assert agent.host.available_agents == 0
        await site.mark(agent)
        assert agency.status == "green"


async def test_maintenance_as_an_issue(make_site, switches):
    async with make_site(switches=switches(maintenance_issue="always")) as site:
        agency = await site.create()
        agent = agency.agents[0]
        await site.enter_maintenance(agent.host)
        assert site.issues(agency) == ["HostInMaintenanceMode"]
        await site.resolve_all(agency)
        assert not agent.host.in_maintenance
        assert agency.status == "green"


async def test_given_up_maintenance_powers_on_again(make_site):
    async with make_site(vms=0) as site:
        agency = await site.create()
        agent = agency.agents[0]
        site.add_fault(point="eam.power_off", where={"host": agent.host.name}, fault="Timedout", times=1)
        with pytest.raises(SoapFault):
            await site.enter_maintenance(agent.host)
        await site.settle()
        assert not agent.host.in_maintenance
        assert agency.status == "green"


async def test_a_new_host_in_maintenance_waits(make_site):
    async with make_site() as site:
        agency = await site.create()
        await site.enter_maintenance(site.hosts[0])
        agent = agency.agents[0]
        await site.delete(agent.vm)
        assert site.issues(agent) == ["VmNotDeployed"]
        await site.resolve_all(agent)
        assert site.issues(agent) == ["VmRequiresHostOutOfMaintenanceMode"]
        await site.exit_maintenance(site.hosts[0])
        assert agency.status == "green"


async def test_disconnected_host_is_left_alone(make_site):
    async with make_site() as site:
        agency = await site.create()
        agent = agency.agents[0]
        vm = agent.vm
        await site.do(host_life.disconnect(site.world, agent.host))
        assert site.issues(agency) == ["HostNotReachable"]
        (issue,) = agency.QueryIssue(site.solution)
        assert agency.Resolve(site.solution, issueKey=[issue.key]) == [issue.key]
        await site.sleep(7200)
        await site.do(host_life.reconnect(site.world, agent.host))
        assert (agency.status, agent.vm) == ("green", vm)


async def test_host_failure_starts_the_esx_agent_first(make_site):
    async with make_site(vms=4) as site:
        agency = await site.create(site.config(hooks=True))
        await site.mark(*agency.agents)
        await site.mark(*agency.agents)
        agent = agency.agents[0]
        await site.do(host_life.crash(site.world, agent.host))
        await site.sleep(60)
        assert site.issues(agency) == ["HostNotReachable"]
        await host_life.boot(site.world, agent.host)
        await site.eam._marks.idle()
        assert agent.vm.power_state == "poweredOn"
        assert site.issues(agency) == []
        assert agent.hook == "poweredOn"
        assert agent.host.available_agents == 0
        await site.mark(agent)
        assert agency.status == "green"


async def test_scope_change_removes_and_deploys(make_site):
    async with make_site(hosts=4, clusters=2) as site:
        agency = await site.create()
        first, second = site.inventory.clusters
        old = [agent.vm for agent in agency.agents]
        wanted = site.config(scope=eam.Agency.ComputeResourceScope(computeResource=[second.ref]))
        await agency.Update(site.solution, config=wanted)
        assert agency.status == "yellow"
        await site.settle()
        assert agency.status == "green"
        assert {agent.host for agent in agency.agents} == set(second.hosts)
        assert all(site.world.get(vm.moid) is None for vm in old)
        assert all(host.required_agents == 0 for host in first.hosts)
        assert len(site.tasks("eam.agent.uninstall")) == 2
        assert len(site.events("agent.destroyed")) == 2


async def test_host_removed_from_the_inventory(make_site):
    async with make_site() as site:
        agency = await site.create()
        host = site.hosts[0]
        await site.enter_maintenance(host)
        await site.do(host_life.remove_host(site.world, host))
        assert [agent.host for agent in agency.agents] == [site.hosts[1]]
        assert agency.status == "green"
        assert site.events("agent.destroyedNoHost")


async def test_disable_and_enable(make_site):
    async with make_site() as site:
        agency = await site.create()
        agency.Agency_Disable(site.solution)
        await site.settle()
        assert agency.status == "green"
        assert {agent.vm.power_state for agent in agency.agents} == {"poweredOff"}
        assert site.hosts[0].required_agents == 0
        await site.power_on(agency.agents[0].vm)
        assert site.issues(agency) == ["VmPoweredOn"]
        await site.resolve_all(agency)
        assert agency.agents[0].vm.power_state == "poweredOff"
        agency.Agency_Enable(site.solution)
        await site.settle()
        assert {agent.vm.power_state for agent in agency.agents} == {"poweredOn"}
        assert agency.status == "green"


async def test_uninstall_then_destroy(make_site):
    async with make_site() as site:
        agency = await site.create()
        agency.Uninstall(site.solution)
        await site.settle()
        assert (agency.status, agency.agents, site.eam_vms()) == ("green", (), [])
        with pytest.raises(SoapFault) as refused:
            agency.Agency_Enable(site.solution)
        assert isinstance(refused.value.fault, eam.fault.InvalidState)
        agency.DestroyAgency(site.solution)
        await site.settle()
        assert site.world.get(agency.moid) is None
        assert site.eam.manager.QueryAgency(site.solution) == []


async def test_destroy_can_be_read_while_it_goes_on(make_site):
    from contrail_vsphere.simulator.core.timing import Timing

    async with make_site(timing=Timing.real()) as site:
        agency = await site.create()
        await site.sleep(300)
        assert agency.status == "green"
        agency.DestroyAgency(site.solution)
        assert agency.AgencyQueryRuntime(site.solution).goalState == "uninstalled"
        assert len(agency.QueryAgent(site.solution)) == 2
        with pytest.raises(SoapFault):
            await agency.Update(site.solution, config=site.config())
        await site.sleep(120)
        assert site.world.get(agency.moid) is None
        assert site.eam_vms() == []


async def test_unreachable_host_blocks_removal(make_site):
    async with make_site() as site:
        agency = await site.create()
        await site.do(host_life.disconnect(site.world, site.hosts[0]))
        agency.DestroyAgency(site.solution)
        await site.settle()
        assert site.issues(agency) == ["HostNotReachable"]
        assert len(site.eam_vms()) == 1
        await site.do(host_life.reconnect(site.world, site.hosts[0]))
        assert site.world.get(agency.moid) is None
        assert site.eam_vms() == []


async def test_unregistered_extension_loses_its_agencies(make_site):
    async with make_site() as site:
        from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager

        extensions = site.world.service(ExtensionManager)
        with site.world.commit() as tx:
            tx.set(extensions, extensions={site.solution.user: object()})
        agency = await site.create()
        extensions.unregister_extension(site.user, extensionKey=site.solution.user)
        await site.settle()
        assert site.world.get(agency.moid) is None
        assert site.eam_vms() == []


async def test_each_extension_sees_its_own(make_site):
    async with make_site() as site:
        agency = await site.create()
        other = site.call("com.example.other", extension=True)
        assert site.eam.manager.QueryAgency(site.solution) == [agency]
        assert site.eam.manager.QueryAgency(site.user) == [agency]
        assert site.eam.manager.QueryAgency(other) == []
        for forbidden in (agency.AgencyQueryRuntime, agency.Uninstall, agency.agents[0].AgentQueryRuntime):
            with pytest.raises(SoapFault) as refused:
                forbidden(other)
            assert isinstance(refused.value.fault, eam.fault.NotAuthorized)
        assert agency.QuerySolutionId(site.user) == site.solution.user
        assert agency.read("owner") is None
        by_user = await site.create(site.config(agencyName="by hand"), call=site.user, goal="disabled")
        assert by_user.read("owner") == site.user.user


async def test_restart_refuses_calls_and_forgets_nothing(make_site):
    async with make_site() as site:
        agency = await site.create(site.config(hooks=True))
        await site.eam.restart()
        with pytest.raises(SoapFault) as refused:
            site.eam.manager.QueryAgency(site.solution)
        assert isinstance(refused.value.fault, eam.fault.EamServiceNotInitialized)
        await site.sleep(60)
        assert site.eam.manager.QueryAgency(site.solution) == [agency]
        assert {agent.hook for agent in agency.agents} == {"provisioned"}
        await site.mark(*agency.agents)
        await site.mark(*agency.agents)
        assert agency.status == "green"


async def test_what_happened_during_a_restart_is_seen_after_it(make_site):
    from contrail_vsphere.simulator.core.timing import Timing

    async with make_site(timing=Timing.real()) as site:
        agency = await site.create()
        await site.sleep(200)
        await site.eam.restart()
        await site.power_off(agency.agents[0].vm)
        await site.sleep(60)
        assert site.issues(agency) == ["VmPoweredOff"]


async def test_user_migration_leaves_an_orphan(make_site):
    async with make_site() as site:
        from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host

        agency = await site.create()
        first, second = agency.agents
        vm = first.vm
        with site.world.commit("somebody") as tx:
            move_to_host(tx, vm, second.host)
        await site.settle()
        assert sorted(site.issues(first)) == ["VmNotDeployed", "VmOrphaned"]
        assert first.host.available_agents == 0
        not_deployed = next(item.key for item in first.issues if item.type == "VmNotDeployed")
        first.Resolve(site.solution, issueKey=[not_deployed])
        await site.settle()
        assert site.issues(first) == ["VmOrphaned"]
        assert first.vm is not vm
        assert first.vm.power_state == "poweredOn"
        await site.resolve_all(first)
        assert site.world.get(vm.moid) is None
        assert agency.status == "green"


async def test_user_migration_back_heals_by_itself(make_site):
    async with make_site() as site:
        from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host

        agency = await site.create()
        first, second = agency.agents
        vm = first.vm
        for host in (second.host, first.host):
            with site.world.commit("somebody") as tx:
                move_to_host(tx, vm, host)
            await site.settle()
        assert (agency.status, first.vm) == ("green", vm)


async def test_user_migration_tolerated(make_site, switches):
    from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host

    async with make_site(switches=switches(user_migration="tolerated")) as site:
        agency = await site.create()
        with site.world.commit("somebody") as tx:
            move_to_host(tx, agency.agents[0].vm, site.hosts[1])
        await site.settle()
        assert agency.status == "green"
        assert site.hosts[0].available_agents == 0


async def test_orphans_of_nobody_are_removed(make_site):
    async with make_site() as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        with site.world.commit() as tx:
            tx.set(agency.agents[0], vm=None)
        await site.sleep(31)
        assert site.world.get(vm.moid) is None


async def test_disabled_cluster(make_site):
    async with make_site() as site:
        agency = await site.create()
        with site.world.commit() as tx:
            tx.set(site.cluster, disabled=True)
        await site.sleep(31)
        (issue,) = agency.QueryIssue(site.solution)
        assert isinstance(issue, eam.issue.AgencyDisabled)
        assert agency.Resolve(site.solution, issueKey=[issue.key]) == [issue.key]
        with site.world.commit() as tx:
            tx.set(site.cluster, disabled=False)
        await site.sleep(31)
        assert agency.status == "green"


async def test_solution_issue_is_kept_until_resolved(make_site):
    async with make_site() as site:
        agency = await site.create()
        made = eam.issue.ExtensibleIssue(typeId="net.juniper.slow", key=0, description="", time=site.world.clock.now())
        returned = agency.AddIssue(site.solution, issue=made)
        await site.settle()
        assert returned.key > 0
        assert agency.status == "red"
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_parallel_deployments_are_bounded(make_site, switches):
    from contrail_vsphere.simulator.core.timing import Timing

    async with make_site(hosts=6, timing=Timing.real(), switches=switches(parallel_deployments=2)) as site:
        await site.eam.manager.CreateAgency(site.solution, agencyConfigInfo=site.config(), initialGoalState="enabled")
        await site.world.clock.sleep(10)
        running = [task for task in site.tasks("eam.agent.install") if not task.over]
        assert len(running) == 2
        await site.sleep(300)
        assert site.eam.agencies().__next__().status == "green"


async def test_uuid_names(make_site):
    async with make_site() as site:
        agency = await site.create(site.config(useUuidVmName=True))
        for agent in agency.agents:
            assert len(agent.vm.name) == len("ContrailVM-") + 36


async def test_own_folder_and_pool(make_site):
    async with make_site() as site:
        with site.world.commit() as tx:
            from contrail_vsphere.simulator.vcenter.folder import VM_TYPES, Folder

            folder = Folder.make(site.world, "service", site.inventory.datacenter.vm_folder, VM_TYPES)
            site.inventory.datacenter.vm_folder.adopt(tx, folder)
            pool = site.cluster.root_pool.make_child(tx, "service")
        config = site.config(
            folders=[eam.Agency.VMFolder(folderId=folder.ref, datacenterId=site.inventory.datacenter.ref)],
            resourcePools=[eam.Agency.VMResourcePool(resourcePoolId=pool.ref, computeResourceId=site.cluster.ref)],
        )
        agency = await site.create(config)
        assert {(agent.vm.parent, agent.vm.resource_pool) for agent in agency.agents} == {(folder, pool)}
        runtime = agency.agents[0].AgentQueryRuntime(site.solution)
        assert runtime.esxAgentFolder._moId == folder.moid


async def test_agencies_with_one_agent_name_share_the_numbers(make_site):
    from contrail_vsphere.simulator.core.timing import Timing

    async with make_site(hosts=6, clusters=3, timing=Timing.real()) as site:
        for cluster in site.inventory.clusters:
            scope = eam.Agency.ComputeResourceScope(computeResource=[cluster.ref])
            await site.eam.manager.CreateAgency(
                site.solution,
                agencyConfigInfo=site.config(agencyName=cluster.name, scope=scope),
                initialGoalState="enabled",
            )
        await site.sleep(300)
        assert {agency.status for agency in site.eam.agencies()} == {"green"}
        assert sorted(vm.name for vm in site.eam_vms()) == [f"ContrailVM ({number})" for number in range(1, 7)]
