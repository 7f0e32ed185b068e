"""Which properties the inventory follows, and the model values made of them.

A property that vCenter has not told is None or left at the value's default, which means unknown: half-made objects come
without their ``config``, and a VM that is moving may have no host for a moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from contrail_vsphere.model.ids import (
    ClusterId,
    DatacenterId,
    DatastoreId,
    DvsId,
    FolderId,
    HostId,
    NetworkId,
    ResourcePoolId,
)
from contrail_vsphere.model.inventory import (
    Cluster,
    Datacenter,
    Datastore,
    Dvs,
    Host,
    Network,
    Object,
    VirtualMachine,
)
from contrail_vsphere.vsphere.stream import Kind
from contrail_vsphere.vsphere.traffic_rules import filter_keys, rules_of
from contrail_vsphere.wire.soap.types import vim

Values = Mapping[str, Any]
DatacenterOf = Callable[[str | None], DatacenterId | None]
"""The datacenter above a folder, as far as known."""

PATHS: dict[str, dict[str, Kind]] = {
    "Folder": {"parent": "id"},
    "Datacenter": {"name": "own", "parent": "id", "vmFolder": "id", "networkFolder": "id"},
    "ComputeResource": {"name": "own", "parent": "id", "host": "ids", "resourcePool": "id"},
    "HostSystem": {
        "name": "own",
        "parent": "id",
        "runtime.connectionState": "text",
        "runtime.powerState": "text",
        "runtime.inMaintenanceMode": "bool",
        "summary.config.product.version": "text",
        "summary.config.product.productLineId": "text",
        "summary.config.agentVmDatastore": "id",
        "summary.config.agentVmNetwork": "id",
        "datastore": "ids",
        "network": "ids",
    },
    "VirtualMachine": {
        "name": "own",
        "runtime.host": "id",
        "runtime.powerState": "text",
        "runtime.connectionState": "text",
        "config.instanceUuid": "own",
        "config.template": "bool",
        "config.managedBy.extensionKey": "text",
        "config.hardware.memoryMB": "int",
        "config.cpuAllocation.reservation": "int",
        "config.memoryAllocation.reservation": "int",
        "config.hardware.device": "nics",
        "guestHeartbeatStatus": "text",
        "guest.ipAddress": "own",
        "resourcePool": "id",
        "rootSnapshot": "ids",
    },
    "Datastore": {
        "name": "own",
        "summary.capacity": "int",
        "summary.freeSpace": "int",
        "summary.accessible": "bool",
    },
    "Network": {"name": "own"},
    "DistributedVirtualPortgroup": {
        "name": "own",
        "config.distributedVirtualSwitch": "id",
        "config.description": "text",
        "config.configVersion": "text",
        "config.uplink": "bool",
        "config.type": "text",
        "config.autoExpand": "bool",
        "config.policy": "value",
        "config.vendorSpecificConfig": "value",
        "config.defaultPortConfig": "value",
    },
    "DistributedVirtualSwitch": {"name": "own", "parent": "id", "uuid": "text", "summary.hostMember": "ids"},
}
"""Type -> path -> how it is read. Types of a filter are listed with their base where that says it all."""

KINDS: dict[str, Kind] = {path: kind for paths in PATHS.values() for path, kind in paths.items()}
"""By path alone: a path is read the same way on every type."""

BASES = {
    "ClusterComputeResource": "ComputeResource",
    "VmwareDistributedVirtualSwitch": "DistributedVirtualSwitch",
    "StoragePod": "Folder",
}


def build_value(kind: str, moid: str, values: Values, datacenter_of: DatacenterOf) -> Object | None:
    """The model value of an object; None for types that have none (folders)."""
    make = _MAKERS.get(BASES.get(kind, kind))
    return make(kind, moid, values, datacenter_of) if make is not None else None


def _datacenter(_kind: str, moid: str, values: Values, _of: DatacenterOf) -> Object:
    return Datacenter(
        id=DatacenterId(moid),
        name=_name(values),
        vm_folder=FolderId(values.get("vmFolder") or ""),
        network_folder=FolderId(values.get("networkFolder") or ""),
    )


def _cluster(kind: str, moid: str, values: Values, datacenter_of: DatacenterOf) -> Object:
    pool = values.get("resourcePool")
    return Cluster(
        id=ClusterId(moid),
        name=_name(values),
        hosts=cast(tuple[HostId, ...], values.get("host") or ()),
        root_pool=ResourcePoolId(pool) if pool else None,
        datacenter=datacenter_of(values.get("parent")),
        standalone=kind == "ComputeResource",
    )


def _host(_kind: str, moid: str, values: Values, _of: DatacenterOf) -> Object:
    parent = values.get("parent")
    datastore = values.get("summary.config.agentVmDatastore")
    network = values.get("summary.config.agentVmNetwork")
    return Host(
        id=HostId(moid),
        name=_name(values),
        cluster=ClusterId(parent) if parent else None,
        connection=values.get("runtime.connectionState"),
        power=values.get("runtime.powerState"),
        in_maintenance=values.get("runtime.inMaintenanceMode"),
        version=values.get("summary.config.product.version") or "",
        product_line=values.get("summary.config.product.productLineId") or "",
        datastores=cast(tuple[DatastoreId, ...], values.get("datastore") or ()),
        networks=cast(tuple[NetworkId, ...], values.get("network") or ()),
        agent_datastore=DatastoreId(datastore) if datastore else None,
        agent_network=NetworkId(network) if network else None,
    )


def with_values(vm: VirtualMachine, values: Values) -> VirtualMachine:
    """A VM as it is after some of its properties were told; None is a property that became unset."""
    told = ((_OF_VM[path], value) for path, value in values.items() if path in _OF_VM)
    return replace(vm, **{name: read(value) for (name, read), value in told})


def _text(value: Any) -> str:
    return value or ""


def _number(value: Any) -> int:
    return value or 0


def _several(value: Any) -> tuple[Any, ...]:
    return value or ()


def _as_told(value: Any) -> Any:
    return value


def _datastore(_kind: str, moid: str, values: Values, _of: DatacenterOf) -> Object:
    accessible = values.get("summary.accessible")
    return Datastore(
        id=DatastoreId(moid),
        name=_name(values),
        capacity=values.get("summary.capacity") or 0,
        free=values.get("summary.freeSpace") or 0,
        accessible=accessible is not False,
    )


def _network(_kind: str, moid: str, values: Values, _of: DatacenterOf) -> Object:
    return Network(id=NetworkId(moid), name=_name(values))


def _port_group(_kind: str, moid: str, values: Values, _of: DatacenterOf) -> Object:
    switch = values.get("config.distributedVirtualSwitch")
    setting = values.get("config.defaultPortConfig")
    policy = values.get("config.policy")
    security = getattr(setting, "securityPolicy", None) or getattr(setting, "macManagementPolicy", None)
    return Network(
        id=NetworkId(moid),
        name=_name(values),
        dvs=DvsId(switch) if switch else None,
        description=values.get("config.description") or "",
        vlan=vlan_text(getattr(setting, "vlan", None)),
        promiscuous=_policy(security, "allowPromiscuous"),
        forged_transmits=_policy(security, "forgedTransmits"),
        mac_changes=_policy(security, "macChanges"),
        config_version=values.get("config.configVersion") or "",
        uplink=bool(values.get("config.uplink")),
        binding=values.get("config.type") or "",
        auto_expand=values.get("config.autoExpand"),
        blocked=_policy(setting, "blocked"),
        vlan_override=getattr(policy, "vlanOverrideAllowed", None),
        block_override=getattr(policy, "blockOverrideAllowed", None),
        reset_at_disconnect=getattr(policy, "portConfigResetAtDisconnect", None),
        blobs=tuple((blob.key, blob.opaqueData) for blob in values.get("config.vendorSpecificConfig") or ()),
        filter_override=getattr(policy, "trafficFilterOverrideAllowed", None),
        shaping_override=getattr(policy, "shapingOverrideAllowed", None),
        rules=rules_of(getattr(setting, "filterPolicy", None)),
        filters=filter_keys(getattr(setting, "filterPolicy", None)),
    )


def _dvs(_kind: str, moid: str, values: Values, datacenter_of: DatacenterOf) -> Object:
    return Dvs(
        id=DvsId(moid),
        name=_name(values),
        uuid=values.get("uuid") or "",
        hosts=cast(tuple[HostId, ...], values.get("summary.hostMember") or ()),
        datacenter=datacenter_of(values.get("parent")),
    )


_MAKERS: dict[str, Callable[[str, str, Values, DatacenterOf], Object]] = {
    "Datacenter": _datacenter,
    "ComputeResource": _cluster,
    "HostSystem": _host,
    "Datastore": _datastore,
    "Network": _network,
    "DistributedVirtualPortgroup": _port_group,
    "DistributedVirtualSwitch": _dvs,
}

_ESCAPED = re.compile("%(2f|5c|25)", re.IGNORECASE)


def _name(values: Values) -> str:
    return _decoded(values.get("name"))


def _decoded(text: str | None) -> str:
    """VCenter shows slash, backslash and percent sign in names percent-encoded, and decodes them once."""
    name = text or ""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name) if "%" in name else name


_OF_VM: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("name", _decoded),
    "runtime.host": ("host", _as_told),
    "runtime.powerState": ("power", _as_told),
    "runtime.connectionState": ("connection", _as_told),
    "config.instanceUuid": ("instance_uuid", _text),
    "config.template": ("template", bool),
    "config.managedBy.extensionKey": ("managed_by", _text),
    "config.hardware.memoryMB": ("memory_mb", _number),
    "config.cpuAllocation.reservation": ("cpu_mhz_reserved", _number),
    "config.memoryAllocation.reservation": ("memory_mb_reserved", _number),
    "config.hardware.device": ("nics", _several),
    "guestHeartbeatStatus": ("heartbeat", _as_told),
    "guest.ipAddress": ("ip_address", _text),
    "resourcePool": ("resource_pool", _as_told),
    "rootSnapshot": ("snapshots", _several),
}
"""Path -> field of a VirtualMachine, and how the one is read as the other."""


def _policy(security: Any, name: str) -> bool | None:
    return getattr(getattr(security, name, None), "value", None)


def vlan_text(vlan: Any) -> str:
    """``none``, the number, ``pvlan N``, or the ranges of a trunk; empty when unknown."""
    if isinstance(vlan, vim.dvs.VmwareDistributedVirtualSwitch.TrunkVlanSpec):
        return ",".join(
            f"{each.start}-{each.end}" if each.start != each.end else f"{each.start}" for each in vlan.vlanId
        )
    if isinstance(vlan, vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec):
        return str(vlan.vlanId) if vlan.vlanId else "none"
    if isinstance(vlan, vim.dvs.VmwareDistributedVirtualSwitch.PvlanSpec):
        return f"pvlan {vlan.pvlanId}"
    return ""
