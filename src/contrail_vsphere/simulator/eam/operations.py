"""What EAM does to vCenter: deploys from OVF, powers on and off, deletes. Each raises what went wrong."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.eam import config as rules
from contrail_vsphere.simulator.eam import package_check
from contrail_vsphere.simulator.eam.config import Deployed, Package
from contrail_vsphere.simulator.eam.events import agent_event
from contrail_vsphere.simulator.eam.failures import IpPoolError, OvfPropertyError
from contrail_vsphere.simulator.eam.fetch import FetchError
from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.eam.observation import exists, selection
from contrail_vsphere.simulator.eam.outcomes import Operation
from contrail_vsphere.simulator.eam.situation import Phase
from contrail_vsphere.simulator.eam.unknown_vms import MANAGER_KEY
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.vcenter import ovf_import, vm_life
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.folder import VM_TYPES, Folder
from contrail_vsphere.simulator.vcenter.task import TaskHandle, TaskManager
from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy, VirtualMachine
from contrail_vsphere.wire.ovf.descriptor import Descriptor
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.service import EamService
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool

_IP_PROPERTY: Final = {"id": "ip", "category": "", "label": "ip", "type": "ip", "value": ""}
"""The OVF property that an IP pool fills in, as the faults about it name it."""
_OWN_ERRORS: Final = (FetchError, PackageError, OvfPropertyError)
Changes = dict[str, Any]


class Operations:
    """One method per operation of ``machine``; the result is what changes in the EsxAgent besides its phase."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world
        self._names: set[str] = set()
        """Being given to virtual machines right now."""
        self._run: dict[Operation, Callable[[EsxAgent], Awaitable[Changes]]] = {
            "deploy": self._deploy,
            "deploy-new": self._deploy_new,
            "power-on": self._power_on,
            "power-on-new": self._power_on_new,
            "power-off": self._power_off,
            "reconfigure": self._reconfigure,
            "delete-new": self._delete_new,
            "power-off-old": self._power_off_old,
            "delete-old": self._delete_old,
            "discard": self._discard,
            "power-off-all": self._power_off_all,
            "delete-all": self._delete_all,
            "install-vib": service.vib_work.install,
            "remove-vib": service.vib_work.remove,
            "leave-maintenance": service.vib_work.leave_maintenance,
            "forget": self._forget,
        }

    async def run(self, agent: EsxAgent, operation: Operation) -> Changes:
        """Raises SoapFault, or one of our own errors (``worker.STEP_FAILURES``); nothing is left half-made then."""
        return await self._run[operation](agent)

    # -- deployment ---------------------------------------------------------------------------------------------

    async def _deploy(self, agent: EsxAgent) -> Changes:
        await self._as_task(agent, "eam.agent.install", lambda handle: self._import(agent, handle, upgrade=False))
        return {}

    async def _deploy_new(self, agent: EsxAgent) -> Changes:
        await self._as_task(agent, "eam.agent.upgrade", lambda handle: self._import(agent, handle, upgrade=True))
        return {}

    async def _as_task(self, agent: EsxAgent, kind: str, work: Callable[[TaskHandle], Awaitable[Any]]) -> None:
        """Run as a task on the host that people can see; errors of our own keep their type."""
        own: list[Exception] = []

        async def guarded(handle: TaskHandle) -> Any:
            try:
                return await work(handle)
            except _OWN_ERRORS as error:
                own.append(error)
                raise SoapFault(vmodl.fault.SystemError(reason=str(error)), str(error)) from error

        task = self._world.service(TaskManager).start(agent.host, kind, guarded, user=USER)
        try:
            await task.done()
        except SoapFault:
            if own:
                raise own[0] from None
            raise

    async def _import(self, agent: EsxAgent, handle: TaskHandle, *, upgrade: bool) -> VirtualMachine:
        await self._point("eam.deploy", agent)
        agency, entry = agent.agency, agent.entry
        package, place = Package.of(entry), selection(agent)
        networks = agency.own_networks()
        if package is None or place.datastore is None or (place.network is None and networks is None):
            raise SoapFault(vim.fault.InvalidState(), "The host's settings changed during the deployment.")
        properties = rules.properties_of(entry)
        fetcher = self._service.fetcher
        descriptor = await fetcher.descriptor(package.url, entry.ovfSslTrust)
        check_properties(descriptor, dict(properties))
        descriptor.hardware(package.option)
        if not self._may_clone(agency, agent, package):
            await fetcher.disks(package.url, descriptor, entry.ovfSslTrust)
        if self._service.switches.checks_manifest:
            await package_check.compare(fetcher, package.url, descriptor, entry.ovfSslTrust)
        folder = self._folder(agent)
        with self._new_name(agency, folder) as name:
            vm: VirtualMachine = await ovf_import.deploy(
                self._world,
                descriptor=descriptor,
                name=name,
                host=agent.host,
                datastore=place.datastore,
                network_map=networks if networks is not None else self._networks(agent, descriptor, place.network),
                folder=folder,
                pool=self._pool(agent),
                properties=dict(properties),
                deployment_option=package.option,
                managed_by=ManagedBy(
                    MANAGER_KEY, "cluster-agent" if agency.is_set else self._service.switches.managed_by_type
                ),
                esx_agent=not agency.is_set,
                user=USER,
                chain=handle.chain,
            )
        deployed = Deployed(package, properties)
        changes: Changes = {"new_vm": vm, "new_deployed": deployed} if upgrade else {"vm": vm, "deployed": deployed}
        with self._world.commit(USER, chain=handle.chain) as tx:
            tx.set(agent, **changes)
            agent_event(tx, agent, "agent.task.deployVm", f"virtual machine {vm.name} is deployed", vm=vm)
        return vm

    def _may_clone(self, agency: Agency, agent: EsxAgent, package: Package) -> bool:
        """Whether the disks come from a sibling: a snapshot on a datastore that this host has too."""
        if agent.config.optimizedDeploymentEnabled is False:
            return False
        mounted = {datastore.moid for datastore in agent.host.datastores}
        return any(
            other is not agent
            and other.deployed is not None
            and other.deployed.package == package
            and other.vm is not None
            and exists(other, other.vm)
            and {datastore.moid for datastore in other.vm.datastores} <= mounted
            for other in agency.agents
        )

    @contextmanager
    def _new_name(self, agency: Agency, folder: Folder) -> Iterator[str]:
        """A name that is free in the folder and stays so meanwhile: agencies with one agentName share the numbers."""
        if agency.config.useUuidVmName:
            yield f"{agency.agent_name}-{uuid.UUID(int=self._world.random.getrandbits(128), version=4)}"
            return
        taken = {child.name for child in folder.children} | self._names
        numbers = (n for n in itertools.count(agency.numbered + 1) if f"{agency.agent_name} ({n})" not in taken)
        number = next(numbers)
        name = f"{agency.agent_name} ({number})"
        with self._world.commit(USER) as tx:
            tx.set(agency, numbered=number)
        self._names.add(name)
        try:
            yield name
        finally:
            self._names.discard(name)

    def folder(self, agent: EsxAgent) -> Folder | None:
        """Where its virtual machine belongs; None while that folder is not there yet."""
        datacenter = agent.host.ancestor(Datacenter)
        assert datacenter is not None  # noqa: S101 - every host is in one
        chosen = rules.entity_of(self._world, rules.folder_for(agent.config, datacenter))
        if isinstance(chosen, Folder):
            return chosen
        existing = datacenter.vm_folder.child(self._service.switches.folder_name)
        return existing if isinstance(existing, Folder) else None

    def _folder(self, agent: EsxAgent) -> Folder:
        existing = self.folder(agent)
        if existing is not None:
            return existing
        top = agent.host.ancestor(Datacenter).vm_folder  # type: ignore[union-attr]
        with self._world.commit(USER) as tx:
            made = Folder.make(self._world, self._service.switches.folder_name, top, VM_TYPES)
            top.adopt(tx, made)
        return made

    def pool(self, agent: EsxAgent) -> ResourcePool | None:
        """The resource pool it belongs to; None while that pool is not there yet."""
        resource = agent.host.compute_resource
        chosen = rules.entity_of(self._world, rules.pool_for(agent.config, resource))
        if chosen is not None:
            return chosen  # type: ignore[no-any-return]
        root, name = resource.root_pool, self._service.switches.pool_name
        assert root is not None  # noqa: S101 - every compute resource has one
        return next((pool for pool in root.children if pool.name == name), None) if name else root

    def _pool(self, agent: EsxAgent) -> ResourcePool:
        existing = self.pool(agent)
        if existing is not None:
            return existing
        root = agent.host.compute_resource.root_pool
        assert root is not None  # noqa: S101 - every compute resource has one
        with self._world.commit(USER) as tx:
            return root.make_child(tx, self._service.switches.pool_name)

    def _networks(self, agent: EsxAgent, descriptor: Descriptor, chosen: Any) -> dict[str, Any]:
        names = [network.name for network in descriptor.networks]
        if self._service.switches.maps_all_networks:
            return dict.fromkeys(names, chosen)
        other = next(iter(agent.host.networks), chosen)
        return {name: chosen if index == 0 else other for index, name in enumerate(names)}

    # -- power --------------------------------------------------------------------------------------------------

    async def _power_on(self, agent: EsxAgent) -> Changes:
        vm = agent.subject
        await self._point("eam.power_on", agent)
        if vm is not None and vm.power_state != "poweredOn":
            check_ip_pool(agent)
            await vm_life.power_on(self._world, vm, user=USER)
            self._tell(agent, "powerOnVm", "powered on", vm)
        return {}

    async def _power_on_new(self, agent: EsxAgent) -> Changes:
        """The one that is to replace the other, which runs on."""
        vm = agent.new_vm
        await self._point("eam.power_on", agent)
        if vm is not None and vm.power_state != "poweredOn":
            await vm_life.power_on(self._world, vm, user=USER)
            self._tell(agent, "powerOnVm", "powered on", vm)
        return {}

    async def switch_off(self, agent: EsxAgent, vm: VirtualMachine | None) -> None:
        """Power off, if it is there and not off already."""
        await self._point("eam.power_off", agent)
        if vm is not None and exists(agent, vm) and vm.power_state != "poweredOff":
            await vm_life.power_off(self._world, vm, user=USER)
            self._tell(agent, "powerOffVm", "powered off", vm)

    async def delete(self, agent: EsxAgent, vm: VirtualMachine | None) -> None:
        """Power off and delete, if it is there."""
        await self._point("eam.delete", agent)
        if vm is None or not exists(agent, vm):
            return
        await self.switch_off(agent, vm)
        self._tell(agent, "deleteVm", "about to be deleted", vm)
        await vm_life.destroy(self._world, vm, user=USER)

    async def _power_off(self, agent: EsxAgent) -> Changes:
        await self.switch_off(agent, agent.subject)
        return {}

    async def _power_off_old(self, agent: EsxAgent) -> Changes:
        await self.switch_off(agent, agent.vm)
        return {}

    async def _power_off_all(self, agent: EsxAgent) -> Changes:
        await self.switch_off(agent, agent.vm)
        await self.switch_off(agent, agent.new_vm)
        return {}

    def _tell(self, agent: EsxAgent, event: str, what: str, vm: VirtualMachine) -> None:
        with self._world.commit(USER) as tx:
            agent_event(tx, agent, f"agent.task.{event}", f"virtual machine {vm.name} is {what}", vm=vm)

    # -- configuration and removal ------------------------------------------------------------------------------

    async def _reconfigure(self, agent: EsxAgent) -> Changes:
        """New OVF properties, in place; the guest sees them from its next power-on."""
        vm, entry, deployed = agent.subject, agent.entry, agent.deployed
        if vm is None or entry is None or deployed is None:
            return {}
        await self._point("eam.reconfigure", agent)
        properties = rules.properties_of(entry)
        values = dict(properties)
        edits = [
            data_object(
                vim.vApp.PropertySpec,
                operation="edit",
                info=data_object(vim.vApp.PropertyInfo, key=info.key, value=values[full_id(info)]),
            )
            for info in vm.vapp_property_info
            if full_id(info) in values
        ]
        spec = vim.vm.ConfigSpec(vAppConfig=vim.vApp.VmConfigSpec(property=edits))
        await vm_life.reconfigure(self._world, vm, spec, user=USER)
        if self._service.switches.environment_restarts and vm.power_state == "poweredOn":
            await vm_life.power_off(self._world, vm, user=USER)
            await vm_life.power_on(self._world, vm, user=USER)
        return {"deployed": Deployed(deployed.package, properties)}

    async def _delete_new(self, agent: EsxAgent) -> Changes:
        await self.delete(agent, agent.new_vm)
        return {"new_vm": None, "new_deployed": None}

    async def _delete_old(self, agent: EsxAgent) -> Changes:
        await self.delete(agent, agent.vm)
        return {"vm": None}

    async def _discard(self, agent: EsxAgent) -> Changes:
        await self.delete(agent, agent.subject)
        return {"vm": None, "new_vm": None, "deployed": None, "new_deployed": None}

    async def _delete_all(self, agent: EsxAgent) -> Changes:
        async def work(_: TaskHandle) -> None:
            await self.delete(agent, agent.vm)
            await self.delete(agent, agent.new_vm)

        await self._as_task(agent, "eam.agent.uninstall", work)
        return {"vm": None, "new_vm": None}

    async def _forget(self, agent: EsxAgent) -> Changes:
        self._service.forget(agent)
        return {}

    async def _point(self, name: str, agent: EsxAgent) -> None:
        effect = self._world.service(FaultBook).point(name, agent, host=agent.host.name, agency=agent.agency.name)
        if effect is not None:
            await effect.apply(self._world.clock)


def check_ip_pool(agent: EsxAgent) -> None:
    """IpPoolError when the agency names an IP pool that has no address for one more virtual machine.

    The range of an IPv4 pool reads ``10.0.0.10#20, ...``: twenty addresses from that one on.
    """
    pool = agent.config.ipPool
    if pool is None:
        return
    network = selection(agent).network
    fields = {"network": network.ref if network is not None else None, "networkName": getattr(network, "name", "")}
    settings = pool.ipv4Config
    ranges = [part.partition("#")[2] for part in str((settings.range if settings else "") or "").split(",")]
    size = sum(int(count) for count in ranges if count.strip().isdigit())
    if not size:
        fault = data_object(vim.fault.MissingNetworkIpConfig, **_IP_PROPERTY)
        raise IpPoolError(Draft("MissingAgentIpPool", {**fields, "error": fault}))
    others = list(agent.agency.agents)
    if sum(1 for other in others if other is not agent and _has_address(other, others.index(agent), others)) >= size:
        fault = data_object(vim.fault.NoAvailableIp, **_IP_PROPERTY, network=network)
        raise IpPoolError(Draft("InsufficientIpAddresses", {**fields, "error": fault}))


def _has_address(agent: EsxAgent, before: int, order: list[EsxAgent]) -> bool:
    """On, or about to be and first in the agency's order."""
    if agent.vm is not None and agent.vm.power_state == "poweredOn":
        return True
    return agent.phase is Phase.POWERING_ON and not agent.issues and order.index(agent) < before


def full_id(info: Any) -> str:
    """``class.key.instance`` of a VAppPropertyInfo."""
    return ".".join(part for part in (info.classId, info.id, info.instanceId) if part)


def check_properties(descriptor: Descriptor, values: dict[str, str]) -> None:
    """Every user-configurable property must be given, with a value it takes; nothing else may be."""
    declared = {item.id: item for item in descriptor.properties}
    for name, value in values.items():
        if name not in declared:
            raise OvfPropertyError(name, "is not declared by the package")
        reason = declared[name].refuses(value)
        if reason is not None:
            raise OvfPropertyError(name, reason)
    for item in declared.values():
        if item.user_configurable and item.id not in values:
            raise OvfPropertyError(item.id, "has no value")
