"""The OVF environment that vCenter puts before the guest, in the form vSphere gives it.

Used by the simulated guest. The reader's half is the guest's first-boot program, which stands on the standard library
alone. The environment is made anew at every power-on; anyone who may read the VM can read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contrail_vsphere.wire.ovf.xml import ENVIRONMENT_NS, VMW_ENVIRONMENT_NS, XmlWriter


@dataclass(frozen=True, slots=True)
class EthernetAdapter:
    """One NIC as the guest is told of it; ``unit_number`` 7 is the first."""

    mac: str
    network: str
    unit_number: int


@dataclass(frozen=True, slots=True)
class Platform:
    """Where the guest runs."""

    kind: str = "VMware ESXi"
    version: str = "8.0.3"
    vendor: str = "VMware, Inc."
    locale: str = "en"


def render_environment(
    *,
    properties: Mapping[str, str],
    adapters: Iterable[EthernetAdapter] = (),
    platform: Platform = Platform(),
    vm_id: str = "",
) -> str:
    """The environment document: ``properties`` by full id, ``vm_id`` the VM's id in vCenter (``vm-42``)."""
    out = XmlWriter()
    namespaces = {
        "xmlns": ENVIRONMENT_NS,
        "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "xmlns:oe": ENVIRONMENT_NS,
        "xmlns:ve": VMW_ENVIRONMENT_NS,
    }
    with out.element("Environment", {**namespaces, "oe:id": "", "ve:vCenterId": vm_id}):
        with out.element("PlatformSection"):
            out.leaf("Kind", platform.kind)
            out.leaf("Version", platform.version)
            out.leaf("Vendor", platform.vendor)
            out.leaf("Locale", platform.locale)
        if properties:
            with out.element("PropertySection"):
                for key, value in properties.items():
                    out.leaf("Property", attributes={"oe:key": key, "oe:value": value})
        with out.element("ve:EthernetAdapterSection"):
            for adapter in adapters:
                unit = str(adapter.unit_number)
                attributes = {"ve:mac": adapter.mac, "ve:network": adapter.network, "ve:unitNumber": unit}
                out.leaf("ve:Adapter", attributes=attributes)
    return out.text()
