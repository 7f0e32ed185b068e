"""What a person or a test does to the simulated data centre: the verbs of ``simulate control`` and of the HTTP port.

Objects are given as entities, names or managed object ids. Every verb raises SoapFault as the API would, and
LookupError for an object that does not exist.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from contrail_vsphere.simulator import switchboard
from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.fault_points import check_method
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.vcenter import host_life, host_standby, vm_create, vm_life, vm_move, vm_register
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource, ComputeResource
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.dvs_table import PortTable
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.verbs import Listener, verb
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build

if TYPE_CHECKING:
    from contrail_vsphere.simulator.simulator import VCenterSimulator
    from contrail_vsphere.simulator.vrouter.fleet import VRouterFleet

E = TypeVar("E", bound=Entity)


class Scenario:
    """Verbs over one simulator."""

    def __init__(self, simulator: VCenterSimulator) -> None:
        self._simulator = simulator
        self.listener: Listener | None = None
        """Told of every verb that is done: a recorder."""

    @property
    def _world(self) -> Any:
        return self._simulator.world

    @property
    def _user(self) -> str:
        return self._simulator.options.username

    # -- finding ------------------------------------------------------------------------------------------------

    def find(self, kind: type[E], which: E | str) -> E:
        """By entity, id or name; LookupError when there is none."""
        if isinstance(which, Entity):
            return which
        found = self._world.get(which)
        if isinstance(found, kind):
            return found
        for entity in self._world.of_type(kind):
            if getattr(entity, "name", None) == which:
                return entity  # type: ignore[no-any-return]
        raise LookupError(f"there is no {kind.__name__} {which}")

    def host(self, which: HostSystem | str) -> HostSystem:
        """A host by name or id."""
        return self.find(HostSystem, which)

    def vm(self, which: VirtualMachine | str) -> VirtualMachine:
        """A virtual machine by name or id."""
        return self.find(VirtualMachine, which)

    def hosts(self) -> tuple[HostSystem, ...]:
        """All hosts, in the order they were added."""
        return tuple(self._world.of_type(HostSystem))

    def vms(self) -> tuple[VirtualMachine, ...]:
        """All virtual machines, in the order they were made."""
        return tuple(self._world.of_type(VirtualMachine))

    @property
    def vrouters(self) -> VRouterFleet:
        """The VRouterAgents of the guests."""
        return self._simulator.vrouters

    # -- hosts --------------------------------------------------------------------------------------------------

    @verb
    async def add_host(self, name: str, cluster: ComputeResource | str = "") -> HostSystem:
        """Add a host to a cluster, the first one when none is named."""
        owner = self.find(ComputeResource, cluster) if cluster else next(self._world.of_type(ClusterComputeResource))
        return await host_life.add_host(self._world, owner, name=name, user=self._user)

    @verb
    async def remove_host(self, host: HostSystem | str) -> None:
        """Take a host out of the inventory; it must be in maintenance mode or disconnected."""
        await host_life.remove_host(self._world, self.host(host), user=self._user)

    @verb
    async def enter_maintenance(self, host: HostSystem | str, *, deadline: float = 0) -> None:
        """Evacuate and enter; SoapFault Timedout after ``deadline`` seconds (0: never)."""
        await host_life.enter_maintenance(self._world, self.host(host), deadline=deadline, user=self._user)

    @verb
    async def exit_maintenance(self, host: HostSystem | str) -> None:
        await host_life.exit_maintenance(self._world, self.host(host), user=self._user)

    @verb
    async def disconnect_host(self, host: HostSystem | str) -> None:
        await host_life.disconnect(self._world, self.host(host), user=self._user)

    @verb
    async def reconnect_host(self, host: HostSystem | str) -> None:
        await host_life.reconnect(self._world, self.host(host), user=self._user)

    @verb
    async def lose_host(self, host: HostSystem | str) -> None:
        """The management network breaks: vCenter loses the host, what runs there goes on."""
        await host_life.lose_connection(self._world, self.host(host))

    @verb
    async def crash_host(self, host: HostSystem | str) -> None:
        """Power is lost: everything on it stops, HA restarts what it may elsewhere."""
        await host_life.crash(self._world, self.host(host))

    @verb
    async def boot_host(self, host: HostSystem | str) -> None:
        """A crashed host comes back."""
        await host_life.boot(self._world, self.host(host))

    @verb
    async def standby_host(self, host: HostSystem | str, *, deadline: float = 0) -> None:
        """Evacuate as DRS does and power down to standby; SoapFault Timedout after ``deadline`` seconds (0: never)."""
        await host_standby.power_down(self._world, self.host(host), deadline=deadline, user=self._user)

    @verb
    async def wake_host(self, host: HostSystem | str) -> None:
        """Power up from standby."""
        await host_standby.power_up(self._world, self.host(host), user=self._user)

    # -- virtual machines ---------------------------------------------------------------------------------------

    @verb
    async def create_vm(
        self, name: str, *, host: HostSystem | str = "", nics: int = 1, power_on: bool = True
    ) -> VirtualMachine:
        """A tenant VM on the shared datastore and on "VM Network"; on the first host when none is named."""
        where = self.host(host) if host else next(self._world.of_type(HostSystem))
        datacenter, pool = where.ancestor(Datacenter), where.compute_resource.root_pool
        if datacenter is None or pool is None:
            raise LookupError(f"{where.name} is in no datacenter")
        network = self.find(Network, "VM Network")
        datastore = next((item for item in where.datastores if item.name == "nfs-shared"), where.datastores[0])
        device = vim.vm.device
        backing = build(device.VirtualEthernetCard.NetworkBackingInfo, deviceName=network.name, network=network.ref)
        cards = [
            build(
                device.VirtualDeviceSpec,
                operation="add",
                device=build(device.VirtualVmxnet3, key=-1 - number, backing=backing),
            )
            for number in range(nics)
        ]
        files = build(vim.vm.FileInfo, vmPathName=f"[{datastore.name}]")
        spec = build(vim.vm.ConfigSpec, name=name, files=files, numCPUs=1, memoryMB=512, deviceChange=cards)
        made = await vm_create.create(
            self._world, spec=spec, folder=datacenter.vm_folder, pool=pool, host=where, user=self._user
        )
        if power_on:
            await vm_life.power_on(self._world, made, user=self._user)
        return made

    @verb
    async def power_on(self, vm: VirtualMachine | str) -> None:
        await vm_life.power_on(self._world, self.vm(vm), user=self._user)

    @verb
    async def power_off(self, vm: VirtualMachine | str) -> None:
        await vm_life.power_off(self._world, self.vm(vm), user=self._user)

    @verb
    async def suspend(self, vm: VirtualMachine | str) -> None:
        await vm_life.suspend(self._world, self.vm(vm), user=self._user)

    @verb
    async def reset_vm(self, vm: VirtualMachine | str) -> None:
        await vm_life.reset(self._world, self.vm(vm), user=self._user)

    @verb
    async def rename_vm(self, vm: VirtualMachine | str, name: str) -> None:
        await vm_life.rename(self._world, self.vm(vm), name, user=self._user)

    @verb
    async def delete_vm(self, vm: VirtualMachine | str) -> None:
        """Power off if need be, then delete with all files."""
        found = self.vm(vm)
        if found.power_state != "poweredOff":
            await vm_life.power_off(self._world, found, user=self._user)
        await vm_life.destroy(self._world, found, user=self._user)

    @verb
    async def move_vm(self, vm: VirtualMachine | str, host: HostSystem | str) -> None:
        """VMotion, or a cold migration."""
        found = self.vm(vm)
        target = vm_move.destination(found, host=self.host(host))
        await vm_move.migrate(self._world, found, target, user=self._user)

    @verb
    async def leave_files(self, name: str, *, datastore: str = "nfs-shared", network: str = "VM Network") -> str:
        """Files of a VM that vCenter does not know, as a restored backup leaves them; the path to register them by."""
        with self._world.commit(self._user) as tx:
            where, wire = self.find(Datastore, datastore), self.find(Network, network)
            return vm_register.place_files(tx, where, name, network=wire)

    @verb
    async def vrouter(self, agent: str, act: str) -> None:
        """Break or mend a VRouterAgent; ``act`` as for ``VRouterFleet.act``."""
        await self.vrouters.act(agent, act)

    # -- service ------------------------------------------------------------------------------------------------

    @verb
    def add_fault(self, rule: FaultRule | None = None, /, **fields: Any) -> int:
        """Put a fault rule in force (a FaultRule, or its fields); returns its key. LookupError: no such name."""
        rule = rule if rule is not None else FaultRule(**fields)
        check_method(rule.method)
        return self._simulator.faults.add(rule)

    @verb
    def remove_fault(self, key: int) -> None:
        self._simulator.faults.remove(key)

    @verb
    def clear_faults(self) -> None:
        self._simulator.faults.clear()

    def faults(self) -> dict[int, tuple[FaultRule, int]]:
        """Key -> rule in force and how often it acted."""
        return self._simulator.faults.rules()

    def clock(self) -> dict[str, Any]:
        """Simulated time, and how fast it runs."""
        clock = self._world.clock
        return {"now": clock.now().isoformat(), "rate": clock.rate}

    @verb
    def advance_clock(self, seconds: float) -> None:
        """Jump ahead in simulated time."""
        self._world.clock.advance(seconds)

    @verb
    def set_clock_rate(self, rate: float) -> None:
        """Simulated seconds per second."""
        self._world.clock.set_rate(rate)

    @verb
    async def reset(self) -> None:
        """Begin anew with the inventory, sessions and faults of the start; addresses and the CA stay."""
        await self._simulator.reset()

    def save(self, path: Path | str) -> None:
        """Write the whole inventory to a file, for ``load`` and for ``simulate vcenter --load``."""
        self._simulator.save(Path(path))

    @verb
    async def load(self, path: str) -> None:
        """Begin anew with a saved inventory, or one that ``govc object.save`` wrote; addresses and the CA stay."""
        await self._simulator.load(Path(path))

    @verb
    def set_switch(self, name: str, value: str) -> None:
        """Put a named switch into another position, given as text; UsageError for one that does not exist."""
        switchboard.turn(self._world, {name: switchboard.value_of(name, value)})

    def switches(self) -> dict[str, Any]:
        """Name -> position of every switch."""
        return switchboard.positions(self._world)

    @verb
    def set_image_managed(self, cluster: ComputeResource | str, *, on: bool = True) -> None:
        """Have vLCM manage a cluster by an image, as System VMs need; or not any more, which a real one refuses."""
        with self._world.commit(self._user) as tx:
            tx.set(self.find(ComputeResource, cluster), image_managed=on)

    @verb
    def remediate_cluster(self, cluster: ComputeResource | str) -> None:
        """Somebody remediates a cluster's image: VIBs that EAM handed over reach its hosts."""
        self._simulator.eam.vib_work.remediate(self.find(ComputeResource, cluster), user=self._user)

    @verb
    def partial_maintenance(self, host: HostSystem | str, *, on: bool = True) -> None:
        """The host is being patched while its VMs run on; or no longer."""
        with self._world.commit(self._user) as tx:
            tx.set(self.host(host), partial_maintenance=on)

    @verb
    async def restart_eam(self) -> None:
        await self._simulator.restart_eam()

    @verb
    async def drop_connections(self) -> int:
        return await self._simulator.drop_connections()

    @verb
    def expire_sessions(self) -> int:
        return self._simulator.expire_sessions()

    def stats(self) -> dict[str, Any]:
        """Calls per method, sizes, and defects of the simulator itself."""
        world = self._world
        kinds: dict[str, int] = {}
        for entity in world.objects.values():
            kinds[entity.wsdl] = kinds.get(entity.wsdl, 0) + 1
        return {
            "time": world.clock.now().isoformat(),
            "calls": dict(self._simulator.calls.most_common()),
            "sessions": len(self._simulator.sessions.sessions),
            "events": self._simulator.events.end,
            "changes": world.seq,
            "objects": dict(sorted(kinds.items())),
            "defects": [repr(error) for error in world.defects],
        }

    def view(self) -> dict[str, Any]:
        """What the live page shows of the whole: places, hosts with their ContrailVMs, ports, newest events."""
        from contrail_vsphere.simulator.control import view

        return view.overview(self._simulator)

    def view_of(self, moid: str) -> dict[str, Any]:
        """What the live page shows of one object; LookupError for one that does not exist."""
        from contrail_vsphere.simulator.control import view

        return view.detail(self._simulator, moid)

    async def changed_after(self, seq: int) -> None:
        """Return once something changed after that number of ``view()``."""
        await self._world.changed_after(seq)

    def snapshot(self) -> dict[str, Any]:
        """The inventory as plain data: one object per entity with its state; references are ids."""
        return {entity.moid: {"type": entity.wsdl, **_state(entity)} for entity in self._world.of_type(ManagedEntity)}


def _state(entity: Entity) -> dict[str, Any]:
    names = (item.name for item in dataclasses.fields(entity) if item.name not in ("world", "moid"))
    return {name: plain(getattr(entity, name)) for name in names if not name.startswith("_")}


def plain(value: Any) -> Any:
    """JSON-able form of a state value."""
    if isinstance(value, Entity):
        return value.moid
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, PortTable):
        return {key: plain(port) for key, port in value.ports.items()}
    if dataclasses.is_dataclass(value):
        names = (item.name for item in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names if not name.startswith("_")}
    moid = getattr(value, "_moId", None)
    if moid is not None:
        return str(moid)
    if hasattr(value, "_propInfo"):
        return json.loads(json.dumps({key: plain(item) for key, item in value.__dict__.items() if item}))
    return str(value)
