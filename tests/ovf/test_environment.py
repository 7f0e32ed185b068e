"""The OVF environment as the guest finds it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment

OE = "{http://schemas.dmtf.org/ovf/environment/1}"
VE = "{http://www.vmware.com/schema/ovfenv}"
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"), include_characters="\n\t\r<&\"'>"), max_size=30)


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=9), VALUES))
def test_properties_reach_the_guest_as_they_are(properties):
    root = ET.fromstring(render_environment(properties=properties).encode())
    found = {element.get(f"{OE}key"): element.get(f"{OE}value") for element in root.iter(f"{OE}Property")}
    assert found == properties


def test_adapters_and_platform_are_told():
    adapters = [EthernetAdapter("00:50:56:00:00:01", "mgmt", 7), EthernetAdapter("00:50:56:00:00:02", "trunk & co", 8)]
    root = ET.fromstring(render_environment(properties={"a": "b"}, adapters=adapters, vm_id="vm-42").encode())
    assert root.get(f"{VE}vCenterId") == "vm-42"
    assert root.findtext(f"{OE}PlatformSection/{OE}Kind") == "VMware ESXi"
    found = [
        (element.get(f"{VE}mac"), element.get(f"{VE}network"), element.get(f"{VE}unitNumber"))
        for element in root.iter(f"{VE}Adapter")
    ]
    assert found == [("00:50:56:00:00:01", "mgmt", "7"), ("00:50:56:00:00:02", "trunk & co", "8")]


def test_control_characters_are_refused():
    with pytest.raises(PackageError, match=r"U\+0007"):
        render_environment(properties={"a": "\a"})
