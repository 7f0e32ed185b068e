"""The objects of VMs in Contrail, written so that every call may be repeated.

A create that finds its object there (409), or whose answer was lost, reads it and compares: what is the same is ours,
what differs is a conflict that a person has to look at. A delete that finds nothing is done. What a reply tells is
folded into the inventory at once, so that the next plan knows it without a reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID, uuid5

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.contrail.values import READINGS, TYPES
from contrail_vsphere.model.contrail import (
    ContrailChange,
    ContrailObject,
    ContrailVm,
    InstanceIp,
    SecurityGroup,
    VirtualNetwork,
    Vmi,
)
from contrail_vsphere.model.errors import AlreadyExists, Busy, InvalidState, NotFound, OutcomeUnknown
from contrail_vsphere.model.ids import IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.vcenter_plugin.actions import CreateIip, CreateVmi, EnsureVm
from contrail_vsphere.vcenter_plugin.identity import CREATOR, NAMESPACE

DEFAULT_GROUP = "default"
"""The security group of a project that its ports are in: among themselves everything, outwards everything."""
_PERMS: Mapping[str, Any] = MappingProxyType({"enable": True, "creator": CREATOR, "user_visible": True})


class ContrailWriter:
    """Makes, changes and deletes; the real ``doors.ContrailObjects``."""

    def __init__(self, api: ConfigApi, inventory: ContrailInventory) -> None:
        self._api = api
        self._inventory = inventory
        self._groups: dict[ProjectId, asyncio.Lock] = {}

    # -- virtual machine --------------------------------------------------------------------------------------------

    async def ensure_vm(self, action: EnsureVm) -> None:
        """Make it, or give it its present name."""
        before = self._inventory.vms.get(action.vm)
        if before is not None:
            written = await self._api.update("virtual-machine", action.vm, {"display_name": action.name})
            self._fold(before, replace(before, display_name=action.name), written.request_id)
            return
        owner = action.project.hex
        body = {
            "uuid": str(action.vm),
            "fq_name": [str(action.vm)],
            "display_name": action.name,
            "id_perms": dict(_PERMS),
            "perms2": {"owner": owner, "owner_access": 7, "global_access": 0, "share": []},
            "annotations": _pairs(action.annotations),
        }
        marks = MappingProxyType(dict(action.annotations))
        value = ContrailVm(action.vm, str(action.vm), action.name, owner, CREATOR, marks)
        await self._create("virtual-machine", body, value)

    async def delete_vm(self, vm: VirtualMachineId) -> None:
        """Busy while an interface of somebody else refers to it."""
        await self._delete("virtual-machine", vm, self._inventory.vms.get(vm))

    # -- interface --------------------------------------------------------------------------------------------------

    async def create_vmi(self, action: CreateVmi) -> None:
        """Conflict when the uuid is taken by an interface of another VM or network."""
        network = self._network(action.network)
        project = network.fq_name[:-1]
        group = await self._security_group(action.project, project)
        name = (*project, str(action.vmi))
        body = {
            "uuid": str(action.vmi),
            "fq_name": list(name),
            "parent_type": "project",
            "display_name": action.name,
            "id_perms": dict(_PERMS),
            "annotations": _pairs(action.annotations),
            "port_security_enabled": True,
            "virtual_machine_interface_mac_addresses": {"mac_address": [action.mac]},
            "virtual_machine_refs": [{"uuid": str(action.vm), "to": [str(action.vm)]}],
            "virtual_network_refs": [{"uuid": str(action.network), "to": list(network.fq_name)}],
            "security_group_refs": [{"uuid": str(group.uuid), "to": list(group.fq_name)}],
        }
        value = Vmi(
            uuid=action.vmi,
            fq_name=name,
            parent_uuid=action.project,
            display_name=action.name,
            network=action.network,
            vm=action.vm,
            macs=(action.mac,),
            security_groups=(group.uuid,),
            creator=CREATOR,
            annotations=MappingProxyType(dict(action.annotations)),
        )
        await self._create("virtual-machine-interface", body, value)

    async def set_mac(self, vmi: VmiId, mac: str) -> None:
        """The interface has this one MAC address."""
        before = self._inventory.vmis.get(vmi)
        changes = {"virtual_machine_interface_mac_addresses": {"mac_address": [mac]}}
        written = await self._api.update("virtual-machine-interface", vmi, changes)
        if before is not None:
            self._fold(before, replace(before, macs=(mac,)), written.request_id)

    async def delete_vmi(self, vmi: VmiId) -> None:
        """With what refers to it and would hold it: addresses that the cache does not know, floating IPs."""
        try:
            await self._delete("virtual-machine-interface", vmi, self._inventory.vmis.get(vmi))
        except Busy:
            await self._detach(vmi)
            await self._delete("virtual-machine-interface", vmi, self._inventory.vmis.get(vmi))

    async def _detach(self, vmi: VmiId) -> None:
        for row in await self._api.collect("instance-ip", back_ref_ids=[vmi], fields=["id_perms"]):
            if (row.get("id_perms") or {}).get("creator") == CREATOR:
                await self.delete_iip(IipId(UUID(row["uuid"])))
        for row in await self._api.collect("floating-ip", back_ref_ids=[vmi]):
            await self._api.ref_update(
                "floating-ip",
                UUID(row["uuid"]),
                to_type="virtual-machine-interface",
                to=vmi,
                operation="DELETE",
            )

    # -- address ----------------------------------------------------------------------------------------------------

    async def create_iip(self, action: CreateIip) -> None:
        """Make it and read which address it got. OutOfResources when the network has none left."""
        network, vmi = self._network(action.network), self._inventory.vmis.get(action.vmi)
        if vmi is None:
            raise NotFound(f"interface {action.vmi} is gone")
        body = {
            "uuid": str(action.iip),
            "fq_name": [str(action.iip)],
            "display_name": action.name,
            "id_perms": dict(_PERMS),
            "instance_ip_family": action.family,
            "instance_ip_address": None if action.address is None else str(action.address),
            "virtual_network_refs": [{"uuid": str(network.uuid), "to": list(network.fq_name)}],
            "virtual_machine_interface_refs": [{"uuid": str(vmi.uuid), "to": list(vmi.fq_name)}],
        }
        request_id = ""
        try:
            request_id = (await self._api.create("instance-ip", body)).request_id
        except (AlreadyExists, OutcomeUnknown) as error:
            if await self._find("instance-ip", action.iip) is None:
                raise InvalidState(error.message, hint="another instance IP has that address") from error
        value = await self._find("instance-ip", action.iip)
        if not isinstance(value, InstanceIp):
            raise NotFound(f"instance IP {action.iip} was gone at once")
        if value.vmis != (action.vmi,):
            raise InvalidState(f"instance IP {action.iip} is not of interface {action.vmi}")
        self._fold(self._inventory.instance_ips.get(action.iip), value, request_id)

    async def delete_iip(self, iip: IipId) -> None:
        """Gone already is fine."""
        await self._delete("instance-ip", iip, self._inventory.instance_ips.get(iip))

    # -- parts ------------------------------------------------------------------------------------------------------

    def _network(self, network: VnId) -> VirtualNetwork:
        found = self._inventory.networks.get(network)
        if found is None:
            raise NotFound(f"virtual network {network} is gone")
        return found

    async def _create(self, kind: str, body: Mapping[str, Any], value: ContrailVm | Vmi | SecurityGroup) -> None:
        """Create, or take what is there if it is the same in all that matters."""
        request_id = ""
        try:
            request_id = (await self._api.create(kind, body)).request_id
        except (AlreadyExists, OutcomeUnknown) as error:
            found = await self._find(kind, value.uuid)
            if found is None:
                raise
            if isinstance(value, Vmi) and not _same_place(found, value):
                raise InvalidState(
                    f"{kind} {value.uuid} exists and is another's", hint="see contrail-vsphere plugin explain"
                ) from error
            value = cast(Any, found)
        self._fold(None, value, request_id)

    async def _delete(self, kind: str, uuid: UUID, before: ContrailObject | None) -> None:
        request_id = ""
        with contextlib.suppress(NotFound):
            request_id = (await self._api.delete(kind, uuid)).request_id
        if before is not None:
            self._fold(before, None, request_id)

    async def _find(self, kind: str, uuid: UUID) -> ContrailObject | None:
        """Read now; None if it does not exist."""
        try:
            return READINGS[kind].read(await self._api.read(kind, uuid, fields=READINGS[kind].fields))
        except NotFound:
            return None

    def _fold(self, before: ContrailObject | None, after: ContrailObject | None, request_id: str) -> None:
        self._inventory.fold(ContrailChange(before, after), request_id=request_id)

    async def _security_group(self, project: ProjectId, fq_name: tuple[str, ...]) -> SecurityGroup:
        """The project's ``default``; made if it is not there: a project does not come with one."""
        async with self._groups.setdefault(project, asyncio.Lock()):
            name = (*fq_name, DEFAULT_GROUP)
            for group in self._inventory.security_groups.values():
                if group.fq_name == name:
                    return group
            uuid = await self._api.fq_name_to_id("security-group", name)
            if uuid is None:
                uuid = uuid5(NAMESPACE, f"{project}|security-group")
                value = SecurityGroup(SecurityGroupId(uuid), name, project, DEFAULT_GROUP, CREATOR)
                body = {
                    "uuid": str(uuid),
                    "fq_name": list(name),
                    "parent_type": "project",
                    "display_name": DEFAULT_GROUP,
                    "id_perms": dict(_PERMS),
                    "security_group_entries": _open_among_themselves(name),
                }
                await self._create("security-group", body, value)
                return value
            found = SecurityGroup(SecurityGroupId(uuid), name, project)
            self._inventory.mark(TYPES[SecurityGroup], [uuid])
            return found


def _same_place(found: ContrailObject, value: Vmi) -> bool:
    return isinstance(found, Vmi) and (found.vm, found.network) == (value.vm, value.network)


def _pairs(annotations: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {"key_value_pair": [{"key": key, "value": value} for key, value in annotations]}


def _open_among_themselves(group: tuple[str, ...]) -> dict[str, Any]:
    """In from members, out to everywhere, both families: what the reference plugins give a project."""
    ports = [{"start_port": 0, "end_port": 65535}]
    local, own = {"security_group": "local"}, {"security_group": ":".join(group)}
    rules = []
    for ethertype, anywhere in (("IPv4", "0.0.0.0"), ("IPv6", "::")):  # noqa: S104 - a prefix
        world = {"subnet": {"ip_prefix": anywhere, "ip_prefix_len": 0}}
        for source, target in ((own, local), (local, world)):
            rules.append(
                {
                    "direction": ">",
                    "protocol": "any",
                    "ethertype": ethertype,
                    "src_addresses": [source],
                    "dst_addresses": [target],
                    "src_ports": ports,
                    "dst_ports": ports,
                }
            )
    return {"policy_rule": rules}
