"""A simulated Contrail with a client and an inventory, in one process on one loop."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.notifications import BusNotifications
from contrail_vsphere.contrail.writer import ContrailWriter
from contrail_vsphere.simulator.contrail.simulator import ContrailSimulator


@dataclass
class Stand:
    contrail: ContrailSimulator
    api: ConfigApi
    inventory: ContrailInventory
    writer: ContrailWriter

    @property
    def world(self) -> dict[str, set[str]]:
        """Uuids that exist, by type."""
        kinds = ("project", "virtual-network", "virtual-machine", "virtual-machine-interface", "instance-ip")
        return {kind: {item.uuid for item in self.contrail.scenario.all(kind)} for kind in kinds}

    @property
    def known(self) -> dict[str, set[str]]:
        """Uuids that the inventory knows, by type."""
        views = {
            "project": self.inventory.projects,
            "virtual-network": self.inventory.networks,
            "virtual-machine": self.inventory.vms,
            "virtual-machine-interface": self.inventory.vmis,
            "instance-ip": self.inventory.instance_ips,
        }
        return {kind: {str(uuid) for uuid in view} for kind, view in views.items()}


@asynccontextmanager
async def contrail_stand(
    *, bus: bool = True, contrail: dict[str, Any] | None = None, inventory: dict[str, Any] | None = None, **api: Any
) -> AsyncIterator[Stand]:
    """Everything started; without ``bus`` the inventory polls."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(ContrailSimulator(**(contrail or {})))
        client = await stack.enter_async_context(ConfigApi(simulator.ready["urls"], random=random.Random(3), **api))
        source = BusNotifications(simulator.bus, random=random.Random(4)) if bus else None
        following = ContrailInventory(client, source, random=random.Random(5), **(inventory or {}))
        following.start()
        stack.push_async_callback(following.stop)
        yield Stand(simulator, client, following, ContrailWriter(client, following))
