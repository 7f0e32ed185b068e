"""The OVF envelope: values, parser and writer in one place to import from.

``parse`` takes the bytes of any descriptor, ours or a stranger's; ``render`` writes one whose elements stand in schema
order, the same bytes every time. ``parse(render(d)) == d``.
"""

from __future__ import annotations

from contrail_vsphere.wire.ovf.envelope import (
    GUEST_INFO_TRANSPORT,
    STREAM_OPTIMIZED,
    DeploymentOption,
    Descriptor,
    OvfDisk,
    OvfFile,
    OvfNetwork,
)
from contrail_vsphere.wire.ovf.hardware import (
    Hardware,
    OvfConfig,
    OvfController,
    OvfDrive,
    OvfItem,
    OvfNic,
)
from contrail_vsphere.wire.ovf.parse import parse
from contrail_vsphere.wire.ovf.properties import OvfProduct, OvfProperty, Qualifiers
from contrail_vsphere.wire.ovf.render import render

__all__ = [
    "GUEST_INFO_TRANSPORT",
    "STREAM_OPTIMIZED",
    "DeploymentOption",
    "Descriptor",
    "Hardware",
    "OvfConfig",
    "OvfController",
    "OvfDisk",
    "OvfDrive",
    "OvfFile",
    "OvfItem",
    "OvfNetwork",
    "OvfNic",
    "OvfProduct",
    "OvfProperty",
    "Qualifiers",
    "parse",
    "render",
]
