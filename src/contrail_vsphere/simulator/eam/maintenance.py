"""Maintenance mode: EsxAgents are switched off last, and the exit waits until they are on again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.eam.situation import RUNNING, Phase
from contrail_vsphere.simulator.eam.worker import USER

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.service import EamService
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


class EamMaintenance:
    """A hook of the host's maintenance tasks. While EAM is down these tasks wait, as they do in a real vCenter."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world

    async def before_entered(self, host: HostSystem) -> None:
        """All tenants are gone: switch off what EAM runs there. SoapFault when a power-off fails."""
        await self._service.up()
        for agent in self._service.agents_on(host):
            if agent.agency.is_set:
                continue  # its virtual machine went like any other
            async with agent.lock:
                if agent.phase in RUNNING:
                    with self._world.commit(USER) as tx:
                        tx.set(agent, phase=Phase.MAINTENANCE, marked=False)
                        self._service.worker.settle(tx, agent)
                await self._service.operations.switch_off(agent, agent.vm)
                await self._service.operations.switch_off(agent, agent.new_vm)
            self._service.mark(agent)

    async def after_exit(self, host: HostSystem) -> None:
        """``Wait for EAM VMs to Power-on``: an EsxAgent that cannot come up holds the task until it can."""
        await self._service.up()
        for agent in self._service.agents_on(host):
            self._service.mark(agent)
        while any(self._is_due(agent) for agent in self._service.agents_on(host)):
            await self._world.changed_after(self._world.seq)

    def _is_due(self, agent: EsxAgent) -> bool:
        """Was switched off for maintenance, and should be on."""
        return (
            agent.phase in {Phase.MAINTENANCE, Phase.POWERING_ON}
            and not agent.leaving
            and not agent.agency.is_set
            and agent.agency.goal == "enabled"
            and agent.host.connection_state == "connected"
            and not agent.host.in_maintenance
            and not agent.issues
        )
