"""The mechanism driver ``vmware_dvs``: decides bindings from settings and tables, and writes everything else down.

Neutron calls the ``*_precommit`` hooks inside the transaction of the API request, so that a change of Neutron's and the
journal row about it are one commit. Nothing here speaks to vCenter or waits for a worker: an API call takes the same
time whether vCenter answers or not.
"""

from __future__ import annotations

import logging
from typing import Any

from neutron.db import provisioning_blocks
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings, provider_net
from neutron_lib.callbacks import resources
from neutron_lib.db import api as db_api
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg

from contrail_vsphere.ml2.driver.binding import NETWORK_TYPES, VIF_TYPE_DVS, Choice, choose, vif_details
from contrail_vsphere.ml2.driver.events import SecurityEvents, request_id
from contrail_vsphere.ml2.driver.quality import QualityDriver
from contrail_vsphere.ml2.driver.trunks import TrunkDriver
from contrail_vsphere.ml2.options import DriverSettings, driver_settings
from contrail_vsphere.ml2.placement import Site
from contrail_vsphere.ml2.tables import groups, journal

log = logging.getLogger(__name__)

MEMBERSHIP = ("security_groups", "fixed_ips", "allowed_address_pairs")
"""What of a port changes the addresses that a remote security group stands for."""
CONSEQUENCES = frozenset({"status", "revision_number", "updated_at"})
"""What of a port a worker's own report changes; nothing else of it is news to that worker."""


class VMwareDVSMechanismDriver(api.MechanismDriver):  # type: ignore[misc] # Neutron has no types
    """One per API process; it holds no state of its own."""

    settings: DriverSettings

    def initialize(self) -> None:
        """Read the settings; vCenter need not be there. SettingsError stops Neutron's start."""
        self.settings = driver_settings(cfg.CONF)
        SecurityEvents(self.vcenters).subscribe()
        self._quality = QualityDriver(self.vcenters)
        self._trunks = TrunkDriver(self.settings.placement)
        log.info("vmware_dvs serves %s", ", ".join(self.vcenters) or "no vCenter")

    @property
    def vcenters(self) -> tuple[str, ...]:
        """All vCenters of the settings."""
        return tuple(sorted({site.vcenter for site in self.settings.placement.sites.values()}))

    @property
    def connectivity(self) -> str:
        """Bound ports are on the same layer 2 network as others of theirs."""
        return str(portbindings.CONNECTIVITY_L2)

    # -- networks -----------------------------------------------------------------------------------------------

    def create_network_precommit(self, context: Any) -> None:
        """Ask every vCenter that carries one of its segments for a port group."""
        self._note_network(context)

    def update_network_precommit(self, context: Any) -> None:
        """Name, state, MTU or segments may have changed."""
        self._note_network(context)

    def delete_network_precommit(self, context: Any) -> None:
        """The port groups go when the row is worked on: the network is gone then."""
        self._note_network(context)

    @staticmethod
    def provider_network_attribute_updates_supported() -> list[str]:
        """A VLAN may change while ports of ours are bound: their port group gets the new one, their cards stay."""
        return [str(provider_net.SEGMENTATION_ID)]

    @staticmethod
    def get_supported_vif_types() -> list[str]:
        """What Neutron asks of drivers that support such updates."""
        return [VIF_TYPE_DVS]

    def check_vlan_transparency(self, context: Any) -> bool | None:
        """False where a switch of ours is to carry the network; no opinion on networks of other drivers.

        A port in a VLAN drops what a guest tags, and one that trunks all VLANs puts a guest's tags on the wire as they
        are, into the VLANs of other networks.
        """
        return self._without_tags_of_guests(context, "VLAN transparent")

    def check_vlan_qinq(self, context: Any) -> bool | None:
        """As of ``check_vlan_transparency``: a distributed switch stacks no tags."""
        return self._without_tags_of_guests(context, "QinQ")

    def _without_tags_of_guests(self, context: Any, kind: str) -> bool | None:
        carried = sorted({
            segment[api.PHYSICAL_NETWORK]
            for segment in context.network_segments
            if segment[api.NETWORK_TYPE] in NETWORK_TYPES
            and self.settings.placement.carriers(segment[api.PHYSICAL_NETWORK] or "")
        })  # fmt: skip
        if not carried:
            return None
        log.warning("network %s cannot be %s: distributed switches carry %s", context.current["id"], kind, carried)
        return False

    def _note_network(self, context: Any) -> None:
        vcenters = {
            switch.vcenter
            for segment in context.network_segments
            for switch in self.settings.placement.carriers(segment.get(api.PHYSICAL_NETWORK) or "")
        }
        self._note(context.plugin_context, vcenters, journal.NETWORK, context.current["id"])

    # -- ports --------------------------------------------------------------------------------------------------

    def create_port_precommit(self, context: Any) -> None:
        """A port on one of our hosts is not ACTIVE until its worker says so."""
        self._block_until_wired(context)
        self._note_port(context)

    def update_port_precommit(self, context: Any) -> None:
        """Also called with the result of a binding."""
        if context.host != context.original_host:
            self._block_until_wired(context)
        if not _is_a_report(context):
            self._note_port(context)

    def update_port_postcommit(self, context: Any) -> None:
        """Subports of a trunk go where their parent goes."""
        if context.host != context.original_host and (context.current.get("trunk_details") or {}).get("sub_ports"):
            self._trunks.follow(context.plugin_context, context.current["trunk_details"], context.host)

    def delete_port_precommit(self, context: Any) -> None:
        """What the port had booked is free again; its worker closes what is left of it."""
        groups.unbook(context.plugin_context.session, context.current["id"])
        self._note_port(context)

    def _block_until_wired(self, context: Any) -> None:
        site = self.settings.placement.site(context.host)
        if site is None or not _is_normal(context.current):
            return
        if context.current["status"] != constants.PORT_STATUS_ACTIVE:
            provisioning_blocks.add_provisioning_component(
                context.plugin_context, context.current["id"], resources.PORT, provisioning_blocks.L2_AGENT_ENTITY
            )

    def _note_port(self, context: Any) -> None:
        port, original = context.current, context.original or {}
        sites = [self.settings.placement.site(host) for host in (context.host, context.original_host) if host]
        vcenters = {site.vcenter for site in sites if site is not None}
        self._note(context.plugin_context, vcenters, journal.PORT, port["id"])
        # Ports of every vCenter may have rules that name this port's security groups, wherever this port is.
        if not original or any(port.get(name) != original.get(name) for name in MEMBERSHIP):
            changed = set(port.get("security_groups") or ()) | set(original.get("security_groups") or ())
            for group in sorted(changed):
                self._note(context.plugin_context, self.vcenters, journal.GROUP_MEMBERS, group)

    def _note(self, plugin_context: Any, vcenters: Any, kind: str, object_id: str) -> None:
        journal.note(plugin_context.session, vcenters, kind, object_id, request_id=request_id(plugin_context))

    # -- binding ------------------------------------------------------------------------------------------------

    def bind_port(self, context: Any) -> None:
        """Bind to the first segment that a switch of the host's cluster carries; leave other hosts to other drivers."""
        site = self.settings.placement.site(context.host)
        if site is None or not _is_normal(context.current):
            return
        choice = choose(self.settings.placement, site, context.segments_to_bind)
        if choice is None:
            log.warning(
                "port %s: no switch of cluster %s (%s) carries a segment of its network",
                context.current["id"],
                site.cluster,
                site.vcenter,
            )
            return
        context.set_binding(
            choice.segment_id, VIF_TYPE_DVS, self._details(context, site, choice), constants.PORT_STATUS_DOWN
        )

    def _details(self, context: Any, site: Site, choice: Choice) -> dict[str, Any]:
        plugin_context, port = context.plugin_context, context.current
        network = context.network
        fallback = groups.group_name(
            network.current["id"], choice.segment_id, several=len(network.network_segments) > 1
        )
        with db_api.CONTEXT_WRITER.using(plugin_context):
            session = plugin_context.session
            group = groups.known(session, site.vcenter, choice.switch.name, choice.segment_id)
            key = None
            if group is not None and self.settings.booked(site.vcenter):
                key = groups.book(session, group, port["id"], context.host)
        return vif_details(group, fallback=fallback, port_key=key, port_filter=self.settings.filtered(site.vcenter))

    # -- what schedulers ask ------------------------------------------------------------------------------------

    @classmethod
    def is_host_filtering_supported(cls) -> bool:
        """Neutron may ask which hosts reach a segment."""
        return True

    def filter_hosts_with_segment_access(
        self, _context: Any, segments: Any, candidate_hosts: Any, _agent_getter: Any
    ) -> set[str]:
        """Of these hosts, ours whose switches carry one of the segments."""
        wanted = {segment.get(api.PHYSICAL_NETWORK) for segment in segments}
        return {host for host in candidate_hosts if wanted & set(self.settings.placement.physical_networks(host))}


def _is_a_report(context: Any) -> bool:
    """Whether only the status changed, as a worker says it: a row about that would have it look again for nothing."""
    port, original = context.current, context.original or {}
    names = {*port, *original} - CONSEQUENCES
    return port["status"] != original.get("status") and all(port.get(name) == original.get(name) for name in names)


def _is_normal(port: Any) -> bool:
    return bool(port.get(portbindings.VNIC_TYPE, portbindings.VNIC_NORMAL) == portbindings.VNIC_NORMAL)
