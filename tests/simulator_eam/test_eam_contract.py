"""pyVmomi's own client against the simulator over TLS: the wire names, types and faults of ``/eam/sdk``."""

from __future__ import annotations

import asyncio
import ssl
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from eam_site import running_depot
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import SoapStubAdapter, eam, vim, vmodl

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.authorization import Account, Accounts


def connect(ready) -> SimpleNamespace:
    """A logged-in client with its EAM stub; blocking."""
    url = urlsplit(ready["url"])
    tls = ssl.create_default_context(cafile=ready["ca_file"])
    service = SmartConnect(
        host=url.hostname, port=url.port, user=ready["username"], pwd=ready["password"], sslContext=tls
    )
    stub = SoapStubAdapter(
        host=url.hostname, port=url.port, path="/eam/sdk", version="eam.version.version8_3", sslContext=tls
    )
    stub.cookie = service._stub.cookie
    return SimpleNamespace(
        service=service, stub=stub, tls=tls, url=url, manager=eam.EsxAgentManager("EsxAgentManager", stub)
    )


def wait_for(condition, *, seconds: float = 20.0):
    """Poll, as every client of EAM must."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("not in time")


def places(client) -> tuple:
    """Cluster, its first datastore and the management network."""
    content = client.service.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ClusterComputeResource], True)
    cluster = view.view[0]
    host = cluster.host[0]
    shared = next(item for item in host.datastore if item.name == "nfs-shared")
    return cluster, shared, next(item for item in host.network if item.name == "mgmt")


def config(client, url: str) -> eam.Agency.ConfigInfo:
    cluster, datastore, network = places(client)
    environment = eam.Agent.OvfEnvironmentInfo(
        ovfProperty=[eam.Agent.OvfEnvironmentInfo.OvfProperty(key="manager_url", value='https://m/?a="1"&b=<2>')]
    )
    return eam.Agency.ConfigInfo(
        agencyName="ContrailVM-C0",
        agentName="ContrailVM",
        agentConfig=[eam.Agent.ConfigInfo(ovfPackageUrl=url, ovfEnvironment=environment)],
        scope=eam.Agency.ComputeResourceScope(computeResource=[cluster]),
        agentVmDatastore=[datastore],
        agentVmNetwork=[network],
        manuallyMarkAgentVmAvailableAfterProvisioning=True,
        manuallyMarkAgentVmAvailableAfterPowerOn=False,
        optimizedDeploymentEnabled=False,
    )


def life(ready, url: str) -> None:
    """The whole life of an agency as a solution in Python would drive it."""
    client = connect(ready)
    manager = client.manager
    assert list(manager.QueryAgency()) == []
    wanted = config(client, url)
    agency = manager.CreateAgency(wanted, "enabled")
    assert [item._moId for item in manager.QueryAgency()] == [agency._moId]
    assert agency.QuerySolutionId() == ready["username"]
    read = agency.QueryConfig()
    assert read.agentConfig[0].ovfEnvironment.ovfProperty[0].value == 'https://m/?a="1"&b=<2>'
    assert agency.config.agencyName == "ContrailVM-C0"
    assert agency.owner == ready["username"]

    def held():
        agents = agency.QueryAgent()
        return len(agents) == 2 and all(agent.QueryRuntime().vmHook for agent in agents) and agents

    agents = wait_for(held)
    for agent in agents:
        hook = agent.QueryRuntime().vmHook
        assert hook.vmState == "provisioned"
        vm = vim.VirtualMachine(hook.vm._moId, client.service._stub)
        assert vm.config.managedBy.extensionKey == "com.vmware.vim.eam"
        assert {prop.id: prop.value for prop in vm.config.vAppConfig.property}["manager_url"].startswith("https://m/")
        agent.MarkAsAvailable()
    wait_for(lambda: agency.QueryRuntime().status == "green")

    vm = vim.VirtualMachine(agents[0].QueryRuntime().vm._moId, client.service._stub)
    task = vm.PowerOffVM_Task()
    wait_for(lambda: task.info.state == "success")
    (issue,) = wait_for(lambda: agency.QueryIssue())
    assert type(issue) is eam.issue.VmPoweredOff
    assert issue.agent._moId == agents[0]._moId
    assert issue.time.tzinfo is not None
    assert [found.key for found in agency.QueryIssue([issue.key])] == [issue.key]
    assert list(agency.QueryIssue([issue.key + 1000])) == []
    assert list(agency.Resolve([issue.key, 4711])) == [4711]
    wait_for(lambda: agency.QueryRuntime().status == "green")

    agency.Uninstall()
    wait_for(lambda: agency.QueryRuntime().status == "green" and not agency.QueryAgent())
    agency.DestroyAgency()
    wait_for(lambda: not manager.QueryAgency())
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        agency.QueryRuntime()
    client.stub.DropConnections()
    Disconnect(client.service)


def faults(ready, url: str) -> None:
    """Typed faults arrive as pyVmomi's classes."""
    client = connect(ready)
    manager = client.manager
    stranger = SoapStubAdapter(
        host=client.url.hostname,
        port=client.url.port,
        path="/eam/sdk",
        version="eam.version.version8_3",
        sslContext=client.tls,
    )
    with pytest.raises(eam.fault.InvalidLogin):
        eam.EsxAgentManager("EsxAgentManager", stranger).QueryAgency()
    stranger.DropConnections()

    wrong = config(client, url)
    wrong.scope.computeResource = [vim.ClusterComputeResource("domain-c4711")]
    with pytest.raises(eam.fault.InvalidAgencyScope) as scope:
        manager.CreateAgency(wrong, "enabled")
    assert scope.value.unknownComputeResource[0]._moId == "domain-c4711"

    with pytest.raises(eam.fault.InvalidUrl) as refused:
        manager.CreateAgency(config(client, url + ".missing"), "enabled")
    assert (refused.value.responseCode, refused.value.malformedUrl) == (404, False)

    empty = config(client, url)
    empty.agentConfig = []
    with pytest.raises(eam.fault.InvalidAgentConfiguration):
        manager.CreateAgency(empty, "enabled")
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.CreateAgency(config(client, url), "happy")
    assert manager.GetMaintenanceModePolicy() == "singleHost"
    manager.SetMaintenanceModePolicy("multipleHosts")
    assert manager.GetMaintenanceModePolicy() == "multipleHosts"
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        agency = manager.CreateAgency(config(client, url), "disabled")
        agency.UnregisterAgentVm(vim.VirtualMachine("vm-1"))
    client.stub.DropConnections()
    Disconnect(client.service)


def privileges(ready, url: str) -> None:
    """EAM.View reads, EAM.Modify does both, nothing else will do."""
    editor = connect({**ready, "username": "editor@vsphere.local"})
    agency = editor.manager.CreateAgency(config(editor, url), "disabled")
    reader = connect({**ready, "username": "reader@vsphere.local"})
    assert [item._moId for item in reader.manager.QueryAgency()] == [agency._moId]
    with pytest.raises(vim.fault.NoPermission):
        eam.Agency(agency._moId, reader.stub).Uninstall()
    nobody = connect({**ready, "username": "nobody@vsphere.local"})
    with pytest.raises(vim.fault.NoPermission):
        nobody.manager.QueryAgency()
    for client in (editor, reader, nobody):
        client.stub.DropConnections()
        Disconnect(client.service)


def restarting(ready, begin_restart) -> None:
    client = connect(ready)
    begin_restart()
    with pytest.raises(eam.fault.EamServiceNotInitialized):
        client.manager.QueryAgency()

    def back():
        try:
            client.manager.QueryAgency()
        except eam.fault.EamServiceNotInitialized:
            return False
        return True

    wait_for(back)
    client.stub.DropConnections()
    Disconnect(client.service)


async def test_life_of_an_agency():
    async with running_depot() as depot, VCenterSimulator(hosts=2, timing=Timing.instant(), guests=False) as vcenter:
        stop = vcenter.world.observe(heartbeat_of(vcenter))
        await asyncio.to_thread(life, vcenter.ready, depot.package("v1"))
        stop()
        assert vcenter.world.defects == []


async def test_faults():
    async with running_depot() as depot, VCenterSimulator(hosts=1, timing=Timing.instant(), guests=False) as vcenter:
        await asyncio.to_thread(faults, vcenter.ready, depot.package("v1"))


async def test_privileges():
    async with running_depot() as depot, VCenterSimulator(hosts=1, timing=Timing.instant(), guests=False) as vcenter:
        accounts = vcenter.world.service(Accounts)
        for name, granted in (("editor", {"EAM.Modify"}), ("reader", {"EAM.View"}), ("nobody", set())):
            accounts.add(Account(f"{name}@vsphere.local", vcenter.ready["password"], privileges=frozenset(granted)))
        await asyncio.to_thread(privileges, vcenter.ready, depot.package("v1"))


async def test_restart_window():
    timing = Timing.instant().__class__(eam_start=0.3)
    async with VCenterSimulator(hosts=1, timing=timing, guests=False) as vcenter:
        loop = asyncio.get_running_loop()

        def begin_restart():
            asyncio.run_coroutine_threadsafe(vcenter.restart_eam(), loop).result(10)

        await asyncio.to_thread(restarting, vcenter.ready, begin_restart)


def heartbeat_of(vcenter):
    """Guests that only beat."""
    loop = asyncio.get_running_loop()

    def beat(vm):
        if vm.guest_runs and vm.heartbeat != "green":
            with vcenter.world.commit("guest") as tx:
                tx.set(vm, tools_running=True, heartbeat="green")

    def observe(done):
        for entry in done.entries:
            if getattr(entry.entity, "esx_agent", False) and entry.entity.guest_runs:
                loop.call_soon(beat, entry.entity)

    return observe
