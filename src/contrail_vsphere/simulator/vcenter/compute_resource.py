"""Compute resources: clusters, and the shell around a standalone host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter import cluster_rules
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool

HOST_CHANGES = ("summary", "datastore", "network")
"""Properties of a compute resource that follow from its hosts."""
ROOT_CHANGES = tuple(f"{part}.{kind}Allocation" for part in ("config", "summary.config") for kind in ("cpu", "memory"))
"""Properties of its root pool that do."""


@dataclass(slots=True, eq=False, kw_only=True)
class ComputeResource(ManagedEntity):
    """A standalone host's compute resource; ``drs`` and ``ha`` are False there."""

    wsdl: ClassVar[str] = "ComputeResource"
    prefix: ClassVar[str] = "domain-s"
    argument_class: ClassVar[Any] = vim.event.ComputeResourceEventArgument
    argument_name: ClassVar[str] = "computeResource"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "hosts": ("host", *HOST_CHANGES),
        "status": ("overallStatus", "summary.overallStatus"),
        "root_pool": ("resourcePool",),
        "drs": ("configurationEx", "configuration"),
        "ha": ("configurationEx", "configuration"),
        "rules": ("configurationEx", "configuration"),
        "groups": ("configurationEx",),
    }

    hosts: tuple[HostSystem, ...] = ()
    root_pool: ResourcePool | None = None
    drs: bool = False
    ha: bool = False
    rules: tuple[Any, ...] = ()
    """DRS rules of a cluster, as values of the API."""
    groups: tuple[Any, ...] = ()
    """Groups of VMs and hosts that rules are about."""
    disabled: bool = False
    """EAM refuses agencies here (eam.fault.DisabledClusterFault)."""
    image_managed: bool = False
    """VLCM manages the hosts' software by one image."""

    def siblings(self) -> Iterator[ManagedEntity]:
        """Compute resources of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    def host_changed(self, tx: Transaction) -> None:
        """Inside a commit: a host's state or capacity changed; the summary and what the root pool has follow."""
        tx.touch(self, "summary")
        if self.root_pool is not None:
            tx.touch(self.root_pool, *ROOT_CHANGES)

    def set_hosts(self, tx: Transaction, hosts: tuple[HostSystem, ...]) -> None:
        """Inside a commit: these are its hosts from now on."""
        if tx.set(self, hosts=hosts):
            self.host_changed(tx)

    async def remove_hosts(self, *, user: str, chain: int | None) -> None:
        """Take the hosts out as they are, connected or not: they go with what they are in."""
        from contrail_vsphere.simulator.vcenter import host_life

        for host in self.hosts:
            await host_life.remove_host(self.world, host, with_parent=True, user=user, chain=chain)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """A standalone host and its compute resource go together."""
        await self.remove_hosts(user=user, chain=chain)

    def leave(self, tx: Transaction) -> None:
        """Inside a commit: take the compute resource and its pools out of the inventory."""
        if isinstance(self.parent, Folder):
            self.parent.release(tx, self)
        pools = [self.root_pool] if self.root_pool is not None else []
        while pools:
            pool = pools.pop()
            pools.extend(pool.children)
            tx.remove(pool)
        tx.remove(self)

    @managed_property("host")
    def _host(self) -> list[Any]:
        return list(self.hosts)

    @managed_property("resourcePool")
    def _resource_pool(self) -> Any:
        return self.root_pool

    @managed_property("datastore")
    def _datastore(self) -> list[Any]:
        return list({item.moid: item for host in self.hosts for item in host.datastores}.values())

    @managed_property("network")
    def _network(self) -> list[Any]:
        return list({item.moid: item for host in self.hosts for item in host.networks}.values())

    @managed_property("summary")
    def _summary(self) -> Any:
        return data_object(vim.ComputeResource.Summary, **self._totals())

    @managed_property("configurationEx")
    def _configuration_ex(self) -> Any:
        return data_object(vim.ComputeResource.ConfigInfo, vmSwapPlacement="vmDirectory", spbmEnabled=False)

    @managed_property("environmentBrowser")
    def _environment_browser(self) -> Any:
        return None

    def _totals(self) -> dict[str, Any]:
        usable = [host for host in self.hosts if host.usable]
        return {
            "totalCpu": sum(host.cpu_mhz * host.cpu_cores for host in self.hosts),
            "totalMemory": sum(host.memory_mb for host in self.hosts) * 1024 * 1024,
            "numCpuCores": sum(host.cpu_cores for host in self.hosts),
            "numCpuThreads": sum(host.cpu_cores * 2 for host in self.hosts),
            "effectiveCpu": sum(host.cpu_mhz * host.cpu_cores for host in usable),
            "effectiveMemory": sum(host.memory_mb for host in usable),
            "numHosts": len(self.hosts),
            "numEffectiveHosts": len(usable),
            "overallStatus": self.status,
        }


@dataclass(slots=True, eq=False, kw_only=True)
class ClusterComputeResource(ComputeResource):
    """A cluster."""

    wsdl: ClassVar[str] = "ClusterComputeResource"
    prefix: ClassVar[str] = "domain-c"

    @operation("AddHost_Task", privilege="Host.Inventory.AddHostToCluster")
    def AddHost_Task(
        self, call: Any, spec: Any, asConnected: bool, resourcePool: Any = None, license: str | None = None
    ) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        return self.start_task(
            call,
            "addHost",
            lambda handle: host_life.add_host(
                self.world,
                self,
                name=spec.hostName or "",
                connect=asConnected,
                join_switches=False,
                user=handle.user,
                chain=handle.chain,
            ),
        )

    @operation(
        "ReconfigureComputeResource_Task",
        privilege="Host.Inventory.EditCluster",
        note="DRS and HA on and off; rules and groups are kept and shown, but nobody follows them.",
    )
    def ReconfigureComputeResource_Task(self, call: Any, spec: Any, modify: bool) -> Any:
        async def work(handle: Any) -> None:
            drs, ha = getattr(spec, "drsConfig", None), getattr(spec, "dasConfig", None)
            # The older ClusterConfigSpec has rules, and no groups.
            rules = cluster_rules.changed_rules(self, getattr(spec, "rulesSpec", None) or ())
            groups = cluster_rules.changed_groups(self, getattr(spec, "groupSpec", None) or ())
            with self.world.commit(handle.user, chain=handle.chain) as tx:
                if drs is not None and drs.enabled is not None:
                    tx.set(self, drs=bool(drs.enabled))
                if ha is not None and ha.enabled is not None:
                    tx.set(self, ha=bool(ha.enabled))
                tx.set(self, rules=rules, groups=groups)
                tx.event(inventory_event(vim.event.ClusterReconfiguredEvent, self))

        return self.start_task(call, "reconfigureEx", work)

    @operation("MoveInto_Task", note="Resource pools of a standalone host are not kept.")
    def MoveInto_Task(self, call: Any, host: list[Any]) -> Any:
        """Hosts come with their VMs; one of another cluster must be in maintenance mode."""
        from contrail_vsphere.simulator.vcenter import host_move

        async def work(handle: Any) -> None:
            await host_move.into(self, host, user=handle.user, chain=handle.chain)

        return self.start_task(call, "moveInto", work)

    @operation("GetResourceUsage", note="What VMs reserve stands for what they use.")
    def GetResourceUsage(self, call: Any) -> Any:
        running = [vm for host in self.hosts for vm in host.vms if vm.power_state == "poweredOn"]
        stores = {store.moid: store for host in self.hosts for store in host.datastores}.values()
        capacity = sum(store.capacity for store in stores)
        return data_object(
            vim.cluster.ResourceUsageSummary,
            cpuUsedMHz=sum(vm.cpu_reservation for vm in running),
            cpuCapacityMHz=sum(host.cpu_mhz * host.cpu_cores for host in self.hosts),
            memUsedMB=sum(vm.memory_reservation for vm in running),
            memCapacityMB=sum(host.memory_mb for host in self.hosts),
            storageUsedMB=(capacity - sum(store.free for store in stores)) >> 20,
            storageCapacityMB=capacity >> 20,
        )

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the cluster out with its hosts and the VMs on them, which run on; a commit per host."""
        await self.remove_hosts(user=user, chain=chain)
        with self.world.commit(user, chain=chain) as tx:
            tx.event(inventory_event(vim.event.ClusterDestroyedEvent, self))
            self.leave(tx)

    @managed_property("summary")
    def _summary(self) -> Any:
        return data_object(
            vim.ClusterComputeResource.Summary,
            **self._totals(),
            currentFailoverLevel=1 if self.ha else 0,
            numVmotions=0,
        )

    @managed_property("configurationEx")
    def _configuration_ex(self) -> Any:
        return data_object(
            vim.cluster.ConfigInfoEx,
            vmSwapPlacement="vmDirectory",
            spbmEnabled=False,
            dasConfig=self._das(),
            drsConfig=self._drs(),
            rule=list(self.rules),
            group=list(self.groups),
            dpmConfigInfo=data_object(
                vim.cluster.DpmConfigInfo, enabled=False, defaultDpmBehavior="automated", hostPowerActionRate=3
            ),
            vsanConfigInfo=data_object(
                vim.vsan.cluster.ConfigInfo,
                enabled=False,
                defaultConfig=data_object(vim.vsan.cluster.ConfigInfo.HostDefaultInfo, autoClaimStorage=False),
            ),
        )

    @managed_property("configuration")
    def _configuration(self) -> Any:
        return data_object(vim.cluster.ConfigInfo, dasConfig=self._das(), drsConfig=self._drs(), rule=list(self.rules))

    def _das(self) -> Any:
        return data_object(
            vim.cluster.DasConfigInfo,
            enabled=self.ha,
            vmMonitoring="vmMonitoringDisabled",
            hostMonitoring="enabled" if self.ha else "disabled",
            admissionControlEnabled=False,
        )

    def _drs(self) -> Any:
        return data_object(
            vim.cluster.DrsConfigInfo,
            enabled=self.drs,
            enableVmBehaviorOverrides=True,
            defaultVmBehavior="fullyAutomated",
            vmotionRate=3,
        )
