"""Steps that fail: which issue each becomes, what clears it, and what Resolve does then."""

from __future__ import annotations

import hashlib

import pytest

from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.wire.ovf.manifest import render_manifest
from contrail_vsphere.wire.soap.types import eam, vim

pytestmark = pytest.mark.looptime


async def test_package_that_vanishes_after_creation(make_site):
    async with make_site(hosts=1) as site:
        config = site.config()
        del site.depot.files["/v1/contrailvm.vmdk"]
        agency = await site.create(config)
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.CannotAccessAgentOVF
        assert issue.downloadUrl.endswith("/v1/contrailvm.vmdk")
        (task,) = site.tasks("eam.agent.install")
        assert task.state == "error"
        await site.resolve_all(agency)
        assert site.issues(agency) == ["CannotAccessAgentOVF"]
        assert agency.QueryIssue(site.solution)[0].key != issue.key
        site.depot.package("v1")
        await site.sleep(3600)
        assert site.issues(agency) == ["CannotAccessAgentOVF"]
        await site.resolve_all(agency)
        assert agency.status == "green"


@pytest.mark.parametrize("status", [404, 503])
async def test_depot_down_at_redeployment(make_site, status):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        await site.delete(agency.agents[0].vm)
        site.depot.status = status
        await site.resolve_all(agency)
        assert site.issues(agency) == ["CannotAccessAgentOVF"]
        assert site.eam_vms() == []
        site.depot.status = 200
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_disk_of_the_wrong_length(make_site):
    async with make_site(hosts=1) as site:
        config = site.config()
        site.depot.files["/v1/contrailvm.vmdk"] += b"more"
        agency = await site.create(config)
        assert site.issues(agency) == ["CannotAccessAgentOVF"]


@pytest.mark.parametrize("checks", [True, False])
async def test_a_package_that_is_not_what_its_manifest_says(make_site, switches, checks):
    async with make_site(hosts=1, switches=switches(checks_manifest=checks)) as site:
        config, files = site.config(), site.depot.files
        names = ("contrailvm.ovf", "contrailvm.vmdk")
        digests = {name: hashlib.sha256(files[f"/v1/{name}"]).hexdigest() for name in names}
        files["/v1/contrailvm.mf"] = render_manifest(digests | {"contrailvm.vmdk": "0" * 64})
        agency = await site.create(config)
        assert site.issues(agency) == (["OvfInvalidFormat"] if checks else [])
        files["/v1/contrailvm.mf"] = render_manifest(digests)
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_garbage_instead_of_a_descriptor_clears_with_an_update(make_site):
    async with make_site(hosts=1) as site:
        config = site.config()
        site.depot.files["/v1/contrailvm.ovf"] = b"<html>not an OVF</html>"
        agency = await site.create(config)
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.OvfInvalidFormat
        assert isinstance(issue.error[0], vim.fault.OvfFault)
        await site.sleep(3600)
        assert site.issues(agency) == ["OvfInvalidFormat"]
        await agency.Update(site.solution, config=site.config(site.depot.package("v2")))
        await site.settle()
        assert agency.status == "green"


@pytest.mark.parametrize("properties", [{"bootstrap_token": "x"}, {"manager_url": "x", "unheard_of": "y"}])
async def test_ovf_environment_that_does_not_fit(make_site, properties):
    async with make_site(hosts=1) as site:
        agency = await site.create(site.config(properties=properties))
        assert site.issues(agency) == ["OvfInvalidProperty"]
        await site.resolve_all(agency)
        assert site.issues(agency) == ["OvfInvalidProperty"]
        await agency.Update(site.solution, config=site.config())
        await site.settle()
        assert agency.status == "green"


async def test_datastore_that_is_full(make_site):
    async with make_site(hosts=1) as site:
        store = site.hosts[0].datastores[0]
        free = store.free
        with site.world.commit() as tx:
            tx.set(store, free=100)
        agency = await site.create()
        assert site.issues(agency) == ["InsufficientSpace"]
        with site.world.commit() as tx:
            tx.set(store, free=free)
        await site.sleep(60)
        assert site.issues(agency) == ["InsufficientSpace"]
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_host_without_memory(make_site):
    async with make_site(hosts=1) as site:
        site.add_fault(point="eam.power_on", fault="InsufficientMemoryResourcesFault", times=1)
        agency = await site.create()
        assert site.issues(agency) == ["InsufficientResources"]
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_configuration_that_does_not_power_on(make_site):
    async with make_site(hosts=1) as site:
        rule = site.add_fault(point="eam.power_on", fault="InvalidDeviceBacking")
        agency = await site.create()
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.InvalidConfig
        assert isinstance(issue.error, vim.fault.InvalidDeviceBacking)
        await site.resolve_all(agency)
        assert site.issues(agency) == ["InvalidConfig"]
        from contrail_vsphere.simulator.core.faults import FaultBook

        site.world.service(FaultBook).remove(rule)
        await site.sleep(300)
        assert site.issues(agency) == ["InvalidConfig"]
        spec = vim.vm.ConfigSpec(annotation="mended")
        await site.do(vm_life.reconfigure(site.world, agency.agents[0].vm, spec))
        assert agency.status == "green"


async def test_missing_file_is_rebuilt_on_resolve(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        await site.power_off(vm)
        site.add_fault(point="eam.power_on", fault="FileNotFound", fields={"file": "ContrailVM.vmdk"}, times=1)
        await site.resolve_all(agency)
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.VmCorrupted
        assert issue.missingFile == "ContrailVM.vmdk"
        await site.resolve_all(agency)
        assert agency.status == "green"
        assert site.eam_vms() == [agency.agents[0].vm]
        assert agency.agents[0].vm is not vm


async def test_deletion_that_fails(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        site.add_fault(point="eam.delete", fault="FileLocked", times=1)
        agency.Uninstall(site.solution)
        await site.settle()
        assert site.issues(agency) == ["VmDeployed"]
        await site.resolve_all(agency)
        assert (agency.status, agency.agents, site.eam_vms()) == ("green", (), [])


async def test_deployment_that_fails_for_no_known_reason(make_site):
    async with make_site(hosts=2) as site:
        site.add_fault(point="eam.deploy", where={"host": site.hosts[0].name}, fault="HostCommunication", times=1)
        agency = await site.create()
        assert [agent.status for agent in agency.agents] == ["red", "green"]
        assert site.issues(agency) == ["VmNotDeployed"]
        await site.resolve_all(agency)
        assert agency.status == "green"


async def test_inaccessible_vm_comes_back_by_itself(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        with site.world.commit() as tx:
            tx.set(vm, connection_state="inaccessible")
        await site.settle()
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.VmInaccessible
        assert agency.Resolve(site.solution, issueKey=[issue.key]) == [issue.key]
        with site.world.commit() as tx:
            tx.set(vm, connection_state="connected")
        await site.settle()
        assert agency.status == "green"


async def test_host_of_another_version(make_site):
    async with make_site(hosts=2) as site:
        with site.world.commit() as tx:
            tx.set(site.hosts[0], version="7.0.3")
        config = site.config()
        config.agentConfig[0].hostVersion = "8.*"
        config.agentConfig[0].productLineId = "embeddedEsx"
        agency = await site.create(config)
        assert site.issues(agency) == ["IncompatibleHostVersion"]
        assert [agent.status for agent in agency.agents] == ["red", "green"]
        config.agentConfig = [*config.agentConfig, site.config(site.depot.package("old")).agentConfig[0]]
        await agency.Update(site.solution, config=config)
        await site.settle()
        assert agency.status == "green"
        assert agency.agents[0].AgentQueryConfig(site.solution).ovfPackageUrl.endswith("/old/contrailvm.ovf")


async def test_vm_held_by_another_task_is_waited_for(make_site):
    from contrail_vsphere.simulator.core.timing import Timing

    async with make_site(hosts=1, timing=Timing.real()) as site:
        agency = await site.create()
        await site.sleep(200)
        vm = agency.agents[0].vm
        await site.power_off(vm)
        with vm_life.held(vm, None):
            agency.ResolveAll(site.solution)
            await site.world.clock.sleep(10)
            assert site.issues(agency) == []
        await site.sleep(30)
        assert agency.status == "green"


async def test_older_releases_use_the_words_they_have(make_site):
    async with make_site(hosts=1, profile="vc65") as site:
        agency = await site.create(site.config(hooks=True))
        runtime = agency.agents[0].AgentQueryRuntime(site.solution)
        assert runtime.vmHook is None
        assert site.events("agent.markAgentVmAsAvailableAfterProvisioning")
        from contrail_vsphere.simulator.vcenter import host_life

        await site.do(host_life.disconnect(site.world, site.hosts[0]))
        assert site.issues(agency) == ["HostPoweredOff"]
        assert site.events("issue.hostPoweredOff")


async def test_templates_bother_old_releases_only(make_site):
    for profile, expected in (("vc67", ["VmMarkedAsTemplate"]), ("vc80u3", ["VmPoweredOff"])):
        async with make_site(hosts=1, profile=profile) as site:
            agency = await site.create()
            vm = agency.agents[0].vm
            await vm_life.power_off(site.world, vm)
            with site.world.commit() as tx:
                tx.set(vm, template=True)
            await site.settle()
            assert site.issues(agency) == expected, profile


async def test_a_package_with_a_document_type_is_refused(make_site):
    async with make_site(hosts=1) as site:
        config = site.config()
        body = site.depot.files["/v1/contrailvm.ovf"]
        bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'
        start = body.index(b"<Envelope") if b"<Envelope" in body else 0
        site.depot.files["/v1/contrailvm.ovf"] = body[:start] + bomb + body[start:]
        agency = await site.create(config)
        assert site.issues(agency) == ["OvfInvalidFormat"]
