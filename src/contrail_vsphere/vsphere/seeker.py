"""VMs that an inventory of limited reach sees no more, or has not seen yet: vCenter is asked about each by its UUID."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from contrail_vsphere.model.errors import ContrailVsphereError, Unreachable
from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vsphere.reach import Reach
from contrail_vsphere.vsphere.session import Session

FOUND_WITHIN, FOUND_PAUSE = 60.0, 0.1
"""Seconds until a VM that vCenter was asked for must have been told, and between two looks."""
SEEK_AGAIN = 5.0
"""Seconds until vCenter is asked again where a VM is, after an error."""
_LOG = logging.getLogger(__name__)


class Seeker:
    """``seen`` says whether a VM is told of now; ``gone`` hears of one that vCenter has no more."""

    def __init__(
        self, session: Session, reach: Reach, *, seen: Callable[[VmId], bool], gone: Callable[[VmId], None]
    ) -> None:
        self._session = session
        self._reach = reach
        self._seen = seen
        self._gone = gone
        self._busy: dict[VmId, asyncio.Task[None]] = {}

    def seek(self, vm: VirtualMachine) -> None:
        """It is seen no more; find out whether it is gone, or only out of reach."""
        if vm.id not in self._busy:
            self._busy[vm.id] = asyncio.create_task(self._find_out(vm), name=f"inventory-seek {vm.id}")

    def release(self, vm: VmId) -> None:
        """Follow it no more."""
        if self._reach.follows(vm) and vm not in self._busy:
            self._busy[vm] = asyncio.create_task(self._let_go(vm), name=f"inventory-release {vm}")

    async def find(self, instance: UUID) -> None:
        """Return once the VM is told of, or vCenter has none; Unreachable if neither."""
        vm = await self._reach.find(self._session, str(instance))
        loop = asyncio.get_running_loop()
        until = loop.time() + FOUND_WITHIN
        while vm is not None and not self._seen(vm):
            if loop.time() > until:
                raise Unreachable(f"vCenter has VM {vm}, and does not tell what it is like")
            await asyncio.sleep(FOUND_PAUSE)

    async def stop(self) -> None:
        """Ask nothing more."""
        tasks = tuple(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find_out(self, vm: VirtualMachine) -> None:
        try:
            while True:
                try:
                    found = await self._reach.find(self._session, vm.instance_uuid, last=vm.id)
                except ContrailVsphereError as error:
                    _LOG.info("whether VM %s is gone is not known: %s", vm.name, error)
                    await asyncio.sleep(SEEK_AGAIN)
                else:
                    break
        finally:
            self._busy.pop(vm.id, None)
        if found != vm.id and not self._seen(vm.id):
            self._gone(vm.id)

    async def _let_go(self, vm: VmId) -> None:
        try:
            await self._reach.release(self._session, vm)
        except ContrailVsphereError as error:
            _LOG.info("VM %s is followed on: %s", vm, error)
        finally:
            self._busy.pop(vm, None)
