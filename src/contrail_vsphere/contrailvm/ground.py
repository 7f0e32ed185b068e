"""What ContrailVMs stand on in vCenter: overlay trunk, resource pool, and the ports of strangers on the trunk.

Each verb finds what is there before it makes anything, so that doing it twice makes nothing twice; what somebody else
uses is left to him.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.contrailvm.desired import Key
from contrail_vsphere.contrailvm.doors import VCenterDoor
from contrail_vsphere.contrailvm.networks import trunk_mark
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.plan.actions import (
    BlockPort,
    EnsureResourcePool,
    EnsureTrunkPortGroup,
    RemoveResourcePool,
    RemoveTrunkPortGroup,
)
from contrail_vsphere.contrailvm.vm_spec import POOL_READ, block_spec, pool_spec, same_allocations, trunk_spec
from contrail_vsphere.model.errors import AlreadyExists, Busy, InvalidArgument, NotFound
from contrail_vsphere.model.ids import ResourcePoolId
from contrail_vsphere.wire.soap.types import vim

_LOG = logging.getLogger(__name__)

TASK_DEADLINE = 120.0
"""Seconds a task of vCenter may take before it is given up (and looked at again)."""

GroundAction = EnsureTrunkPortGroup | EnsureResourcePool | RemoveTrunkPortGroup | RemoveResourcePool | BlockPort


@dataclass(frozen=True, slots=True)
class Ground:
    """The verbs; ``solution_id`` is in the mark of our trunks."""

    solution_id: str
    vcenter: VCenterDoor
    notebook: Notebook

    async def do(self, key: Key, action: GroundAction) -> None:
        """Do one of its actions."""
        match action:
            case EnsureTrunkPortGroup():
                await self._ensure_trunk(action)
            case EnsureResourcePool():
                await self._ensure_pool(key, action)
            case RemoveTrunkPortGroup():
                await self._remove_trunk(action)
            case RemoveResourcePool():
                await self._remove_pool(action)
            case BlockPort():
                await self._block(key, action)

    async def _ensure_trunk(self, action: EnsureTrunkPortGroup) -> None:
        """Make the trunk, or put right the one that bears our mark."""
        trunk = action.trunk
        if action.existing is not None:
            group = vim.dvs.DistributedVirtualPortgroup(action.existing)
            spec = trunk_spec(
                name=trunk.name,
                description=trunk_mark(self.solution_id),
                ports=trunk.ports,
                config_version=action.config_version,
            )
            task = await self.vcenter.call(group, "ReconfigureDVPortgroup_Task", spec=spec)
        else:
            switch = vim.dvs.VmwareDistributedVirtualSwitch(trunk.switch)
            spec = trunk_spec(name=trunk.name, description=trunk_mark(self.solution_id), ports=trunk.ports)
            task = await self.vcenter.call(switch, "CreateDVPortgroup_Task", spec=spec)
        try:
            await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)
        except AlreadyExists:
            # Another key of the same deployment was faster; the inventory shows it in a moment.
            return

    async def _ensure_pool(self, key: Key, action: EnsureResourcePool) -> None:
        """Find or make the pool, set what it reserves, and remember which it is."""
        wanted = action.pool
        pool = await self._child_pool(action.root, wanted.name)
        spec = pool_spec(cpu_mhz=wanted.cpu_mhz, memory_mb=wanted.memory_mb)
        if pool is None:
            root = vim.ResourcePool(action.root)
            try:
                pool = await self.vcenter.call(root, "CreateResourcePool", name=wanted.name, spec=spec)
            except AlreadyExists:
                pool = await self._child_pool(action.root, wanted.name)
                if pool is None:
                    raise
        elif not same_allocations(await self.vcenter.read(pool, *POOL_READ), spec):
            await self.vcenter.call(pool, "UpdateConfig", name=None, config=spec)
        self.notebook.set_pool(key, pool._moId)

    async def _child_pool(self, root: ResourcePoolId, name: str) -> Any:
        children = (await self.vcenter.read(vim.ResourcePool(root), "resourcePool")).get("resourcePool") or ()
        for child in children:
            if (await self.vcenter.read(child, "name")).get("name") == name:
                return child
        return None

    async def _remove_trunk(self, action: RemoveTrunkPortGroup) -> None:
        """Destroy the trunk unless somebody uses it."""
        group = vim.dvs.DistributedVirtualPortgroup(action.port_group)
        try:
            await self.vcenter.wait_task(await self.vcenter.call(group, "Destroy_Task"), deadline=TASK_DEADLINE)
        except NotFound:
            return
        except Busy as used:
            # Somebody put a VM of his own on it: that is his to resolve, and the removal is done all the same.
            _LOG.warning("our port group %s stays: %s", action.port_group, used)

    async def _remove_pool(self, action: RemoveResourcePool) -> None:
        """Destroy the pool unless something is in it."""
        pool = await self._child_pool(action.root, action.name)
        if pool is None:
            return
        inside = await self.vcenter.read(pool, "vm", "resourcePool")
        if inside.get("vm") or inside.get("resourcePool"):
            _LOG.warning("our resource pool %s stays: it is not empty", action.name)
            return
        try:
            await self.vcenter.wait_task(await self.vcenter.call(pool, "Destroy_Task"), deadline=TASK_DEADLINE)
        except NotFound:
            return

    async def _block(self, key: Key, action: BlockPort) -> None:
        """Blocked before it is noted: whoever dies in between blocks it once more."""
        place, noted = action.place, self.notebook.memory(key).record.quarantined
        switch = vim.dvs.VmwareDistributedVirtualSwitch(place.switch)
        spec = block_spec(place.port, blocked=action.blocked)
        try:
            task = await self.vcenter.call(switch, "ReconfigureDVPort_Task", port=[spec])
            await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)
        except (NotFound, InvalidArgument) as gone:
            _LOG.info("port %s of %s: %s", place.port, place.switch, gone)
        others = tuple(each for each in noted if each != place)
        self.notebook.update_key(key, quarantined=(*others, place) if action.blocked else others)
