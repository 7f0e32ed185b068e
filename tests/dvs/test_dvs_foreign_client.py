"""pyVmomi's own client over TLS sockets: the calls that drivers make, and a cache that follows a property filter."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest
from dvs_lab import GROUP, PORT, SETTING, VMWARE, backing, blocked, edit, nic_change, policy, vlan
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import SoapStubAdapter, vim, vmodl

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

PC = vmodl.query.PropertyCollector


def wait(task):
    deadline = time.monotonic() + 20
    while task.info.state in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


class Client:
    def __init__(self, ready, version=None):
        context = ssl.create_default_context(cafile=ready["ca_file"])
        host, _, port = ready["url"].split("/")[2].partition(":")
        account = {"user": ready["username"], "pwd": ready["password"]}
        if version is None:
            self.service = SmartConnect(host=host, port=int(port), sslContext=context, **account)
        else:
            stub = SoapStubAdapter(host=host, port=int(port), path="/sdk", version=version, sslContext=context)
            self.service = vim.ServiceInstance("ServiceInstance", stub)
            self.service.content.sessionManager.Login(*account.values())
        self.content = self.service.RetrieveContent()
        self.datacenter = self.content.rootFolder.childEntity[0]
        networks = self.datacenter.networkFolder.childEntity
        self.dvs = next(item for item in networks if isinstance(item, vim.DistributedVirtualSwitch))
        self.vms = self.datacenter.vmFolder.childEntity

    def group(self, name, **spec):
        fields = {"name": name, "type": "earlyBinding", "policy": policy(block=True, vlan=True), **spec}
        return wait(self.dvs.CreateDVPortgroup_Task(GROUP.ConfigSpec(**fields)))

    def connect(self, vm, group):
        class Known:
            dvs, moid = self.dvs, group.key

        device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing(Known))
        wait(vm.ReconfigVM_Task(nic_change("add", device)))
        return vm.config.hardware.device[-1].backing.port


async def against(work, **options):
    simulator = VCenterSimulator(
        hosts=2, vms=4, timing=Timing.instant(), verify_fragments=True, guests=False, **options
    )
    await simulator.start()
    try:
        await asyncio.wait_for(asyncio.to_thread(work, simulator.ready), 30)
        assert not simulator.world.defects
    finally:
        await simulator.stop()


def drivers_day(ready):
    """What the Contrail plugin and the Neutron drivers do with a port."""
    client = Client(ready)
    dvs = client.dvs
    group = client.group("vn-1", numPorts=4)
    port = client.connect(client.vms[0], group)
    (found,) = dvs.FetchDVPorts(vim.dvs.PortCriteria(portKey=[port.portKey]))
    assert found.connectionCookie == port.connectionCookie
    assert isinstance(found.config.setting, SETTING)
    assert found.state.runtimeInfo.linkUp
    spec = edit(port.portKey, version=found.config.configVersion, vlan=1204, blocked=False)
    wait(dvs.ReconfigureDVPort_Task([spec]))
    with pytest.raises(vim.fault.ConcurrentAccess):
        wait(dvs.ReconfigureDVPort_Task([spec]))
    (after,) = dvs.FetchDVPorts(vim.dvs.PortCriteria(portKey=[port.portKey]))
    setting = after.config.setting
    assert (setting.vlan.vlanId, setting.vlan.inherited, setting.blocked.inherited) == (1204, False, False)
    assert setting.uplinkTeamingPolicy.inherited is True
    assert [(item.start, item.end) for item in after.state.runtimeInfo.vlanIds] == [(1204, 1204)]
    keys = dvs.FetchDVPortKeys(vim.dvs.PortCriteria(uplinkPort=False))
    assert sorted(keys) == sorted(group.portKeys)
    dvs.RefreshDVPortState([port.portKey])
    assert dvs.LookupDvPortGroup(group.key)._moId == group._moId
    security = SETTING(securityPolicy=VMWARE.SecurityPolicy(inherited=False, allowPromiscuous=blocked(True)))
    with pytest.raises(vim.fault.ConflictingConfiguration) as caught:
        wait(dvs.ReconfigureDVPort_Task([PORT.ConfigSpec(operation="edit", key=port.portKey, setting=security)]))
    assert caught.value.configInConflict[0].entity._moId == group._moId
    with pytest.raises(vim.fault.ResourceInUse):
        wait(group.Destroy_Task())
    rules = filters()
    wait(group.ReconfigureDVPortgroup_Task(GROUP.ConfigSpec(defaultPortConfig=rules)))
    read = group.config.defaultPortConfig.filterPolicy.filterConfig[0].trafficRuleset.rules
    assert type(read[0].action) is vim.dvs.TrafficRule.DropAction
    assert read[0].qualifier[0].sourceAddress.addressPrefix == "10.0.0.0"
    (last,) = dvs.FetchDVPorts(vim.dvs.PortCriteria(portKey=[port.portKey]))
    assert last.config.setting.filterPolicy.inherited is True
    events = client.content.eventManager.QueryEvents(vim.event.EventFilterSpec(maxCount=100))
    names = {type(event).__name__.removeprefix("vim.event.") for event in events}
    assert {"DvsPortConnectedEvent", "DvsPortReconfiguredEvent", "DVPortgroupCreatedEvent"} <= names
    wait(client.content.dvSwitchManager.RectifyDvsOnHost_Task([client.vms[0].runtime.host]))
    Disconnect(client.service)


def filters():
    rule = vim.dvs.TrafficRule
    qualifier = rule.IpQualifier(sourceAddress=vim.IpRange(addressPrefix="10.0.0.0", prefixLength=8))
    rules = [rule(sequence=1, qualifier=[qualifier], action=rule.DropAction(), direction="both")]
    config = PORT.TrafficFilterConfigSpec(
        inherited=False,
        operation="add",
        agentName="dvfilter-generic-vmware",
        trafficRuleset=vim.dvs.TrafficRuleset(enabled=True, rules=rules),
    )
    return SETTING(filterPolicy=PORT.FilterPolicy(inherited=False, filterConfig=[config]))


def old_client(ready):
    """A client of an older version gets the policies that it knows, and no others."""
    client = Client(ready, version="vim.version.version9")
    group = client.group("old", numPorts=2)
    wait(client.dvs.ReconfigureDVPort_Task([edit(group.portKeys[0], vlan=5)]))
    for port, number in zip(
        client.dvs.FetchDVPorts(vim.dvs.PortCriteria(portgroupKey=[group.key], inside=True)), (5, 0), strict=True
    ):
        assert port.config.setting.vlan.vlanId == number
        assert port.config.setting.macManagementPolicy is None
        assert port.config.setting.securityPolicy.allowPromiscuous.value is False
    Disconnect(client.service)


def follower(ready):
    """Every update of the switch and its groups, applied by path, gives what a fresh read gives."""
    client = Client(ready)
    view = client.content.viewManager.CreateContainerView(
        client.content.rootFolder, [vim.DistributedVirtualSwitch, vim.dvs.DistributedVirtualPortgroup], True
    )
    paths = {
        vim.DistributedVirtualSwitch: ["config.numPorts", "config.maxMtu", "config.host", "portgroup", "runtime"],
        vim.dvs.DistributedVirtualPortgroup: [
            "name",
            "portKeys",
            "config.numPorts",
            "config.configVersion",
            "config.defaultPortConfig",
            "vm",
        ],
    }
    spec = PC.FilterSpec(
        propSet=[PC.PropertySpec(type=kind, pathSet=names) for kind, names in paths.items()],
        objectSet=[
            PC.ObjectSpec(
                obj=view,
                skip=True,
                selectSet=[PC.TraversalSpec(name="v", path="view", skip=False, type=type(view))],
            )
        ],
    )
    collector = client.content.propertyCollector
    collector.CreateFilter(spec, False)
    cache, version = {}, ""

    def follow():
        nonlocal version
        while (found := collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=0))) is not None:
            version = found.version
            for change in (item for part in found.filterSet for item in part.objectSet):
                if str(change.kind) == "leave":
                    del cache[change.obj._moId]
                    continue
                known = cache.setdefault(change.obj._moId, {})
                known.update({item.name: str(getattr(item, "val", None)) for item in change.changeSet})

    follow()
    group = client.group("a", numPorts=1)
    follow()
    for vm in client.vms[:3]:
        client.connect(vm, group)
    follow()
    wait(group.ReconfigureDVPortgroup_Task(GROUP.ConfigSpec(name="b", defaultPortConfig=SETTING(vlan=vlan(7)))))
    host = client.vms[0].runtime.host
    member = vim.dvs.HostMember.ConfigSpec(
        operation="edit",
        host=host,
        backing=vim.dvs.HostMember.PnicBacking(pnicSpec=[vim.dvs.HostMember.PnicSpec(pnicDevice="vmnic1")]),
    )
    wait(client.dvs.ReconfigureDvs_Task(VMWARE.ConfigSpec(maxMtu=9000, host=[member])))
    wait(host.DisconnectHost_Task())
    extra = client.group("c")
    follow()
    wait(extra.Destroy_Task())
    follow()
    fresh = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions()).objects
    assert {item.obj._moId: {prop.name: str(prop.val) for prop in item.propSet} for item in fresh} == cache
    Disconnect(client.service)


@pytest.mark.parametrize("story", [drivers_day, old_client, follower], ids=lambda story: story.__name__)
async def test_pyvmomi(story):
    await against(story)
