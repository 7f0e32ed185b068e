"""Neutron's database as a worker uses it: what is wanted, the journal, statuses, the lease.

Everything here blocks and runs in a thread of its own. Neutron's core plugin is loaded in the worker's process, so that
statuses change through Neutron's own code, with its notifications, and security groups are read as its own agents
read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from neutron.db import provisioning_blocks
from neutron.objects import trunk as trunk_objects
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
from contrail_vsphere.ml2.worker.desired import WantedPort
from contrail_vsphere.ml2.worker.neutron_wanted import WantedReader
from contrail_vsphere.model.errors import Conflict

R = TypeVar("R")
AGENT_TYPE = "vmware_dvs worker"


class LeaseLost(Conflict):
    """Somebody else works for this vCenter now; nothing was written."""


class NeutronStore:
    """One vCenter's view. Raises the database's own errors (``sqlalchemy.exc``, ``oslo_db.exception``)."""

    def __init__(self, settings: DriverSettings, vcenter: str) -> None:
        self.settings, self.vcenter = settings, vcenter
        self.epoch = 0
        """Of the lease that this worker holds."""
        self.wanted = WantedReader(settings, vcenter)

    # -- the journal --------------------------------------------------------------------------------------------

    def due(self, limit: int) -> tuple[journal.Entry, ...]:
        """Open journal rows."""
        return self._read(lambda session: journal.due(session, self.vcenter, limit=limit))

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
        """Port groups that exist now, and (switch, segment) of those that do not.

        Where somebody gave a port group another name, bindings that name it get the new one.
        """
        fresh, lost = tuple(found), tuple(gone)

        def write(session: Session) -> None:
            for dvs_name, segment_id in lost:
                groups.forget(session, self.vcenter, dvs_name, segment_id)
            for group in fresh:
                known = groups.known(session, self.vcenter, group.dvs_name, group.segment_id)
                if known != group:
                    groups.record(session, group)
                if known is not None and known.group_name != group.group_name:
                    self._rename_in_bindings(session, group)

        if fresh or lost:
            self._write(write)

    def known_groups(self) -> tuple[KnownGroup, ...]:
        """Port groups as the driver knows them."""
        return self._read(lambda session: groups.of_vcenter(session, self.vcenter))

    # -- ports that are booked by key ---------------------------------------------------------------------------

    def bookings(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(Port, host) -> (uuid of the switch, key of the DVPort)."""
        return self._read(lambda session: groups.bookings(session, self.vcenter))

    def free_keys(self) -> dict[tuple[str, str], set[str]]:
        """(Uuid of the switch, port group) -> keys that can be booked."""
        return self._read(lambda session: groups.free_keys(session, self.vcenter))

    def offer(self, group: KnownGroup, keys: Collection[str]) -> None:
        """DVPorts that exist and nobody uses."""
        self._write(lambda session: groups.offer(session, group, keys))

    def withdraw(self, dvs_uuid: str, keys: Collection[str]) -> None:
        """DVPorts that are gone, or that somebody's card has taken."""
        self._write(lambda session: groups.withdraw(session, dvs_uuid, keys))

    def rebook(self, port: WantedPort, group: KnownGroup, key: str) -> None:
        """The card of a port is on another DVPort than the booked one: a live migration does that."""
        self._write(lambda session: groups.rebook(session, group, port.id, port.host, key))

    def unbook(self, port_id: str, host: str) -> None:
        """A booking that no binding stands for any more: deleting a binding tells no driver."""
        self._write(lambda session: groups.release(session, port_id, host))

    def bound_hosts(self, port_ids: Collection[str]) -> set[tuple[str, str]]:
        """(Port, host) of all bindings, active or not."""
        binding = ml2_models.PortBinding
        statement = select(binding.port_id, binding.host).where(binding.port_id.in_(sorted(port_ids)))
        return self._read(lambda session: {(row.port_id, row.host) for row in session.execute(statement)})

    # -- telling Neutron ----------------------------------------------------------------------------------------

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

    def _rename_in_bindings(self, session: Session, group: KnownGroup) -> None:
        binding, level = ml2_models.PortBinding, ml2_models.PortBindingLevel
        bound = (level.port_id == binding.port_id) & (level.host == binding.host)
        here = (level.segment_id == group.segment_id) & binding.host.in_(self.wanted.hosts)
        statement = select(binding).join(level, bound).where(here, binding.vif_type == "dvs")
        for row in session.scalars(statement):
            details = json.loads(row.vif_details or "{}")
            if (details.get("dvs_id"), details.get("pg_id")) == (group.dvs_uuid, group.group_key):
                row.vif_details = json.dumps({**details, "dvs_port_group_name": group.group_name})

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

    def report_agents(self, state: Mapping[str, object], *, started: bool) -> None:
        """A row for each host in ``network agent list``; alive as long as it is written every minute."""
        context, plugin = get_admin_context(), directory.get_plugin()
        self._check()
        for host in self.wanted.hosts:
            site = self.settings.placement.site(host)
            described = {
                "agent_type": AGENT_TYPE,
                "binary": "contrail-vsphere-neutron-worker",
                "host": host,
                "topic": "N/A",
                "configurations": {"vcenter": self.vcenter, "cluster": site.cluster if site else "", **state},
            }
            plugin.create_or_update_agent(context, described | ({"start_flag": True} if started else {}))

    def trunk_active(self, parent_id: str) -> None:
        """The parent carries its subports' VLANs."""
        context = get_admin_context()
        self._check()
        trunk = trunk_objects.Trunk.get_object(context, port_id=parent_id)
        if trunk is not None and trunk.status != "ACTIVE":
            trunk.update(status="ACTIVE")

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
