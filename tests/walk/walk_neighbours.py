"""What is not ours in the walked vCenter, and must look afterwards as before: another solution's agency with its VMs,
somebody's port group, pool and virtual machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from pyVmomi import SoapAdapter

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_life import make_portgroup
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.ovf.descriptor import Descriptor, OvfDisk, OvfFile, OvfItem, OvfNetwork, render
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import eam, vim

SOLUTION = "com.example.firewall"
DISK = b"an image" * 64


class Depot:
    """The other solution's web server, plain HTTP on loopback: always up, whatever happens to our manager."""

    def __init__(self) -> None:
        descriptor = Descriptor(
            name="Firewall",
            id="firewall",
            files=(OvfFile("file1", "firewall.vmdk", len(DISK)),),
            disks=(OvfDisk("vmdisk1", "file1", 1 << 30),),
            networks=(OvfNetwork("Management"),),
            items=(
                OvfItem("1", 3, "1 CPU", quantity=1),
                OvfItem("2", 4, "memory", quantity=512 << 20),
                OvfItem("3", 6, "SCSI", subtype="VirtualSCSI"),
                OvfItem("4", 17, "disk", host_resource="ovf:/disk/vmdisk1", parent="3", address_on_parent="0"),
                OvfItem("5", 10, "NIC", subtype="VmxNet3", connection="Management", address_on_parent="7"),
            ),
            os_type="other5xLinux64Guest",
            virtual_system_types=("vmx-19",),
        )
        self._files = {"/firewall.ovf": render(descriptor), "/firewall.vmdk": DISK}
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        self.url = ""

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._files[request.path])

    async def __aenter__(self) -> Depot:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/firewall.ovf"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class Neighbours:
    """``settle_in`` makes them; ``harmed`` says what became of them that only they themselves may do."""

    def __init__(self, vcenter: VCenterSimulator) -> None:
        self._vcenter = vcenter
        self._before: dict[str, str] = {}

    @property
    def _call(self) -> Call:
        session: Any = SimpleNamespace(extension=True)
        return Call(world=self._vcenter.world, user=SOLUTION, version="eam.version.version8_3", session=session)

    async def settle_in(self, url: str, *, cluster: str) -> None:
        """An agency on one cluster, a port group on the overlay's switch, a pool beside ours; then remember all."""
        world = self._vcenter.world
        target = self._vcenter.inventory[cluster]
        assert isinstance(target, ClusterComputeResource)
        world.service(ExtensionManager).register_extension(self._call, _extension())
        await self._vcenter.eam.manager.CreateAgency(
            self._call, agencyConfigInfo=_config(url, target), initialGoalState="enabled"
        )
        (switch,) = world.of_type(DistributedVirtualSwitch)
        with world.commit("somebody") as tx:
            make_portgroup(tx, switch, "somebody-overlay")
            target.root_pool.make_child(tx, "ContrailVM")
        self._before = dict(self._seen())

    def harmed(self) -> list[str]:
        after = dict(self._seen())
        gone = [f"{name} is gone" for name in self._before.keys() - after.keys()]
        return gone + [
            f"{name} was {was}, is {after[name]}"
            for name, was in self._before.items()
            if name in after and after[name] != was
        ]

    @property
    def agency(self) -> Agency:
        (found,) = (each for each in self._vcenter.world.of_type(Agency) if each.solution_id == SOLUTION)
        return found

    def mend(self) -> None:
        """The other solution looks after itself: what happened to the site happened to its EsxAgents too."""
        with contextlib.suppress(SoapFault):  # EAM is not up
            self.agency.ResolveAll(self._call)

    @property
    def pools(self) -> list[ResourcePool]:
        return [each for each in self._vcenter.world.of_type(ResourcePool) if each.name == "ContrailVM"]

    def _seen(self) -> Iterator[tuple[str, str]]:
        """Name -> what nobody but its owner changes. Where a VM runs is up to DRS and HA."""
        world = self._vcenter.world
        for agency in world.of_type(Agency):
            if agency.solution_id == SOLUTION:
                yield f"agency {agency.name}", f"{agency.goal} {SoapAdapter.SerializeToStr(agency.config)}"
        for vm in world.of_type(VirtualMachine):
            if not vm.esx_agent:
                wired = [(nic.key, nic.mac, nic.network and nic.network.name) for nic in vm.nics]
                yield f"VM {vm.moid}", f"{vm.name} {wired} {vm.cpu_reservation} {vm.memory_reservation}"
        for group in world.of_type(DistributedVirtualPortgroup):
            if not group.name.startswith("contrailvm-"):
                version = group.read("config.configVersion")
                yield f"port group {group.moid}", f"{group.name} {group.description} {version}"
        for pool in self.pools:
            yield f"pool {pool.moid}", f"{pool.cpu} {pool.memory} {[vm.name for vm in pool.vms]}"


def _extension() -> Any:
    label = vim.Description(label="Firewall", summary="another solution")
    return vim.Extension(key=SOLUTION, version="1", description=label, lastHeartbeatTime=datetime.now(UTC))


def _config(url: str, cluster: ClusterComputeResource) -> Any:
    return eam.Agency.ConfigInfo(
        agencyName="firewall-0123abcd",
        agentName="Firewall",
        agentConfig=[eam.Agent.ConfigInfo(ovfPackageUrl=url)],
        scope=eam.Agency.ComputeResourceScope(computeResource=[cluster.ref]),
        optimizedDeploymentEnabled=False,
        manuallyMarkAgentVmAvailableAfterProvisioning=False,
        manuallyMarkAgentVmAvailableAfterPowerOn=False,
        agentVmDatastore=[each.ref for each in cluster._datastore() if each.name == "nfs-shared"],
        agentVmNetwork=[each.ref for each in cluster._network() if each.name == "mgmt"],
        preferHostConfiguration=False,
    )
