"""The control node of the simulated Contrail: tells VRouterAgents what the API server has of their ports.

    fleet.control_node = contrail.control_node

It derives everything from the store when it is asked; only the time at which an interface appeared is noted.
"""

from __future__ import annotations

from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.simulator.contrail.ipam import Subnet
from contrail_vsphere.simulator.contrail.store import Committed
from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.vrouter.delivery import PortFacts, SubnetFacts

DELAY = 0.2
INTERFACE = "virtual_machine_interface"


class ContrailControlNode:
    """Implements ``ControlNode`` over a store."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self.delay = DELAY
        """Seconds until an agent knows what was written."""
        self._since: dict[str, float] = {}

    def heard(self, committed: Committed) -> None:
        """Note when interfaces appeared."""
        for message in committed.notifications:
            if message.type == INTERFACE and message.operation == "CREATE":
                self._since[message.uuid] = self._clock.time()
            elif message.type == INTERFACE and message.operation == "DELETE":
                self._since.pop(message.uuid, None)

    def facts(self, vmi: str) -> PortFacts | None:
        """What there is to tell of an interface."""
        store = self._site.store
        found = store.objects.get(vmi)
        if found is None or found.type.underscored != INTERFACE:
            return None
        machines = found.referred("virtual_machine_refs")
        networks = [store.objects[uuid] for uuid in found.referred("virtual_network_refs") if uuid in store.objects]
        if not machines or not networks:
            return None
        subnets = self._site.ipam.subnets(networks[0])
        if not subnets:
            return None
        return PortFacts(
            vm=machines[0],
            network=networks[0].uuid,
            network_name=":".join(networks[0].fq_name),
            since=self._since.get(vmi, 0.0),
            v4=_facts(subnets, 4),
            v6=_facts(subnets, 6),
        )


def _facts(subnets: tuple[Subnet, ...], version: int) -> SubnetFacts | None:
    for subnet in subnets:
        if subnet.network.version == version:
            gateway = subnet.text(subnet.gateway) if subnet.gateway >= 0 else ("0.0.0.0" if version == 4 else "::")  # noqa: S104
            return SubnetFacts(subnet.network.prefixlen, gateway, subnet.text(subnet.service))
    return None
