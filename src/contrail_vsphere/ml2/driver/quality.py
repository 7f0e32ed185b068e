"""QoS: what a switch can do is told to Neutron; changes of policies go to the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.db import constants as db_constants
from neutron_lib.services.qos import base
from neutron_lib.services.qos import constants as qos

from contrail_vsphere.ml2.driver.binding import VIF_TYPE_DVS
from contrail_vsphere.ml2.driver.events import request_id
from contrail_vsphere.ml2.tables import journal

_RANGE = {"type:range": [0, db_constants.DB_INTEGER_MAX_VALUE]}
SUPPORTED = {
    qos.RULE_TYPE_BANDWIDTH_LIMIT: {
        qos.MAX_KBPS: _RANGE,
        qos.MAX_BURST: _RANGE,
        qos.DIRECTION: {"type:values": ["ingress", "egress"]},
    },
    qos.RULE_TYPE_DSCP_MARKING: {qos.DSCP_MARK: {"type:values": constants.VALID_DSCP_MARKS}},
}
"""Shaping of a DVPort in both directions; marking by its filter rules, therefore only where there is a filter."""


class QualityDriver(base.DriverBase):  # type: ignore[misc] # Neutron has no types
    """Made once per process, before the QoS plugin asks for its drivers."""

    def __init__(self, vcenters: Sequence[str]) -> None:
        super().__init__(
            name="vmware_dvs",
            vif_types=[VIF_TYPE_DVS],
            vnic_types=[portbindings.VNIC_NORMAL],
            supported_rules=SUPPORTED,
            requires_rpc_notifications=False,
        )
        self._vcenters = tuple(vcenters)

    def update_policy_precommit(self, context: Any, policy: Any) -> None:
        """A policy's rules have changed: which ports are concerned is the worker's business."""
        journal.note(context.session, self._vcenters, journal.QUALITY, policy["id"], request_id=request_id(context))
