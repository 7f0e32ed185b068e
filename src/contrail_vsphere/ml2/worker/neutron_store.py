"""Neutron's database as a worker uses it: what is wanted, the journal, statuses, the lease.

Everything here blocks and runs in a thread of its own. Neutron's core plugin is loaded in the worker's process, so that
statuses change through Neutron's own code, with its notifications, and security groups are read as its own agents
read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from neutron.db import provisioning_blocks
from neutron.db.models import securitygroup as sg_models
from neutron.objects import network as network_objects
from neutron.objects import ports as port_objects
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from neutron_lib.callbacks import resources
from neutron_lib.context import get_admin_context
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.ml2.options import DriverSettings
from contrail_vsphere.ml2.tables import groups, journal, leases
from contrail_vsphere.ml2.tables.groups import KnownGroup
from contrail_vsphere.ml2.worker.desired import Segment, Wanted, WantedNetwork, WantedPort
from contrail_vsphere.ml2.worker.security_rules import port_security
from contrail_vsphere.model.errors import Conflict

R = TypeVar("R")
BATCH = 500
"""Ids in one query."""


class LeaseLost(Conflict):
    """Somebody else works for this vCenter now; nothing was written."""


class NeutronStore:
    """One vCenter's view. Raises the database's own errors (``sqlalchemy.exc``, ``oslo_db.exception``)."""

    def __init__(self, settings: DriverSettings, vcenter: str) -> None:
        self.settings, self.vcenter = settings, vcenter
        self.epoch = 0
        """Of the lease that this worker holds."""
        self._hosts = sorted(host for host, site in settings.placement.sites.items() if site.vcenter == vcenter)
        self._physnets = {physnet for owner, _, physnet in settings.placement.switches if owner == vcenter}

    # -- what is wanted -----------------------------------------------------------------------------------------

    def due(self, limit: int) -> tuple[journal.Entry, ...]:
        """Open journal rows."""
        return self._read(lambda session: journal.due(session, self.vcenter, limit=limit))

    def everything(self) -> Wanted:
        """All networks and ports that concern this vCenter."""
        context = get_admin_context()
        ports = self._ports(context, {"binding:host_id": self._hosts})
        return Wanted(self._networks(context, None), {port.id: port for port in ports}, complete=True)

    def objects(self, network_ids: Collection[str], port_ids: Collection[str]) -> Wanted:
        """These, and the networks of these ports."""
        context = get_admin_context()
        found = {port.id: port for port in self._ports_by_id(context, port_ids)}
        ports: dict[str, WantedPort | None] = dict.fromkeys(port_ids)
        ports.update(found)
        wanted_networks = {*network_ids, *(port.network_id for port in found.values())}
        networks: dict[str, WantedNetwork | None] = dict.fromkeys(wanted_networks)
        networks.update(self._networks(context, wanted_networks) if wanted_networks else {})
        return Wanted(networks, ports)

    def ports_concerned(self, entries: Iterable[journal.Entry]) -> set[str]:
        """Ports on our hosts whose rules depend on what these rows name."""
        own = {entry.object_id for entry in entries if entry.kind == journal.SECURITY_GROUP}
        remote = {entry.object_id for entry in entries if entry.kind == journal.GROUP_MEMBERS}
        addresses = {entry.object_id for entry in entries if entry.kind == journal.ADDRESS_GROUP}
        return self._read(lambda session: _ports_concerned(session, own, remote, addresses, self._hosts))

    def ports_with_macs(self, macs: Collection[str]) -> tuple[WantedPort, ...]:
        """Ports on our hosts with these MAC addresses."""
        filters = {"mac_address": sorted(macs), "binding:host_id": self._hosts}
        return self._ports(get_admin_context(), filters) if macs else ()

    def _networks(self, context: Any, ids: Collection[str] | None) -> dict[str, WantedNetwork]:
        filters = {"id": sorted(ids)} if ids is not None else {}
        plugin = directory.get_plugin()
        names = {
            each["id"]: each for each in plugin.get_networks(context, filters, fields=["id", "name", "admin_state_up"])
        }
        by_network: dict[str, list[Any]] = {}
        criteria = {"network_id": sorted(names)} if ids is not None else {}
        for segment in network_objects.NetworkSegment.get_objects(context, **criteria) if names else ():
            by_network.setdefault(segment.network_id, []).append(segment)
        found = {}
        for network_id, network in names.items():
            segments = by_network.get(network_id, [])
            ours = tuple(
                Segment(each.id, each.physical_network, each.segmentation_id or 0)
                for each in sorted(segments, key=lambda each: str(each.id))
                if each.network_type in ("vlan", "flat") and each.physical_network in self._physnets
            )
            if ours:
                found[network_id] = WantedNetwork(
                    network_id, network["name"], bool(network["admin_state_up"]), ours, several=len(segments) > 1
                )
        return found

    def _ports_by_id(self, context: Any, ids: Collection[str]) -> Iterable[WantedPort]:
        ordered = sorted(ids)
        for at in range(0, len(ordered), BATCH):
            yield from self._ports(context, {"id": ordered[at : at + BATCH]})

    def _ports(self, context: Any, filters: Mapping[str, Any]) -> tuple[WantedPort, ...]:
        plugin = directory.get_plugin()
        hosts = set(self._hosts)
        ours = {
            port["id"]: port
            for port in plugin.get_ports(context, filters=dict(filters))
            if port["binding:vif_type"] == "dvs" and port["binding:host_id"] in hosts
        }
        if not ours:
            return ()
        levels = port_objects.PortBindingLevel.get_objects(context, port_id=sorted(ours))
        segment_of = {(level.port_id, level.host): level.segment_id for level in levels}
        devices = {port["id"]: port for port in plugin.get_ports_from_devices(context, sorted(ours))}
        info = plugin.security_group_info_for_ports(context, devices)
        return tuple(
            WantedPort(
                id=port_id,
                network_id=port["network_id"],
                segment_id=segment_of.get((port_id, port["binding:host_id"]), ""),
                mac=port["mac_address"].lower(),
                host=port["binding:host_id"],
                admin_up=bool(port["admin_state_up"]),
                status=port["status"],
                security=port_security(port, info),
                details=port["binding:vif_details"],
            )
            for port_id, port in ours.items()
        )

    # -- what was done ------------------------------------------------------------------------------------------

    def settle(self, finished: Collection[int], retry: Mapping[int, tuple[int, str]], dead: Mapping[int, str]) -> None:
        """Journal rows that were followed, that are due again (in so many seconds, why), and that are hopeless."""

        def write(session: Session) -> None:
            journal.finish(session, finished)
            for row, (seconds, reason) in retry.items():
                journal.postpone(session, [row], seconds=seconds, reason=reason)
            for row, reason in dead.items():
                journal.bury(session, [row], reason=reason)

        self._write(write)

    def remember(self, failed: Iterable[tuple[str, str]]) -> None:
        """Rows for objects that failed and had none of their own."""
        rows = sorted(set(failed))

        def write(session: Session) -> None:
            for kind, each in rows:
                journal.note(session, [self.vcenter], kind, each)

        if rows:
            self._write(write)

    def record_groups(self, found: Iterable[KnownGroup], gone: Iterable[tuple[str, str]]) -> None:
        """Port groups that exist now, and (switch, segment) of those that do not; bindings get what they lacked."""
        fresh, lost = tuple(found), tuple(gone)

        def write(session: Session) -> None:
            for dvs_name, segment_id in lost:
                groups.forget(session, self.vcenter, dvs_name, segment_id)
            for group in fresh:
                if groups.known(session, self.vcenter, group.dvs_name, group.segment_id) != group:
                    groups.record(session, group)

        if fresh or lost:
            self._write(write)

    def known_groups(self) -> tuple[KnownGroup, ...]:
        """Port groups as the driver knows them."""
        return self._read(lambda session: groups.of_vcenter(session, self.vcenter))

    def complete_binding(self, port: WantedPort, group: KnownGroup) -> None:
        """Tell nova the keys of a port group that did not exist, or was another, when the port was bound."""
        details = {
            **port.details,
            "dvs_port_group_name": group.group_name,
            "dvs_id": group.dvs_uuid,
            "pg_id": group.group_key,
        }

        def write(session: Session) -> None:
            binding = session.get(ml2_models.PortBinding, (port.id, port.host))
            if binding is not None and binding.vif_type == "dvs":
                binding.vif_details = json.dumps(details)

        self._write(write)

    def set_status(self, port_id: str, *, up: bool, host: str) -> None:
        """ACTIVE through the provisioning block, or DOWN."""
        context = get_admin_context()
        self._check()
        if up:
            provisioning_blocks.provisioning_complete(
                context, port_id, resources.PORT, provisioning_blocks.L2_AGENT_ENTITY
            )
        else:
            directory.get_plugin().update_port_status(context, port_id, constants.PORT_STATUS_DOWN, host)

    def revive(self) -> int:
        """Try again what was given up."""
        return self._write(lambda session: journal.revive(session, self.vcenter))

    # -- the lease ----------------------------------------------------------------------------------------------

    def acquire(self, holder: str, seconds: int) -> bool:
        """Become the worker of this vCenter, unless somebody is."""
        epoch = self._plain(lambda session: leases.acquire(session, self.vcenter, holder, seconds=seconds))
        self.epoch = epoch or 0
        return epoch is not None

    def renew(self, seconds: int, seen: str) -> bool:
        """False when the lease is lost."""
        return self._plain(lambda session: leases.renew(session, self.vcenter, self.epoch, seconds=seconds, seen=seen))

    def release(self) -> None:
        """Let the next one in."""
        self._plain(lambda session: leases.release(session, self.vcenter, self.epoch))

    def _check(self) -> None:
        self._write(lambda _session: None)

    def _read(self, act: Callable[[Session], R]) -> R:
        context = get_admin_context()
        with db_api.CONTEXT_READER.using(context):
            return act(context.session)

    def _plain(self, act: Callable[[Session], R]) -> R:
        context = get_admin_context()
        with db_api.CONTEXT_WRITER.using(context):
            return act(context.session)

    def _write(self, act: Callable[[Session], R]) -> R:
        """Under the lease: what a replaced worker would write is refused."""

        def guarded(session: Session) -> R:
            if not leases.hold(session, self.vcenter, self.epoch):
                raise LeaseLost(f"the lease of {self.vcenter} has passed to another worker")
            return act(session)

        return self._plain(guarded)


def _ports_concerned(
    session: Session, own: set[str], remote: set[str], addresses: set[str], hosts: list[str]
) -> set[str]:
    rule = sg_models.SecurityGroupRule
    concerned = set(own)
    if remote:
        concerned |= set(session.scalars(select(rule.security_group_id).where(rule.remote_group_id.in_(remote))))
    if addresses:
        concerned |= set(
            session.scalars(select(rule.security_group_id).where(rule.remote_address_group_id.in_(addresses)))
        )
    if not concerned:
        return set()
    member, binding = sg_models.SecurityGroupPortBinding, ml2_models.PortBinding
    return set(
        session.scalars(
            select(member.port_id)
            .join(binding, binding.port_id == member.port_id)
            .where(member.security_group_id.in_(concerned), binding.host.in_(hosts), binding.vif_type == "dvs")
        )
    )
