"""FetchDVPorts: choosing ports by criteria through the indexes, and showing them cheaply.

A port shows its whole setting, three kilobytes of XML, of which nothing or one or two policies are its own. So over the
wire the group's policies are written once, and each port's answer is put together from those pieces.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.dvs_members import pnic_connectee
from contrail_vsphere.simulator.vcenter.dvs_ports import connectee, runtime_info
from contrail_vsphere.simulator.vcenter.dvs_settings import (
    FIELDS,
    SETTING,
    effective,
    effective_policies,
    inherited_view,
    set_policies,
    vlan_ranges,
)
from contrail_vsphere.simulator.vcenter.dvs_table import order
from contrail_vsphere.simulator.vcenter.switches import Switches
from contrail_vsphere.wire.soap.encode import Raw, encode_property
from contrail_vsphere.wire.soap.metadata import properties_of
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.versions import includes

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
        DistributedVirtualPortgroup,
        DistributedVirtualSwitch,
    )
    from contrail_vsphere.simulator.vcenter.dvs_table import DvPort

_PORT = vim.dvs.DistributedVirtualPort
_NO_STATISTICS = data_object(
    vim.dvs.PortStatistics,
    **{info.name: 0 for info in properties_of(vim.dvs.PortStatistics) if not info.optional},
)

# -- choosing ---------------------------------------------------------------------------------------------------


def select(dvs: DistributedVirtualSwitch, criteria: Any) -> list[DvPort]:
    """Ports that meet all criteria, group by group, lowest keys first; no criteria: all.

    ``portgroupKey`` counts only where ``inside`` is set, as documented. An unknown key selects nothing.
    """
    if criteria is None:
        return list(_of_groups(dvs, dvs.portgroups))
    switches = Switches.of(dvs.world)
    groups = list(_groups(dvs, criteria))
    wanted_hosts = {host._moId for host in criteria.host}
    found: Iterable[DvPort]
    if criteria.portKey:
        keys = sorted(dict.fromkeys(criteria.portKey), key=order)
        allowed = {group.moid for group in groups}
        ports = [dvs.ports.ports[key] for key in keys if key in dvs.ports.ports]
        found = [port for port in ports if port.group.moid in allowed]
    elif wanted_hosts:
        members = [host for host in dvs.hosts if host.moid in wanted_hosts]
        allowed = {group.moid for group in groups}
        found = [port for host in members for port in dvs.ports.on_host(host) if port.group.moid in allowed]
    elif criteria.connected:
        found = dvs.ports.used_in(groups)
    else:
        found = _of_groups(dvs, groups)
    tests: list[Callable[[DvPort], bool]] = []
    if wanted_hosts:
        tests.append(lambda port: port.proxy_host is not None and port.proxy_host.moid in wanted_hosts)
    if criteria.connected or (criteria.connected is False and switches.connected_false == "unconnected"):
        tests.append(lambda port: port.connected is bool(criteria.connected))
    if criteria.active or (criteria.active is False and switches.active_false == "inactive"):
        tests.append(lambda port: is_active(port) is bool(criteria.active))
    if criteria.nsxPort:
        return []
    if criteria.scope is not None:
        covered = _covering(dvs, criteria.scope)
        tests.append(lambda port: _in_scope(port, covered))
    return [port for port in found if all(test(port) for test in tests)]


def _groups(dvs: DistributedVirtualSwitch, criteria: Any) -> Iterator[DistributedVirtualPortgroup]:
    keys = set(criteria.portgroupKey)
    for group in dvs.portgroups:
        if keys and criteria.inside is not None and (group.moid in keys) is not bool(criteria.inside):
            continue
        if criteria.uplinkPort is None or criteria.uplinkPort is group.uplink:
            yield group


def _of_groups(dvs: DistributedVirtualSwitch, groups: Iterable[DistributedVirtualPortgroup]) -> Iterator[DvPort]:
    for group in groups:
        for key in dvs.ports.of_group(group):
            yield dvs.ports.ports[key]


def is_active(port: DvPort) -> bool:
    """Whether the port's link is up."""
    return port.pnic != "" or (port.state is not None and port.state.link_up)


def _covering(dvs: DistributedVirtualSwitch, ref: Any) -> set[str]:
    """The entity and all it is in."""
    entity: Any = dvs.world.get(ref._moId)
    return {ref._moId, *(above.moid for above in (entity.ancestors() if entity is not None else ()))}


def _in_scope(port: DvPort, covered: set[str]) -> bool:
    scope = port.scope or port.group.scope
    return not scope or any(entity.moid in covered for entity in scope)


def used_vlans(dvs: DistributedVirtualSwitch) -> list[int]:
    """VLAN ids, other than none and trunks, that groups and ports name."""
    found = set()
    settings = [group.setting for group in dvs.portgroups]
    for setting in (*settings, *(port.override for port in dvs.ports.ports.values())):
        vlan = getattr(setting, "vlan", None)
        if vlan is not None:
            ranges, trunk = vlan_ranges(vlan)
            if not trunk:
                found.add(ranges[0][0])
    return sorted(found - {0})


# -- showing ----------------------------------------------------------------------------------------------------


def values(dvs: DistributedVirtualSwitch, criteria: Any, *, version: str = "") -> list[Any]:
    """DistributedVirtualPort values; with a version, their settings are pieces of XML of that version."""
    found = select(dvs, criteria)
    if not version:
        return [show(port, effective(port.group.setting, port.override)) for port in found]
    plain: dict[str, Raw] = {}
    shown = []
    for port in found:
        group = port.group
        if port.override is None:
            setting = plain.get(group.moid)
            if setting is None:
                setting = plain[group.moid] = _element(inherited_view(group.setting), None, version)
        else:
            setting = _element(inherited_view(group.setting), port.override, version)
        shown.append(show(port, setting))
    return shown


def show(port: DvPort, setting: Any) -> Any:
    """DistributedVirtualPort."""
    peer = None
    if port.vm is not None:
        peer = connectee(port.vm, port.nic_key)
    elif port.pnic and port.proxy_host is not None:
        peer = pnic_connectee(port.proxy_host, port.pnic)
    state = None
    if port.state is not None:
        state = data_object(_PORT.State, runtimeInfo=runtime_info(port.state, port.group.dvs), stats=_NO_STATISTICS)
    return data_object(
        _PORT,
        key=port.key,
        dvsUuid=port.group.dvs.uuid,
        portgroupKey=port.group.moid,
        proxyHost=port.proxy_host,
        connectee=peer,
        connectionCookie=port.cookie or None,
        conflict=port.conflict_with != "",
        conflictPortKey=port.conflict_with or None,
        lastStatusChange=port.changed,
        state=state,
        config=data_object(
            _PORT.ConfigInfo,
            name=port.name or None,
            description=port.description or None,
            scope=port.scope,
            setting=setting,
            configVersion=str(port.config_version),
        ),
    )


def _element(base: Any, override: Any, version: str) -> Raw:
    """``<setting>`` of a port, from the group's pieces and the port's own."""
    pieces = _pieces(base, version)
    if override is not None:
        pieces = dict(pieces)
        for name, policy in effective_policies(base, override).items():
            if name in _known(version):
                pieces[name] = encode_property(_TYPES[name], policy, version=version, name=name)
    body = "".join(pieces[name] for name in FIELDS if name in pieces)
    return Raw(f'<setting xsi:type="{SETTING._wsdlName}">{body}</setting>')


@functools.lru_cache(maxsize=1024)
def _pieces(base: Any, version: str) -> dict[str, str]:
    return {
        name: encode_property(_TYPES[name], getattr(base, name), version=version, name=name)
        for name in set_policies(base)
        if name in _known(version)
    }


_TYPES = {info.name: info.type for info in properties_of(SETTING)}


@functools.lru_cache(maxsize=64)
def _known(version: str) -> frozenset[str]:
    """Policies that a version of the API has."""
    return frozenset(info.name for info in properties_of(SETTING) if includes(version, info.version))
