"""Virtual machines that bear EAM's mark but belong to no agency: of another vCenter's hosts, or left over.

Since 7.0 U1 EAM deletes them; before, it told of them when somebody asked (ScanForUnknownAgentVm) and once a day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from contrail_vsphere.simulator.eam.events import manager_event
from contrail_vsphere.simulator.eam.issues import IssueRecord
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.vcenter import vm_life
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.service import EamService

MANAGER_KEY: Final = "com.vmware.vim.eam"
SCAN_PERIOD: Final = timedelta(days=1)
"""``eam.scan_for_unknown_agent_vms`` of the appliance: 1440 minutes."""


class UnknownVms:
    """Finds, tells of and deletes them."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world
        self._scanned: datetime | None = None

    def found(self) -> Iterator[VirtualMachine]:
        """All of them that can be reached now."""
        known = {vm.moid for agency in self._service.agencies() for agent in agency.agents for vm in vms_of(agent)}
        for vm in list(self._world.of_type(VirtualMachine)):
            if vm.managed_by is None or vm.managed_by.extension_key != MANAGER_KEY or vm.moid in known:
                continue
            if vm.connection_state == "connected" and vm.host is not None and vm.host.connection_state == "connected":
                yield vm

    async def remove_all(self) -> None:
        """Delete them; one that is busy, or whose host goes away, is come to again."""
        for vm in list(self.found()):
            await self.delete(vm)

    async def delete(self, vm: VirtualMachine) -> None:
        """Power off and delete, if it is still there."""
        try:
            if self._world.get(vm.moid) is vm and vm.power_state != "poweredOff":
                await vm_life.power_off(self._world, vm, user=USER)
            if self._world.get(vm.moid) is vm:
                await vm_life.destroy(self._world, vm, user=USER)
        except SoapFault:
            return  # held by somebody else: the next scan, or the next Resolve, comes to it again

    def scan_daily(self) -> None:
        """Tell of them once a day, where they are not deleted."""
        now = self._world.clock.now()
        if self._scanned is None:
            self._scanned = now
        if not self._service.profile.removes_orphans and now - self._scanned >= SCAN_PERIOD:
            self.scan()
        self.settle()

    def scan(self) -> None:
        """Raise UnknownAgentVm for each that has none yet."""
        self._scanned = self._world.clock.now()
        manager = self._service.manager
        told = {record.vm for record in manager.issues}
        new = [vm for vm in self.found() if vm not in told]
        if not new:
            return
        with self._world.commit(USER) as tx:
            for vm in new:
                record = IssueRecord(
                    key=self._service.new_issue_key(),
                    type="UnknownAgentVm",
                    time=self._world.clock.now(),
                    host=vm.host,
                    vm=vm,
                )
                tx.set(manager, issues=(*manager.issues, record))
                manager_event(tx, "issue.unknownAgentVm", record.describe(None), entity=vm)

    def settle(self) -> None:
        """Issues go with their virtual machines."""
        manager = self._service.manager
        left = tuple(record for record in manager.issues if self._world.get(record.vm.moid) is record.vm)
        if left != manager.issues:
            with self._world.commit(USER) as tx:
                tx.set(manager, issues=left)


def vms_of(agent: EsxAgent) -> list[VirtualMachine]:
    """All virtual machines of an EsxAgent, wherever they are."""
    return [vm for vm in (agent.vm, agent.new_vm, *agent.orphans) if vm is not None]
