"""pyVmomi over TLS sockets in real time: the operations work and every property of the main types reads."""

from __future__ import annotations

import asyncio
import ssl
import time

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator

UNSERVED = {"networkBootMode", "externallyManagedFolderInfo"}
"""Newer than the version the simulator offers."""


def finished(task):
    deadline = time.monotonic() + 20
    while task.info.state in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert task.info.state == "success", task.info.error
    return task.info.result


def tour(ready):
    context = ssl.create_default_context(cafile=ready["ca_file"])
    host, _, port = ready["url"].split("/")[2].partition(":")
    service = SmartConnect(host=host, port=int(port), user=ready["username"], pwd=ready["password"], sslContext=context)
    content = service.RetrieveContent()
    datacenter = content.rootFolder.childEntity[0]
    cluster = datacenter.hostFolder.childEntity[0]
    vm, first = datacenter.vmFolder.childEntity[0], cluster.host[0]
    dvs = next(item for item in datacenter.networkFolder.childEntity if isinstance(item, vim.DistributedVirtualSwitch))
    finished(vm.PowerOffVM_Task())
    finished(vm.PowerOnVM_Task())
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="trunk", type="earlyBinding", numPorts=4)
    group = finished(dvs.CreateDVPortgroup_Task(spec))
    connection = vim.dvs.PortConnection(switchUuid=dvs.uuid, portgroupKey=group.key)
    backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
    device = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
    finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    assert vm.config.hardware.device[-1].backing.port.portKey in group.portKeys
    finished(first.EnterMaintenanceMode_Task(0))
    assert vm.runtime.host._moId != first._moId
    finished(cluster.AddHost_Task(vim.host.ConnectSpec(hostName="esx-99", force=True), True))
    assert content.dvSwitchManager.QueryDvsByUuid(dvs.uuid)._moId == dvs._moId
    unreadable = set()
    pool, datastore, network = cluster.resourcePool, datacenter.datastore[0], datacenter.network[0]
    for entity in (vm, first, cluster, dvs, group, datacenter, datacenter.vmFolder, pool, datastore, network):
        for info in type(entity)._GetPropertyList():
            try:
                getattr(entity, info.name)
            except vmodl.fault.MethodNotFound:
                unreadable.add(info.name)
    Disconnect(service)
    return unreadable


async def test_pyvmomi_can_use_the_inventory():
    async with VCenterSimulator(hosts=3, vms=4, timing=Timing.instant()) as simulator:
        assert await asyncio.to_thread(tour, simulator.ready) <= UNSERVED
