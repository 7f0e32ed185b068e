"""The rarer issues and methods: moved machines, partial maintenance, unknown ones, IP pools, own provisioning."""

from __future__ import annotations

import pytest
from pyVmomi import VmomiSupport

from contrail_vsphere.simulator.eam import issues as table
from contrail_vsphere.simulator.eam.profiles import PROFILES, issue_class
from contrail_vsphere.simulator.vcenter.event_manager import EventManager
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.folder import VM_TYPES, Folder
from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_pool
from contrail_vsphere.wire.soap.encode import encode_response
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import method_of
from contrail_vsphere.wire.soap.types import eam, vim

looped = pytest.mark.looptime


def move(site, vm) -> tuple:
    """Somebody moves it into a folder and a pool of his own."""
    top, root = site.inventory.datacenter.vm_folder, vm.host.compute_resource.root_pool
    with site.world.commit("somebody") as tx:
        folder = Folder.make(site.world, "elsewhere", top, VM_TYPES)
        top.adopt(tx, folder)
        vm.parent.release(tx, vm)
        tx.set(folder, children=(vm,))
        tx.set(vm, parent=folder)
        move_to_pool(tx, vm, root)
    return folder, root


@looped
async def test_old_releases_mind_where_the_vm_is_and_resolve_moves_it_back(make_site):
    async with make_site(hosts=1, profile="vc67") as site:
        agency = await site.create()
        vm = agency.agents[0].vm
        home, pool = vm.parent, vm.resource_pool
        folder, root = move(site, vm)
        await site.settle()
        found = {type(issue): issue for issue in agency.QueryIssue(site.solution)}
        wrong = found[eam.issue.VmWrongFolder]
        assert (wrong.currentFolder._moId, wrong.requiredFolder._moId) == (folder.moid, home.moid)
        wrong = found[eam.issue.VmWrongResourcePool]
        assert (wrong.currentResourcePool._moId, wrong.requiredResourcePool._moId) == (root.moid, pool.moid)
        assert agency.status == "red"
        await site.resolve_all(agency)
        assert (agency.status, vm.parent, vm.resource_pool) == ("green", home, pool)
        assert vm in home.children
        assert vm not in folder.children


@looped
async def test_newer_releases_do_not_override_powerful_users(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        move(site, agency.agents[0].vm)
        await site.sleep(60)
        assert agency.status == "green"


@looped
async def test_partial_maintenance_holds_operations_up(make_site):
    async with make_site(hosts=1) as site:
        agency = await site.create()
        vm, host = agency.agents[0].vm, site.hosts[0]
        with site.world.commit() as tx:
            tx.set(host, partial_maintenance=True)
        await site.settle()
        assert agency.status == "green", "nothing waits for the host"
        await agency.Update(site.solution, config=site.config(site.depot.package("v2")))
        await site.settle()
        (issue,) = agency.QueryIssue(site.solution)
        assert type(issue) is eam.issue.HostInPartialMaintenanceMode
        assert agency.Resolve(site.solution, issueKey=[issue.key]) == [issue.key]
        agency.Uninstall(site.solution)
        await site.settle()
        assert site.issues(agency) == ["HostInPartialMaintenanceMode"]
        assert site.world.get(vm.moid) is vm
        with site.world.commit() as tx:
            tx.set(host, partial_maintenance=False)
        await site.settle()
        assert (agency.status, agency.agents) == ("green", ())


@looped
async def test_a_protected_vm_is_deleted_later(make_site):
    for profile, name in (("vc90", "VmProtected"), ("vc80u3", "InvalidConfig")):
        async with make_site(hosts=1, profile=profile) as site:
            agency = await site.create()
            site.add_fault(point="eam.delete", fault="MethodDisabled", times=1)
            agency.Uninstall(site.solution)
            await site.settle()
            assert site.issues(agency) == [name]
            await site.resolve_all(agency)
            assert agency.agents == ()


@looped
async def test_leftovers_are_told_of_by_old_releases_and_deleted_by_new_ones(make_site):
    for profile, deleted in (("vc67", False), ("vc70", True)):
        async with make_site(hosts=1, vms=1, profile=profile) as site:
            manager = site.eam.manager
            (vm,) = site.hosts[0].vms
            with site.world.commit() as tx:
                tx.set(vm, managed_by=ManagedBy("com.vmware.vim.eam", "host-agent"))
            manager.ScanForUnknownAgentVm(site.user)
            await site.settle()
            assert (site.world.get(vm.moid) is None) is deleted
            if deleted:
                assert manager.QueryIssue(site.user) == []
                continue
            (issue,) = manager.QueryIssue(site.user)
            assert (type(issue), issue.vm._moId) == (eam.issue.UnknownAgentVm, vm.moid)
            manager.Resolve(site.user, issueKey=[issue.key])
            await site.settle()
            assert site.world.get(vm.moid) is None
            assert manager.QueryIssue(site.user) == []


@looped
async def test_old_releases_look_for_leftovers_once_a_day(make_site):
    async with make_site(hosts=1, vms=1, profile="vc65") as site:
        (vm,) = site.hosts[0].vms
        with site.world.commit() as tx:
            tx.set(vm, managed_by=ManagedBy("com.vmware.vim.eam", "host-agent"))
        await site.sleep(12 * 3600)
        assert site.eam.manager.QueryIssue(site.user) == []
        await site.sleep(13 * 3600)
        assert site.issues(site.eam.manager) == ["UnknownAgentVm"]


def ip_pool(addresses: str):
    return vim.vApp.IpPool(ipv4Config=vim.vApp.IpPool.IpPoolConfigInfo(range=addresses))


@looped
async def test_ip_pools_of_old_releases(make_site):
    for profile, short, none in (
        ("vc67", "InsufficientIpAddresses", "MissingAgentIpPool"),
        ("vc70", "InvalidConfig", "InvalidConfig"),
    ):
        async with make_site(hosts=2, profile=profile) as site:
            agency = await site.create(site.config(ipPool=ip_pool("10.0.0.10#1")))
            assert site.issues(agency) == [short]
            await agency.Update(site.solution, config=site.config(ipPool=ip_pool("10.0.0.10#1, 10.0.1.1#5")))
            await site.resolve_all(agency)
            assert agency.status == "green"
            missing = await site.create(site.config(agencyName="other", ipPool=vim.vApp.IpPool()))
            assert site.issues(missing) == [none, none]


@looped
async def test_an_unregistered_extension_orphans_its_agencies_or_takes_them_along(make_site, switches):
    for position in ("destroys", "orphans"):
        async with make_site(hosts=1, switches=switches(unregistered_extension=position)) as site:
            agency = await site.create()
            site.world.service(ExtensionManager).on_unregister[0](agency.solution_id)
            await site.settle()
            if position == "orphans":
                assert site.issues(agency) == ["OrphanedAgency"]
                agency.ResolveAll(site.user)
                await site.settle()
            assert list(site.eam.agencies()) == []
            assert site.eam_vms() == []


@looped
async def test_a_solution_that_provisions_its_vms_itself(make_site):
    async with make_site(hosts=2, vms=2) as site:
        config = site.config(manuallyProvisioned=True)
        config.agentConfig[0].ovfPackageUrl = None
        agency = await site.create(config)
        assert (agency.status, site.issues(agency)) == ("yellow", [])
        mine = site.hosts[0].vms[0]
        await site.power_off(mine)
        agent = agency.RegisterAgentVm(site.solution, agentVm=mine.ref)
        assert agency.RegisterAgentVm(site.solution, agentVm=mine.ref) is agent
        await site.settle()
        assert (agent.vm, mine.power_state) == (mine, "poweredOn")
        await site.power_off(mine)
        assert site.issues(agency) == ["VmPoweredOff"]
        agency.UnregisterAgentVm(site.solution, agentVm=mine.ref)
        agency.UnregisterAgentVm(site.solution, agentVm=mine.ref)
        await site.settle()
        assert (site.issues(agency), agent.vm) == ([], None)
        agency.RegisterAgentVm(site.solution, agentVm=mine.ref)
        await site.settle()
        agency.DestroyAgency(site.solution)
        await site.settle()
        assert list(site.eam.agencies()) == []
        assert site.world.get(mine.moid) is mine, "EAM deletes only what it made"


@looped
async def test_a_solution_that_also_monitors_them(make_site):
    async with make_site(hosts=1, vms=1) as site:
        config = site.config(manuallyProvisioned=True, manuallyMonitored=True)
        config.agentConfig[0].ovfPackageUrl = None
        agency = await site.create(config)
        (mine,) = site.hosts[0].vms
        agency.RegisterAgentVm(site.solution, agentVm=mine.ref)
        await site.settle()
        assert agency.status == "green"
        await site.power_off(mine)
        assert agency.status == "green"


@looped
async def test_vms_of_others_cannot_be_registered(make_site):
    async with make_site(hosts=1, vms=1) as site:
        agency = await site.create()
        with pytest.raises(SoapFault) as refused:
            agency.RegisterAgentVm(site.solution, agentVm=site.hosts[0].vms[0].ref)
        assert isinstance(refused.value.fault, eam.fault.InvalidState)


def test_every_issue_of_the_api_is_raised_or_says_why_not():
    bases = {"Issue", "AgencyIssue", "AgentIssue", "HostIssue", "VmIssue", "VibIssue"}
    abstract = {"integrity.agency.VUMIssue", "personality.agency.PMIssue", "personality.agency.DepotIssue"}
    prefix = "eam.issue."
    listed = {str(name).removeprefix(prefix) for name in VmomiSupport._dataDefMap if str(name).startswith(prefix)}
    known = set(table.RULES) | set(table.NEVER_RAISED) | bases | abstract | {"personality.agent.PMIssue"}
    assert {name for name in listed if not name.startswith("cluster.") and not name.endswith("[]")} == known


@looped
@pytest.mark.parametrize("profile", PROFILES)
async def test_every_issue_can_be_sent_by_every_release(make_site, profile):
    """With and without a virtual machine: no required field of the release's own type is missing."""
    async with make_site(hosts=1, profile=profile) as site:
        agency = await site.create()
        agent = agency.agents[0]
        host, vm = agent.host, agent.vm
        texts = {
            "missingFile": "x",
            "downloadUrl": "u",
            "url": "u",
            "networkName": "n",
            "typeId": "t",
            "bulletin": ["b"],
        }
        texts |= {"remoteDepotUrl": "u", "localDepotUrl": "l"}
        texts |= {f"customAgentVm{what}Name": ["n"] for what in ("Datastore", "Network")}
        refs = {"network": host.networks[0].ref, "cr": site.cluster.ref}
        refs |= {"customAgentVmDatastore": [host.datastores[0].ref], "customAgentVmNetwork": [host.networks[0].ref]}
        refs |= {"currentFolder": vm.parent.ref, "requiredFolder": vm.parent.ref}
        refs |= {"currentResourcePool": vm.resource_pool.ref, "requiredResourcePool": vm.resource_pool.ref}
        method = method_of(eam.Agency("x"), "QueryIssue")
        error = vim.fault.InvalidState()
        for name in table.RULES:
            fields = texts | refs | {"error": [error] if name.startswith("OvfInvalid") else error}
            needs_vm = issubclass(issue_class(name), eam.issue.VmIssue) or name == "UnknownAgentVm"
            for subject in (vm,) if needs_vm else (vm, None):
                record = table.IssueRecord(
                    key=1, type=name, time=site.world.clock.now(), host=host, vm=subject, fields=fields
                )
                value = record.project(agency=agency, agent=agent, profile=site.eam.profile)
                if value is not None:
                    encode_response(method, [value], version="eam.version.version9_0")


@looped
async def test_event_ids_may_begin_with_something_else(make_site, switches):
    async with make_site(hosts=1, switches=switches(event_prefix="vim.eam.")) as site:
        await site.create()
        history = site.world.service(EventManager)
        assert not site.events("agency.create")
        assert len(history.of_type("vim.eam.agency.create")) == 1
        assert len(history.of_type("vim.eam.agent.created")) == 1
