"""IP pools, options, custom fields, extensions, alarms, messages: the managers with little behind them."""

import pytest
from foreign import _stubs, connect, context, run
from pyVmomi import SoapStubAdapter, vim, vmodl


def pool(name, *, first="10.9.0.10#3", six="", networks=(), number=None):
    config = vim.vApp.IpPool.IpPoolConfigInfo
    return vim.vApp.IpPool(
        id=number,
        name=name,
        ipv4Config=config(subnetAddress="10.9.0.0", netmask="255.255.255.0", range=first, ipPoolEnabled=True),
        ipv6Config=config(subnetAddress="fd00::", netmask="64", range=six, ipPoolEnabled=bool(six)),
        networkAssociation=[vim.vApp.IpPool.Association(network=item, networkName=item.name) for item in networks],
    )


async def test_an_ip_pool_gives_each_owner_one_address_and_takes_it_back(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager, place = content.ipPoolManager, content.rootFolder.childEntity[0]
        network = place.network[0]
        number = manager.CreateIpPool(place, pool("mgmt", six="fd00::10#2", networks=[network]))
        first = manager.AllocateIpv4Address(place, number, "net.contrail:a")
        assert first == "10.9.0.10"
        assert manager.AllocateIpv4Address(place, number, "net.contrail:a") == first
        assert manager.AllocateIpv4Address(place, number, "other:b") == "10.9.0.11"
        assert manager.AllocateIpv6Address(place, number, "net.contrail:a") == "fd00::10"
        (found,) = manager.QueryIpPools(place)
        assert (found.allocatedIpv4Addresses, found.availableIpv4Addresses) == (2, 1)
        assert (found.allocatedIpv6Addresses, found.availableIpv6Addresses) == (1, 1)
        assert [item.network for item in found.networkAssociation] == [network]
        held = manager.QueryIPAllocations(place, number, "net.contrail")
        assert {item.ipAddress for item in held} == {"10.9.0.10", "fd00::10"}
        with pytest.raises(vim.fault.InvalidState):
            manager.DestroyIpPool(place, number, False)
        manager.ReleaseIpAllocation(place, number, "net.contrail:a")
        assert not manager.QueryIPAllocations(place, number, "net.contrail")
        assert manager.AllocateIpv4Address(place, number, "c") == first
        manager.AllocateIpv4Address(place, number, "d")
        with pytest.raises(vim.fault.InvalidState):
            manager.AllocateIpv4Address(place, number, "e")
        manager.UpdateIpPool(place, pool("mgmt", first="10.9.0.10#9", number=number))
        assert manager.AllocateIpv4Address(place, number, "e") == "10.9.0.13"
        for bad in (pool("mgmt"), pool(""), pool("x", first="10.9.0.1#none"), pool("y", networks=[network])):
            with pytest.raises(vmodl.fault.InvalidArgument):
                manager.CreateIpPool(place, bad)
        manager.DestroyIpPool(place, number, True)
        assert not manager.QueryIpPools(place)

    await run(work)


async def test_options_of_vcenter_are_read_and_kept(vcenter):
    def work():
        content = connect(vcenter.ready).content
        options = content.setting
        assert options.QueryOptions("VirtualCenter.InstanceName")[0].value == "simulated-vcenter"
        assert len(options.QueryOptions("event.")) == 2
        with pytest.raises(vim.fault.InvalidName):
            options.QueryOptions("no.such.option")
        options.UpdateOptions([vim.option.OptionValue(key="config.vpxd.x", value="1")])
        assert "config.vpxd.x" in {item.key for item in options.setting}

    await run(work)


async def test_hosts_have_advanced_options_with_their_types(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        hosts = content.rootFolder.childEntity[0].hostFolder.childEntity[0].host
        options = hosts[0].configManager.advancedOption
        (found,) = options.QueryOptions("UserVars.SuppressShellWarning")
        assert found.value == 0
        described = {item.key: item for item in options.supportedOption}
        assert isinstance(described["UserVars.SuppressShellWarning"].optionType, vim.option.LongOption)
        options.UpdateOptions([vim.option.OptionValue(key="UserVars.SuppressShellWarning", value=1)])
        assert options.QueryOptions("UserVars.SuppressShellWarning")[0].value == 1
        shown = {item.key: item.value for item in hosts[0].config.option}
        assert shown["UserVars.SuppressShellWarning"] == 1
        other = hosts[1].configManager.advancedOption
        assert other.QueryOptions("UserVars.SuppressShellWarning")[0].value == 0
        with pytest.raises(vim.fault.InvalidName):
            options.UpdateOptions([vim.option.OptionValue(key="No.Such", value=1)])
        with pytest.raises(vmodl.fault.InvalidArgument):
            options.UpdateOptions([vim.option.OptionValue(key="UserVars.SuppressShellWarning", value="yes")])

    await run(work)


async def test_custom_fields_are_defined_set_and_forgotten(vcenter):
    def work():
        content = connect(vcenter.ready).content
        manager = content.customFieldsManager
        place = content.rootFolder.childEntity[0]
        vm = place.vmFolder.childEntity[0]
        owner = manager.AddFieldDefinition("owner", vim.VirtualMachine)
        rack = manager.AddFieldDefinition("rack", None)
        with pytest.raises(vim.fault.DuplicateName):
            manager.AddFieldDefinition("owner", None)
        manager.SetField(vm, owner.key, "blue")
        manager.SetField(place, rack.key, "7")
        assert {(item.key, item.value) for item in vm.customValue} == {(owner.key, "blue")}
        assert {item.name for item in vm.availableField} == {"owner", "rack"}
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.SetField(place, owner.key, "red")
        manager.RenameFieldDefinition(owner.key, "team")
        assert {item.name for item in manager.field} == {"team", "rack"}
        manager.RemoveFieldDefinition(owner.key)
        assert not vm.customValue
        assert [item.name for item in vm.availableField] == ["rack"]

    await run(work)


async def test_extensions_say_what_they_manage_and_who_they_run_as(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        manager = content.extensionManager
        extension = vim.Extension(
            key="net.example",
            version="1.0",
            description=vim.Description(label="x", summary="x"),
            lastHeartbeatTime=service.CurrentTime(),
            company="x",
        )
        manager.RegisterExtension(extension)
        with pytest.raises(vmodl.fault.InvalidArgument):
            manager.RegisterExtension(extension)
        assert manager.FindExtension("net.example").version == "1.0"
        extension.version = "1.1"
        manager.UpdateExtension(extension)
        assert {item.key: item.version for item in manager.extensionList}["net.example"] == "1.1"
        assert not manager.QueryManagedBy("net.example")
        assert not manager.QueryExtensionIpAllocationUsage(["net.example"])
        manager.SetServiceAccount("net.example", "svc@vsphere.local")
        with pytest.raises(vim.fault.NotFound):
            manager.SetServiceAccount("net.other", "svc@vsphere.local")
        manager.UnregisterExtension("net.example")
        assert manager.FindExtension("net.example") is None

    await run(work)


async def test_sessions_are_cloned_by_ticket_once_and_carry_a_locale_and_a_message(vcenter):
    def work():
        service = connect(vcenter.ready)
        manager = service.content.sessionManager
        ticket = manager.AcquireCloneTicket()
        second = vim.ServiceInstance("ServiceInstance", vcenter_stub(vcenter)).content.sessionManager
        cloned = second.CloneSession(ticket)
        assert cloned.userName == manager.currentSession.userName
        assert cloned.key != manager.currentSession.key
        assert second.currentSession.key == cloned.key
        third = vim.ServiceInstance("ServiceInstance", vcenter_stub(vcenter)).content.sessionManager
        with pytest.raises(vim.fault.InvalidLogin):
            third.CloneSession(ticket)
        second.SetLocale("en")
        assert second.currentSession.locale == "en"
        with pytest.raises(vim.fault.InvalidLocale):
            second.SetLocale("xx")
        manager.UpdateMessage("maintenance at nine")
        assert second.message == "maintenance at nine"
        assert manager.SessionIsActive(cloned.key, cloned.userName)
        manager.Terminate([cloned.key])
        assert not manager.SessionIsActive(cloned.key, cloned.userName)
        with pytest.raises(vim.fault.NotAuthenticated):
            second.AcquireCloneTicket()
        with pytest.raises(vim.fault.NotFound):
            manager.Terminate([cloned.key])

    await run(work)


async def test_alarms_and_components_are_asked_for_and_few(vcenter):
    def work():
        service = connect(vcenter.ready)
        content = service.content
        manager = content.alarmManager
        assert manager.GetAlarmActionsEnabled(content.rootFolder) is True
        assert manager.GetAlarmState(content.rootFolder) == []
        assert isinstance(manager.GetAlarm(None), list)
        assert service.RetrieveProductComponents() == []

    await run(work)


def vcenter_stub(vcenter):
    """Somebody who has no session yet."""
    host, _, port = vcenter.ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    stub = SoapStubAdapter(
        host=host, port=int(port), path="/sdk", version="vim.version.v8_0_3_0", sslContext=context(vcenter.ready)
    )
    _stubs.append(stub)
    return stub
