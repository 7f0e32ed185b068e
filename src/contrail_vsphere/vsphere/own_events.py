"""Events of our own in vCenter's history, where its administrators look, of the types that our extension registers.

Telling never stands in the way of doing: an event is posted beside the work, and one that cannot be posted is logged
and forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.inventory import Cluster, Dvs, Host, VirtualMachine
from contrail_vsphere.wire.soap.types import vim, vmodl

Severity = Literal["info", "warning", "error"]
_MANAGER = vim.event.EventManager("EventManager")
DEADLINE = 30.0
"""Seconds one event may take to post."""

_LOG = logging.getLogger(__name__)


def own_event(
    kind: str,
    message: str,
    *,
    severity: Severity,
    at: datetime,
    arguments: Mapping[str, str],
    cluster: Cluster | None = None,
    host: Host | None = None,
    vm: VirtualMachine | None = None,
    switch: Dvs | None = None,
    about: Any = None,
) -> Any:
    """An EventEx; ``kind`` is the whole ``eventTypeId``. It shows on whatever of cluster, host, VM, switch is given.

    ``about``: reference of the object whose alarms it is to raise or calm; without one it is vCenter's to choose.
    """
    values = {**arguments, "message": message}
    event = vim.event.EventEx(
        # Numbers, time and user are vCenter's to set, but the wire requires them.
        key=0,
        chainId=0,
        createdTime=at,
        userName="",
        eventTypeId=kind,
        severity=severity,
        message=message,
        fullFormattedMessage=message,
        arguments=[vmodl.KeyAnyValue(key=name, value=value) for name, value in values.items()],
    )
    if about is not None:
        event.objectId, event.objectType = about._moId, type(about)
    if cluster is not None:
        event.computeResource = vim.event.ComputeResourceEventArgument(
            name=cluster.name, computeResource=vim.ClusterComputeResource(cluster.id)
        )
    if host is not None:
        event.host = vim.event.HostEventArgument(name=host.name, host=vim.HostSystem(host.id))
    if vm is not None:
        event.vm = vim.event.VmEventArgument(name=vm.name, vm=vim.VirtualMachine(vm.id))
    if switch is not None:
        event.dvs = vim.event.DvsEventArgument(name=switch.name, dvs=vim.DistributedVirtualSwitch(switch.id))
    return event


class EventPoster:
    """Posts in the background; ``call`` is that of ``vsphere.vcenter.VCenter``."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call
        self._posting: set[asyncio.Task[None]] = set()

    def post(self, event: Any) -> None:
        """Have it posted."""
        task = asyncio.create_task(self._post(event), name=f"event:{event.eventTypeId}")
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def stop(self) -> None:
        """What was not posted by now is not posted."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)

    async def _post(self, event: Any) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self._call(_MANAGER, "PostEvent", eventToPost=event)
        except (ContrailVsphereError, TimeoutError) as error:
            _LOG.info("vCenter was not told %r: %s", event.message, error or "the deadline passed")
