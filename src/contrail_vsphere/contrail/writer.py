"""Making and deleting objects in Contrail so that every call may be repeated.

A create that finds its object there already is done, if the object is ours: same uuid, same name, and made by us (or by
a program whose objects we may adopt). A create whose answer was lost is looked for before it is sent again. A delete of
what is gone is done. What the replies tell is folded into the inventory, so that its notification costs no reading.

Deleting an interface that has a floating IP would fail for ever: a user's floating IP is detached, never deleted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid as uuids
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar, cast
from uuid import UUID

from contrail_vsphere.contrail import bodies
from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.errors import answer_of, kind_of
from contrail_vsphere.contrail.values import READINGS, TYPES
from contrail_vsphere.model.contrail import (
    Annotations,
    ContrailChange,
    ContrailObject,
    ContrailVm,
    FqName,
    InstanceIp,
    Project,
    SecurityGroup,
    VirtualNetwork,
    Vmi,
)
from contrail_vsphere.model.errors import AlreadyExists, Busy, Conflict, NotFound, OutcomeUnknown
from contrail_vsphere.model.ids import IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.wire.contrail.errors import Kind

log = logging.getLogger(__name__)

CREATOR: Final = "contrail-vsphere"
"""``id_perms.creator`` of what we make."""
TRIES: Final = 3
"""Of a create whose answers get lost."""
DEFAULT_GROUP: Final = "default"
_NAMESPACE: Final = UUID("0f0f5a0e-3c8c-5b0e-9a51-5d2f4f1f6c1b")

_RELEASED: Final = {
    "virtual-machine-interface": frozenset({"floating-ip", "alias-ip"}),
    "instance-ip": frozenset({"service-instance"}),
    "virtual-machine": frozenset({"virtual-router"}),
}
"""Who may keep a reference to what we delete: the reference is taken away, the object stays."""
_REFERRER = re.compile(r"/([a-z][a-zA-Z-]*)/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")

_Value = TypeVar("_Value", bound=ContrailObject)


class Known(Protocol):
    """What a writer needs of the inventory."""

    @property
    def projects(self) -> Mapping[ProjectId, Project]:
        """By uuid."""

    @property
    def networks(self) -> Mapping[VnId, VirtualNetwork]:
        """By uuid."""

    @property
    def security_groups(self) -> Mapping[SecurityGroupId, SecurityGroup]:
        """By uuid."""

    @property
    def vms(self) -> Mapping[VirtualMachineId, ContrailVm]:
        """By uuid."""

    @property
    def vmis(self) -> Mapping[VmiId, Vmi]:
        """By uuid."""

    @property
    def instance_ips(self) -> Mapping[IipId, InstanceIp]:
        """By uuid."""

    def addresses_of(self, vmi: VmiId) -> Iterable[InstanceIp]:
        """Instance IPs that refer to an interface, and perhaps others."""

    def fold(self, change: ContrailChange, *, request_id: str = "") -> None:
        """Take in what a reply told."""

    def mark(self, kind: str, uuids: Iterable[UUID]) -> None:
        """Read these again."""


class ContrailWriter:
    """Writes through one client. ``adopts``: creators whose objects count as ours (those of the old plugins).

    Besides what is named, methods raise what :class:`ConfigApi` raises.
    """

    def __init__(
        self, api: ConfigApi, known: Known, *, creator: str = CREATOR, adopts: Collection[str] = frozenset()
    ) -> None:
        self._api = api
        self._known = known
        self._creator = creator
        self._ours = frozenset({creator, *adopts})
        self._ensuring: dict[FqName, asyncio.Lock] = {}

    # -- creating -----------------------------------------------------------------------------------------------

    async def create_vm(self, vm: ContrailVm) -> ContrailVm:
        """Make a virtual machine; returns it as it is, ours or adopted. AlreadyExists when it is somebody else's."""
        vm = replace(vm, creator=self._creator)
        return await self._create(vm, bodies.virtual_machine(vm))

    async def create_vmi(self, vmi: Vmi) -> Vmi:
        """Make an interface in its network and security groups. Conflict when one of those is not known (any more).

        One that is there already is returned as it is, which may differ from what was asked for.
        """
        vmi = replace(vmi, creator=self._creator)
        network = self._look_up(self._known.networks, vmi.network, "network").fq_name
        groups = {
            group: self._look_up(self._known.security_groups, group, "security group").fq_name
            for group in vmi.security_groups
        }
        return await self._create(vmi, bodies.interface(vmi, network=network, security_groups=groups))

    async def create_instance_ip(self, ip: InstanceIp) -> InstanceIp:
        """Make an address and learn which one it is. Conflict when network or interface are not known (any more).

        AlreadyExists when another has the address, OutOfResources when the network has none left.
        """
        ip = replace(ip, creator=self._creator)
        network = self._look_up(self._known.networks, ip.network, "network").fq_name
        interfaces = {vmi: self._look_up(self._known.vmis, vmi, "interface").fq_name for vmi in ip.vmis}
        body = bodies.instance_ip(ip, network=network, interfaces=interfaces)
        return await self._create(ip, body, learn=True)

    async def ensure_project(self, fq_name: FqName) -> Project:
        """The project, with a network-ipam ``<name>-ipam`` and the security group ``default``; made if not there."""
        project = await self._ensure(Project(ProjectId(_derived("project", fq_name)), fq_name), bodies.project)
        ipam = (*project.fq_name, f"{project.fq_name[-1]}-ipam")
        if await self._api.fq_name_to_id("network-ipam", ipam) is None:
            body = bodies.network_ipam(ipam, uuid=_derived("network-ipam", ipam), creator=self._creator)
            try:
                await self._api.create("network-ipam", body)
            except AlreadyExists:
                log.debug("somebody else made %s", ipam)
        await self.ensure_default_group(project.uuid, project.fq_name)
        return project

    async def ensure_default_group(self, project: ProjectId, fq_name: FqName) -> SecurityGroup:
        """The security group ``default`` of the project of that name; made if not there: no project comes with one."""
        group = (*fq_name, DEFAULT_GROUP)
        for known in self._known.security_groups.values():
            if known.fq_name == group:
                return known
        async with self._ensuring.setdefault(group, asyncio.Lock()):
            wanted = SecurityGroup(SecurityGroupId(_derived("security-group", group)), group, project)
            return await self._ensure(wanted, bodies.security_group)

    def default_group(self, project: ProjectId) -> SecurityGroupId | None:
        """The security group ``default`` of a project, if it is known."""
        for group in self._known.security_groups.values():
            if group.parent_uuid == project and group.fq_name[-1] == DEFAULT_GROUP:
                return group.uuid
        return None

    # -- changing -----------------------------------------------------------------------------------------------

    async def rename(self, value: _Value, display_name: str) -> _Value:
        """Another display name; the name itself never changes. NotFound if it is gone."""
        written = await self._api.update(TYPES[type(value)], value.uuid, {"display_name": display_name})
        return self._fold(value, replace(value, display_name=display_name), written.request_id)

    async def set_macs(self, vmi: Vmi, macs: tuple[str, ...]) -> Vmi:
        """Other MAC addresses. NotFound if it is gone."""
        changes = {"virtual_machine_interface_mac_addresses": {"mac_address": list(macs)}}
        written = await self._api.update("virtual-machine-interface", vmi.uuid, changes)
        return self._fold(vmi, replace(vmi, macs=macs), written.request_id)

    async def annotate(self, value: _Value, put: Mapping[str, str], *, drop: Collection[str] = ()) -> _Value:
        """Set and delete single annotations and leave all others. NotFound if it is gone."""
        elements = {key: {"key": key, "value": text} for key, text in put.items()}
        kind = TYPES[type(value)]
        written = await self._api.prop_update(kind, value.uuid, field="annotations", put=elements, drop=drop)
        kept = {key: text for key, text in {**value.annotations, **put}.items() if key not in drop}
        return self._fold(value, replace(value, annotations=Annotations(kept.items())), written.request_id)

    # -- deleting -----------------------------------------------------------------------------------------------

    async def delete_instance_ip(self, uuid: IipId) -> None:
        """Free an address. Busy while somebody refers to it."""
        await self._delete("instance-ip", uuid, self._known.instance_ips.get(uuid))

    async def delete_vmi(self, uuid: VmiId) -> None:
        """Delete an interface, after its addresses. Busy while somebody refers to it."""
        await self._delete("virtual-machine-interface", uuid, self._known.vmis.get(uuid))

    async def delete_vm(self, uuid: VirtualMachineId) -> None:
        """Delete a virtual machine, after its interfaces. Busy while somebody refers to it."""
        await self._delete("virtual-machine", uuid, self._known.vms.get(uuid))

    async def delete_port(self, vmi: VmiId) -> None:
        """Delete an interface and those addresses of ours that nothing else uses, the unknown ones among them."""
        for ip in [ip for ip in self._known.addresses_of(vmi) if ip.vmis == (vmi,) and ip.creator in self._ours]:
            await self.delete_instance_ip(ip.uuid)
        try:
            await self.delete_vmi(vmi)
        except Busy:
            if not await self._delete_addresses_of(vmi):
                raise
            await self.delete_vmi(vmi)

    async def _delete_addresses_of(self, vmi: VmiId) -> bool:
        """Those that Contrail has and nobody told us of; whether there was one."""
        fields = READINGS["instance-ip"].fields
        rows = await self._api.collect("instance-ip", back_ref_ids=[vmi], fields=fields)
        found = [cast(InstanceIp, READINGS["instance-ip"].read(row)) for row in rows]
        ours = [ip for ip in found if ip.vmis == (vmi,) and ip.creator in self._ours]
        for ip in ours:
            await self.delete_instance_ip(ip.uuid)
        return bool(ours)

    # -- how ----------------------------------------------------------------------------------------------------

    async def _create(self, value: _Value, body: Mapping[str, Any], *, learn: bool = False) -> _Value:
        kind = TYPES[type(value)]
        lost: OutcomeUnknown | None = None
        for _ in range(TRIES):
            try:
                written = await self._api.create(kind, body)
            except OutcomeUnknown as error:
                lost = error
                found = await self._read(value)
                if found is not None:
                    return self._accept(value, found, error)
                continue
            except AlreadyExists as error:
                if kind_of(error) not in {Kind.NAME_TAKEN, Kind.UUID_TAKEN}:
                    raise
                found = await self._read(value)
                return self._accept(value, found, error)
            made = await self._read(value) if learn else value
            if made is None:
                raise Conflict(f"{kind} {value.uuid} was deleted as soon as it was made")
            return self._fold(None, made, written.request_id)
        self._known.mark(kind, [value.uuid])
        raise lost or OutcomeUnknown(f"{kind} {value.uuid} was never created")

    def _accept(self, wanted: _Value, found: _Value | None, error: Exception) -> _Value:
        """An object that was there: ours, or the error."""
        if found is None or _identity(found) != _identity(wanted):
            raise error
        if found.creator not in self._ours:
            kind = TYPES[type(found)]
            self._fold(None, found, "")
            raise AlreadyExists(
                f"{kind} {found.uuid} was made by {found.creator or 'nobody who says so'}, not by {self._creator}",
                hint="adopt it, or delete it there",
            ) from error
        return self._fold(None, found, "")

    async def _ensure(self, wanted: _Value, body: Any) -> _Value:
        """An object by its name, whoever made it."""
        kind = TYPES[type(wanted)]
        wanted = replace(wanted, creator=self._creator)
        for _ in range(TRIES):
            there = await self._api.fq_name_to_id(kind, getattr(wanted, "fq_name", ()))
            if there is not None:
                found = await self._read(wanted, uuid=there)
                if found is not None:
                    return self._fold(None, found, "")
                continue
            try:
                written = await self._api.create(kind, body(wanted))
            except (AlreadyExists, OutcomeUnknown):
                continue
            return self._fold(None, wanted, written.request_id)
        raise Conflict(f"{kind} {getattr(wanted, 'fq_name', ())} comes and goes", hint="who else makes it?")

    async def _delete(self, kind: str, uuid: UUID, before: ContrailObject | None) -> None:
        request_id = ""
        try:
            request_id = (await self._delete_once(kind, uuid)).request_id
        except NotFound:
            log.debug("%s %s is gone already", kind, uuid)
        if before is not None:
            self._known.fold(ContrailChange(before, None), request_id=request_id)

    async def _delete_once(self, kind: str, uuid: UUID) -> Any:
        try:
            return await self._api.delete(kind, uuid)
        except Busy as error:
            answer = answer_of(error)
            if answer is None or answer.kind is not Kind.IN_USE:
                raise
            referrers = dict.fromkeys(_REFERRER.findall(answer.text))
            if not referrers or any(referrer not in _RELEASED.get(kind, ()) for referrer, _ in referrers):
                raise
        for referrer, one in referrers:
            log.info("%s %s lets go of %s %s", referrer, one, kind, uuid)
            await self._api.ref_update(referrer, UUID(one), to_type=kind, to=uuid, operation="DELETE")
        return await self._api.delete(kind, uuid)

    async def _read(self, like: _Value, *, uuid: UUID | None = None) -> _Value | None:
        """The object as it is (or another of its type), or None."""
        kind = TYPES[type(like)]
        reading = READINGS[kind]
        try:
            row = await self._api.read(kind, uuid or like.uuid, fields=reading.fields)
        except NotFound:
            return None
        return cast("_Value", reading.read(row))

    def _fold(self, before: ContrailObject | None, after: _Value, request_id: str) -> _Value:
        self._known.fold(ContrailChange(before, after), request_id=request_id)
        return after

    def _look_up(self, index: Mapping[Any, Any], key: Any, what: str) -> Any:
        found = index.get(key)
        if found is None:
            raise Conflict(f"{what} {key} is not known in Contrail", hint="it was deleted, or is not read yet")
        return found


def _identity(value: ContrailObject) -> tuple[UUID, object]:
    return value.uuid, value.name if isinstance(value, ContrailVm | InstanceIp) else value.fq_name


def _derived(kind: str, fq_name: FqName) -> UUID:
    """The uuid of what we make by name: the same whoever of us makes it."""
    return uuids.uuid5(_NAMESPACE, f"{kind}:{':'.join(fq_name)}")
