"""Ports of distributed switches: read many in one call, change many in one task.

``FetchDVPorts`` is not part of any property stream: whoever needs to know asks, by switch and port key. Writes name the
port's ``configVersion``, so that a change somebody else made in between is never overwritten unseen; one stale version
fails the whole task (Conflict), and then it is tried again without the ports whose version is not the present one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from contrail_vsphere.model.dvport import DvPort, DvPortEdit
from contrail_vsphere.model.errors import Conflict, ContrailVsphereError, NotFound
from contrail_vsphere.model.folded import FoldedSequence, Folding
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

T = TypeVar("T")
PORTS_PER_CALL = 256
"""Ports of one ReconfigureDVPort_Task; about 500 are known to be good."""
KEYS_PER_CALL = 1000
TASK_DEADLINE = 120.0

_DVS = vim.dvs.VmwareDistributedVirtualSwitch
_PORT = vim.dvs.DistributedVirtualPort


class DvPorts:
    """Reads and edits DVPorts of one vCenter; every method raises errors of ``model.errors``."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    async def of_groups(
        self, dvs: DvsId, groups: Collection[NetworkId], *, hosts: Collection[HostId] = ()
    ) -> Sequence[DvPort]:
        """All connected ports of these port groups (on these hosts), 50,000 perhaps; none without a group."""
        if not groups:
            return ()
        # portgroupKey is ignored unless "inside" is set.
        criteria = build(
            vim.dvs.PortCriteria,
            connected=True,
            inside=True,
            portgroupKey=sorted(groups),
            host=[reference(vim.HostSystem, host) for host in sorted(hosts)],
        )
        folding = Folding(DvPort, shared=("dvs", "group", "host"))
        rows = await self._each(dvs, lambda port: folding.fold(convert(dvs, port)), criteria)
        return FoldedSequence(folding, rows)

    async def of_keys(self, dvs: DvsId, keys: Sequence[str]) -> tuple[DvPort, ...]:
        """These ports, connected or not; those that do not exist (any more) are left out."""
        found: list[DvPort] = []
        for at in range(0, len(keys), KEYS_PER_CALL):
            criteria = build(vim.dvs.PortCriteria, portKey=list(keys[at : at + KEYS_PER_CALL]))
            found += await self._each(dvs, partial(convert, dvs), criteria)
        return tuple(found)

    async def edit(self, dvs: DvsId, edits: Sequence[DvPortEdit]) -> tuple[ContrailVsphereError | None, ...]:
        """Change at most ``PORTS_PER_CALL`` ports in one task; an error, or None, for each.

        Ports whose version is stale, or that are gone, get Conflict or NotFound while the others are changed. What else
        fails (hosts that are away among them) fails all, and what of it vCenter kept must be read again.
        """
        try:
            await self._reconfigure(dvs, edits)
        except (Conflict, NotFound) as error:
            if len(edits) == 1:
                return (error,)
            return await self._edit_those_that_fit(dvs, edits)
        return (None,) * len(edits)

    async def _edit_those_that_fit(
        self, dvs: DvsId, edits: Sequence[DvPortEdit]
    ) -> tuple[ContrailVsphereError | None, ...]:
        present = {port.key: port.version for port in await self.of_keys(dvs, [edit.key for edit in edits])}
        errors: list[ContrailVsphereError | None] = []
        for edit in edits:
            if edit.key not in present:
                errors.append(NotFound(f"port {edit.key} of {dvs} is gone"))
            elif edit.version and edit.version != present[edit.key]:
                errors.append(Conflict(f"port {edit.key} of {dvs} was changed by somebody else"))
            else:
                errors.append(None)
        fit = [edit for edit, error in zip(edits, errors, strict=True) if error is None]
        if fit:
            await self._reconfigure(dvs, fit)
        return tuple(errors)

    async def _reconfigure(self, dvs: DvsId, edits: Sequence[DvPortEdit]) -> None:
        await self._vcenter.run_task(
            reference(_DVS, dvs),
            "ReconfigureDVPort_Task",
            port=[edit_spec(edit) for edit in edits],
            deadline=TASK_DEADLINE,
        )

    async def _each(self, dvs: DvsId, each: Callable[[Any], T], criteria: Any) -> list[T]:
        return await self._vcenter.call_each(
            reference(_DVS, dvs), "FetchDVPorts", each, criteria=criteria, deadline=120.0
        )


def edit_spec(edit: DvPortEdit) -> Any:
    """``DVPortConfigSpec`` of an edit."""
    vlan = build(_DVS.VlanIdSpec, inherited=edit.vlan is None, vlanId=edit.vlan or 0)
    blocked = build(vim.BoolPolicy, inherited=edit.blocked is None, value=edit.blocked)
    return build(
        _PORT.ConfigSpec,
        operation="edit",
        key=edit.key,
        configVersion=edit.version or None,
        setting=build(_DVS.VmwarePortConfigPolicy, vlan=vlan, blocked=blocked),
    )


def convert(dvs: DvsId, port: Any) -> DvPort:
    """Our value of a DistributedVirtualPort."""
    setting = port.config.setting if port.config is not None else None
    vlan, blocked = getattr(setting, "vlan", None), getattr(setting, "blocked", None)
    peer = port.connectee
    entity = peer.connectedEntity if peer is not None and peer.type == "vmVnic" else None
    own_vlan = vlan.vlanId if isinstance(vlan, _DVS.VlanIdSpec) and not vlan.inherited else None
    return DvPort(
        dvs=dvs,
        key=sys.intern(port.key),
        group=NetworkId(sys.intern(port.portgroupKey or "")),
        version=port.config.configVersion or "" if port.config is not None else "",
        vlan=own_vlan,
        blocked=bool(blocked.value) if blocked is not None and not blocked.inherited else None,
        host=HostId(sys.intern(port.proxyHost._moId)) if port.proxyHost is not None else None,
        vm=VmId(sys.intern(entity._moId)) if entity is not None else None,
        nic=int(peer.nicKey) if entity is not None and peer.nicKey else None,
        cookie=port.connectionCookie,
        conflict=bool(port.conflict),
    )
