"""The introspect pages of the plugin's predecessors, for the tools that still ask for them.

``contrail-status`` asks the Java plugin's ``Snh_VCenterPluginInfo`` on port 8234; test suites ask that and the three
requests of contrail-vcenter-manager. Where one of those breaks on an interface without an address, ours shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from contrail_vsphere.app.reign import Reigns
from contrail_vsphere.model.contrail import VirtualNetwork, Vmi
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vcenter_plugin.desired import instance_of
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.plugin import VCenterPlugin

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """The two servers the plugin stands between; ``*_connected`` are asked when a page is."""

    api_server: str
    """URL of a config API server."""
    vcenter: str
    api_connected: Callable[[], bool]
    vcenter_connected: Callable[[], bool]


def plugin_info(reigns: Reigns[VCenterPlugin], ends: Ends) -> bytes:
    """``Snh_VCenterPluginInfo``: whether this one acts, and whether both its ends are there."""
    root = Element("VCenterPluginIntrospect", type="sandesh")
    struct = SubElement(SubElement(root, "VCenterPlugin", type="struct", identifier="1"), "VCenterPluginStruct")
    _field(struct, "master", _bool(reigns.leads), kind="bool")
    _field(struct, "pluginState", "; ".join(reigns.not_ready()) or "active")
    if reigns.leads:
        server = urlsplit(ends.api_server)
        _server(
            struct, "ApiServer", ends.api_connected(),
            (("ipAddr", server.hostname or ""), ("port", str(server.port or 8082))),
        )  # fmt: skip
        _server(struct, "VCenterServer", ends.vcenter_connected(), (("url", f"https://{ends.vcenter}/sdk"),))
    return _document(root)


def machines(plugin: VCenterPlugin, *, uuid: str, name: str) -> bytes:
    """``Snh_VirtualMachineRequest``: VMs with cards in our networks; all without arguments."""
    root = Element("VirtualMachineResponse", type="sandesh")
    listed = _list(root, "machines", "VirtualMachineData")
    for vm in plugin.vcenter.inventory.vms.values():
        cards = _cards(plugin, vm)
        if not cards or (uuid and uuid != vm.instance_uuid) or (name and name != vm.name):
            continue
        entry = SubElement(listed, "VirtualMachineData")
        host = plugin.vcenter.inventory.hosts.get(vm.host) if vm.host is not None else None
        _fields(entry, (("uuid", vm.instance_uuid), ("name", vm.name), ("host_uuid", host.name if host else "")))
        _interfaces(entry, cards)
    return _document(root)


def networks(plugin: VCenterPlugin, *, uuid: str, key: str) -> bytes:
    """``Snh_VirtualNetworkRequest``; ``key`` is that of a port group."""
    root = Element("VirtualNetworkResponse", type="sandesh")
    listed = _list(root, "networks", "VirtualNetworkData")
    for network, groups in sorted(plugin.observed.index.groups_of.items(), key=lambda item: str(item[0])):
        value = plugin.contrail.networks.get(network)
        for group in sorted(groups):
            if (uuid and uuid != str(network)) or (key and key != group):
                continue
            entry = SubElement(listed, "VirtualNetworkData")
            _fields(entry, (("uuid", str(network)), ("name", _name(value)), ("key", group)))
            vms = (plugin.vcenter.inventory.vms.get(vm) for vm in plugin.observed.index.users_of.get(group, ()))
            cards = [card for vm in vms if vm is not None for card in _cards(plugin, vm)]
            _interfaces(entry, (card for card in cards if ("vn_uuid", str(network)) in card))
    return _document(root)


def interfaces(plugin: VCenterPlugin, *, uuid: str) -> bytes:
    """``Snh_VirtualMachineInterfaceRequest``."""
    root = Element("VirtualMachineInterfaceResponse", type="sandesh")
    cards = (card for vm in plugin.vcenter.inventory.vms.values() for card in _cards(plugin, vm))
    _interfaces(root, (card for card in cards if not uuid or ("uuid", uuid) in card))
    return _document(root)


def _cards(plugin: VCenterPlugin, vm: VirtualMachine) -> tuple[Fields, ...]:
    instance = instance_of(vm)
    sight = plugin.observed.machine(instance) if instance is not None else None
    return tuple(_card(plugin, vm, port.id, port.vmi) for port in sight.ports if port.wanted) if sight else ()


def _card(plugin: VCenterPlugin, vm: VirtualMachine, port: PortId, vmi: Vmi | None) -> Fields:
    nic = next(nic for nic in vm.nics if nic.key == port.nic)
    iips = plugin.observed.addresses_of(vmi.uuid) if vmi is not None else ()
    vlan = plugin.vlans.of(port).get(vm.host) if vm.host is not None else None
    return (
        ("uuid", str(vmi.uuid) if vmi is not None else ""),
        ("display_name", vmi.display_name if vmi is not None else ""),
        ("mac_address", nic.mac.lower()),
        ("port_key", nic.port_key),
        ("ip_address", next((str(iip.address) for iip in iips if iip.address is not None), "")),
        ("vm_uuid", str(port.vm)),
        ("vn_uuid", str(vmi.network) if vmi is not None and vmi.network is not None else ""),
        ("vlan_id", str(vlan or "")),
    )


def _interfaces(parent: Element, cards: Iterable[Fields]) -> None:
    listed = _list(parent, "interfaces", "VirtualMachineInterfaceData")
    for card in cards:
        _fields(SubElement(listed, "VirtualMachineInterfaceData"), card)


def _list(parent: Element, name: str, kind: str) -> Element:
    return SubElement(SubElement(parent, name, type="list", identifier="1"), "list", type="struct", of=kind)


def _server(parent: Element, name: str, connected: bool, fields: Fields) -> None:
    struct = SubElement(SubElement(parent, f"{name}Info", type="struct"), f"{name}Struct")
    _fields(struct, fields)
    _field(struct, "connected", _bool(connected), kind="bool")


def _fields(parent: Element, fields: Fields) -> None:
    for name, value in fields:
        _field(parent, name, value)


def _field(parent: Element, name: str, value: str, *, kind: str = "string") -> None:
    SubElement(parent, name, type=kind, identifier=str(len(parent) + 1)).text = "".join(_printable(value))


def _printable(text: str) -> Iterator[str]:
    """XML has no way to write control characters; names may have them."""
    return (character for character in text if character.isprintable())


def _document(root: Element) -> bytes:
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _name(network: VirtualNetwork | None) -> str:
    return ":".join(network.fq_name) if network is not None else ""


def _bool(value: bool) -> str:
    return "true" if value else "false"
