"""Changes that reach no mechanism driver hook: security groups, their rules, and address groups.

They come as callbacks in the process that serves the API request, most of them inside its transaction; no message bus
is involved. An address group announces its change only after the commit: a process that dies in between loses the row,
and the periodic comparison finds the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neutron_lib.callbacks import events, registry, resources
from neutron_lib.db import api as db_api

from contrail_vsphere.ml2.tables import journal


def request_id(plugin_context: Any) -> str:
    """Of the API request; empty for what Neutron does by itself."""
    return str(getattr(plugin_context, "request_id", None) or "")


class SecurityEvents:
    """Notes them for every vCenter: which ports are concerned is the worker's business."""

    def __init__(self, vcenters: Sequence[str]) -> None:
        self._vcenters = tuple(vcenters)

    def subscribe(self) -> None:
        """Once per process."""
        rule, group = resources.SECURITY_GROUP_RULE, resources.SECURITY_GROUP
        registry.subscribe(self._rule_added, rule, events.PRECOMMIT_CREATE)
        registry.subscribe(self._rule_removed, rule, events.PRECOMMIT_DELETE)
        registry.subscribe(self._group_changed, group, events.PRECOMMIT_UPDATE)
        registry.subscribe(self._address_group_changed, resources.ADDRESS_GROUP, events.AFTER_UPDATE)

    def _rule_added(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        self._note(payload, journal.SECURITY_GROUP, payload.latest_state["security_group_id"])

    def _rule_removed(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        self._note(payload, journal.SECURITY_GROUP, payload.metadata["security_group_id"])

    def _group_changed(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        self._note(payload, journal.SECURITY_GROUP, payload.resource_id)

    def _address_group_changed(self, _resource: str, _event: str, _trigger: Any, payload: Any) -> None:
        with db_api.CONTEXT_WRITER.using(payload.context):
            self._note(payload, journal.ADDRESS_GROUP, payload.resource_id)

    def _note(self, payload: Any, kind: str, object_id: str) -> None:
        context = payload.context
        journal.note(context.session, self._vcenters, kind, object_id, request_id=request_id(context))
