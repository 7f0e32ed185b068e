"""Trunk ports: their parent's DVPort carries the subports' VLANs tagged.

A switch cannot translate VLANs, so the guest must tag with the VLAN of the subport's own segment; the worker refuses
other numbers. Nobody but us tells Neutron where subports are: they go where their parent is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from neutron.services.trunk.drivers import base
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from neutron_lib.services.trunk.constants import TRUNK_SUBPORT_OWNER

from contrail_vsphere.ml2.driver.binding import VIF_TYPE_DVS
from contrail_vsphere.ml2.driver.events import request_id
from contrail_vsphere.ml2.placement import Placement
from contrail_vsphere.ml2.tables import journal

log = logging.getLogger(__name__)


class TrunkDriver(base.DriverBase):  # type: ignore[misc] # Neutron has no types
    """Made once per process; without it the trunk plugin would not start beside our ports."""

    def __init__(self, placement: Placement) -> None:
        super().__init__(
            name="vmware_dvs",
            interfaces=(VIF_TYPE_DVS,),
            segmentation_types=("vlan",),
            agent_type=None,
            can_trunk_bound_port=True,
        )
        self._placement = placement
        for resource, event in (
            (resources.TRUNK, events.AFTER_CREATE),
            (resources.TRUNK, events.AFTER_DELETE),
            (resources.SUBPORTS, events.AFTER_CREATE),
            (resources.SUBPORTS, events.AFTER_DELETE),
        ):
            registry.subscribe(self._changed, resource, event)

    @property
    def is_loaded(self) -> bool:
        """It is made only where our mechanism driver is loaded."""
        return True

    def follow(self, context: Any, trunk_details: Mapping[str, Any], host: str) -> None:
        """Bind the subports to their parent's host, or to none."""
        self._bind(context, [each["port_id"] for each in trunk_details["sub_ports"]], host)

    def _changed(self, _resource: str, event: str, _trigger: Any, payload: Any) -> None:
        trunk = payload.states[-1]
        context = payload.context
        parent = directory.get_plugin().get_port(context.elevated(), trunk.port_id)
        site = self._placement.site(parent[portbindings.HOST_ID])
        if site is None:
            return
        subports = (payload.metadata or {}).get("subports") or trunk.sub_ports
        host = parent[portbindings.HOST_ID] if event == events.AFTER_CREATE else ""
        self._bind(context, [each.port_id for each in subports], host)
        with db_api.CONTEXT_WRITER.using(context):
            journal.note(context.session, [site.vcenter], journal.PORT, trunk.port_id, request_id=request_id(context))

    @staticmethod
    def _bind(context: Any, port_ids: list[str], host: str) -> None:
        plugin = directory.get_plugin()
        for port_id in port_ids:
            changes = {portbindings.HOST_ID: host, "device_owner": TRUNK_SUBPORT_OWNER if host else ""}
            plugin.update_port(context.elevated(), port_id, {"port": changes})
