"""Whole estates at once: tens of thousands of ports without a request, a check or a notification for each.

The objects are what the ordinary way would have made; a test compares. What they share (permissions, attributes) is one
value in memory.
"""

from __future__ import annotations

import gc
import uuid as uuids
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.simulator.contrail.context import CLOUD_ADMIN, Site
from contrail_vsphere.simulator.contrail.resources import DEFAULT_PERMISSIONS
from contrail_vsphere.simulator.contrail.store import ApiObject, Transaction
from contrail_vsphere.wire.contrail.schema import resource, structure

_NAMESPACE = uuids.UUID("6f1c1f0e-58a4-4c1e-9f0e-0e5a3c8f5f10")


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a built estate."""

    vm: ApiObject
    vmi: ApiObject
    ip: ApiObject


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What the ports of one call have in common."""

    tx: Transaction
    network: ApiObject
    project: ApiObject
    creator: str | None
    stamp: str
    routing: Mapping[str, Any]
    notes: Mapping[str, Any]


class Builder:
    """Fills a store."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def ports(
        self,
        network: ApiObject,
        count: int,
        *,
        prefix: str = "vm",
        creator: str | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> list[Port]:
        """VirtualMachine, interface and instance-ip for each of ``count`` ports of a network that has a subnet.

        RefusedError when its addresses do not suffice; then nothing was made.
        """
        store = self._site.store
        instances = store.children(network.uuid, "routing-instance")
        attr = dict.fromkeys(structure("PolicyBasedForwardingRuleType")) | {"direction": "both"}
        pairs = [{"key": key, "value": value} for key, value in (annotations or {}).items()]
        with _without_collector(), store.commit() as tx:
            batch = _Batch(
                tx=tx,
                network=network,
                project=store[network.parent_uuid],
                creator=creator,
                stamp=store.stamp(),
                routing={instances[0].uuid: attr} if instances else {},
                notes={"annotations": {"key_value_pair": pairs}} if pairs else {},
            )
            return [
                self._port(batch, f"{prefix}-{number:05}", f"{network.uuid}/{prefix}/{number}")
                for number in range(count)
            ]

    def _port(self, batch: _Batch, name: str, seed: str) -> Port:
        vm_id, vmi_id, ip_id = (str(uuids.uuid5(_NAMESPACE, f"{seed}/{part}")) for part in ("vm", "vmi", "ip"))
        network = batch.network
        low = int(vmi_id[:6], 16) & 0x3FFFFF
        mac = f"00:50:56:{low >> 16:02x}:{low >> 8 & 0xFF:02x}:{low & 0xFF:02x}"
        address, subnet = self._site.ipam.allocate(batch.tx, network, owner=ip_id)
        vm = _object(batch, "virtual-machine", vm_id, {"display_name": name})
        vmi = _object(
            batch,
            "virtual-machine-interface",
            vmi_id,
            {
                "display_name": f"vmi-{network.name}-{name}",
                "virtual_machine_interface_mac_addresses": {"mac_address": [mac]},
                "port_security_enabled": True,
            },
            in_project=True,
        )
        vmi.references["virtual_machine_refs"] = {vm_id: None}
        vmi.references["virtual_network_refs"] = {network.uuid: None}
        if batch.routing:
            vmi.references["routing_instance_refs"] = dict(batch.routing)
        ip = _object(
            batch,
            "instance-ip",
            ip_id,
            {"display_name": f"ip-{network.name}-{name}", "instance_ip_address": address, "subnet_uuid": subnet},
        )
        ip.references["virtual_network_refs"] = {network.uuid: None}
        ip.references["virtual_machine_interface_refs"] = {vmi_id: None}
        for made in (vm, vmi, ip):
            batch.tx.insert(made)
        return Port(vm, vmi, ip)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing that is built is garbage; looking for it each time again costs most of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _object(
    batch: _Batch, type_name: str, uuid: str, properties: dict[str, Any], *, in_project: bool = False
) -> ApiObject:
    number = int(uuid.replace("-", ""), 16)
    properties |= batch.notes
    properties["id_perms"] = {
        "enable": True,
        "description": None,
        "creator": batch.creator,
        "user_visible": True,
        "permissions": DEFAULT_PERMISSIONS,
        "created": batch.stamp,
        "last_modified": batch.stamp,
        "uuid": {"uuid_mslong": number >> 64, "uuid_lslong": number & (1 << 64) - 1},
    }
    project = batch.project
    properties["perms2"] = project.properties["perms2"] if in_project else _PERMS2
    return ApiObject(
        uuid=uuid,
        type=resource(type_name),
        fq_name=(*project.fq_name, uuid) if in_project else (uuid,),
        parent_uuid=project.uuid if in_project else "",
        parent_type=project.type.name if in_project else "",
        properties=properties,
    )


_PERMS2 = {"owner": CLOUD_ADMIN, "owner_access": 7, "global_access": 0, "share": []}
