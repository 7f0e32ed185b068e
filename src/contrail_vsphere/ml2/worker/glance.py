"""One look at vCenter, as a command takes it: a worker goes on trying, a command says what is wrong and ends."""

from __future__ import annotations

import asyncio

from contrail_vsphere.model.errors import NotConverged
from contrail_vsphere.vsphere.vcenter import VCenter

LOOK_SECONDS = 120.0


async def looked(vcenter: VCenter) -> None:
    """The inventory was read. NotConverged where vCenter lets one in and then says nothing."""
    vcenter.inventory.start()
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await vcenter.inventory.ready()
    except TimeoutError:
        raise NotConverged(
            f"vCenter did not tell its inventory within {LOOK_SECONDS:g} s",
            hint="`neutron status` says what the worker sees",
        ) from None
