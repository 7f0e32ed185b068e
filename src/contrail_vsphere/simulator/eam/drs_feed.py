"""What EAM tells DRS: how many EsxAgents a host must have, and how many are available.

Kept within every commit that changes it, so that no placement ever sees a stale number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.eam.service import EamService


class DrsFeed:
    """A finisher of the world's commits."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._counted: dict[str, HostSystem] = {}
        """Hosts that were told of a number other than none."""

    def __call__(self, tx: Transaction) -> None:
        """Recount the hosts that this commit concerns."""
        hosts: dict[str, HostSystem] = {}
        for entity in tx.touched:
            if isinstance(entity, EsxAgent):
                hosts[entity.host.moid] = entity.host
            elif isinstance(entity, VirtualMachine):
                agent = self._service.agent_of(entity)
                if agent is not None:
                    hosts[agent.host.moid] = agent.host
            elif isinstance(entity, HostSystem):
                hosts[entity.moid] = entity
            elif isinstance(entity, ComputeResource):
                hosts.update((host.moid, host) for host in entity.hosts)
            elif isinstance(entity, Agency):
                hosts.update(self._counted)
                hosts.update((host.moid, host) for host in entity.hosts)
        for host in hosts.values():
            self._count(tx, host)

    def _count(self, tx: Transaction, host: HostSystem) -> None:
        required = sum(1 for agency in self._service.agencies() if agency.requires_agent_on(host))
        available = sum(1 for agent in self._service.agents_on(host) if agent.available)
        tx.set(host, required_agents=required, available_agents=available)
        if required or available:
            self._counted[host.moid] = host
        else:
            self._counted.pop(host.moid, None)
