"""Reading and writing OVF descriptors: what is written is read back, what is wrong is named."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.descriptor import (
    DeploymentOption,
    Descriptor,
    OvfConfig,
    OvfDisk,
    OvfFile,
    OvfItem,
    OvfNetwork,
    OvfProduct,
    OvfProperty,
    Qualifiers,
    parse,
    render,
)

MB = 1 << 20
FOREIGN = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- as ovftool writes it -->
<Envelope vmw:buildId="build-1" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="a.vmdk" ovf:id="file1" ovf:size="77312"/></References>
  <DiskSection><Info>disks</Info>
    <Disk ovf:capacity="40" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" ovf:populatedSize="9"/>
  </DiskSection>
  <NetworkSection><Info>nets</Info>
    <Network ovf:name="nat"><Description ovf:msgid="d">x</Description></Network></NetworkSection>
  <DeploymentOptionSection><Info>i</Info>
    <Configuration ovf:id="small"><Label>Small</Label><Description>s</Description></Configuration>
    <Configuration ovf:id="large" ovf:default="true"><Label ovf:msgid="l">?</Label><Description/></Configuration>
  </DeploymentOptionSection>
  <VirtualSystem ovf:id="vm"><Info>A VM</Info><Name>vm</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="other5xLinux64Guest"><Info>os</Info></OperatingSystemSection>
    <VirtualHardwareSection ovf:transport="iso com.vmware.guestInfo"><Info>hw</Info>
      <System><vssd:ElementName>f</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-13 vmx-14</vssd:VirtualSystemType></System>
      <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:ElementName>cpu</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID><rasd:Reservation>500</rasd:Reservation>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity>
        <vmw:CoresPerSocket ovf:required="false">2</vmw:CoresPerSocket></Item>
      <Item ovf:configuration="small"><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>
        <rasd:ElementName>memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:Reservation>1024</rasd:Reservation>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
      <Item ovf:configuration="large"><rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits>
        <rasd:ElementName>memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>8</rasd:VirtualQuantity></Item>
      <Item ovf:bound="min"><rasd:ElementName>least</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
      <Item><rasd:Address>0</rasd:Address><rasd:ElementName>scsi</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>nat</rasd:Connection><rasd:ElementName>eth</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType><vmw:Config vmw:key="wakeOnLanEnabled" vmw:value="true"/></Item>
      <vmw:Config ovf:required="false" vmw:key="cpuHotAddEnabled" vmw:value="false"/>
      <vmw:ExtraConfig vmw:key="nvram" vmw:value="x.nvram"/>
    </VirtualHardwareSection>
    <ProductSection ovf:class="net" ovf:instance="0"><Info>p</Info><Product>P</Product>
      <Category>Network</Category>
      <Property ovf:key="mode" ovf:type="string" ovf:qualifiers='ValueMap{"dhcp", "static"}' ovf:value="dhcp"
        ovf:userConfigurable="true"><Label>Mode</Label><Value ovf:value="static" ovf:configuration="large"/></Property>
      <Property ovf:key="token" ovf:type="string" ovf:qualifiers="MinLen(1) MaxLen(64)" ovf:password="true"
        ovf:userConfigurable="true"/>
    </ProductSection>
    <ProductSection><Info>p</Info><Product>Main</Product><Vendor>V</Vendor><Version>1</Version></ProductSection>
    <vmw:BootOrderSection><Info>x</Info></vmw:BootOrderSection>
  </VirtualSystem>
  <Strings xml:lang="en-US"><Msg ovf:msgid="l">Large</Msg></Strings>
</Envelope>"""


def test_reads_what_other_tools_export():
    found = parse(FOREIGN)
    assert (found.name, found.product, found.vendor, found.version) == ("vm", "Main", "V", "1")
    assert found.disk("vmdisk1").capacity == 40 << 30
    assert found.file("file1").size == 77312
    assert [option.label for option in found.options] == ["Small", "Large"]
    assert found.default_option == "large"
    assert found.transports == ("iso", "com.vmware.guestInfo")
    assert [known.id for known in found.properties] == ["net.mode.0", "net.token.0"]
    assert found.properties[0].default_for("large") == "static"
    assert [known.required for known in found.properties] == [False, True]
    assert found.properties[0].vapp_type == 'string["dhcp", "static"]'
    assert found.properties[1].vapp_type == "password(1..64)"


def test_hardware_follows_the_deployment_option():
    found = parse(FOREIGN)
    small, large = found.hardware("small"), found.hardware()
    assert (small.cpus, small.cores_per_socket, small.cpu_mhz_reserved) == (2, 2, 500)
    assert (small.memory_mb, small.memory_mb_reserved) == (2048, 1024)
    assert (large.memory_mb, large.memory_mb_reserved) == (8192, 0)
    assert [(nic.network, nic.kind, nic.unit) for nic in small.nics] == [("nat", "VmxNet3", 7)]
    assert [(drive.disk, drive.controller, drive.unit) for drive in small.disks] == [("vmdisk1", "3", 0)]
    assert small.virtual_system_types == ("vmx-13", "vmx-14")
    assert small.extra_config == (OvfConfig("nvram", "x.nvram"),)
    with pytest.raises(PackageError, match="no deployment option 'huge'"):
        found.hardware("huge")


def test_foreign_descriptor_round_trips():
    assert parse(render(parse(FOREIGN))) == parse(FOREIGN)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b'ovf:fileRef="file1"', b'ovf:fileRef="file2"', r"DiskSection/Disk: fileRef 'file2' is not in References"),
        (b'ovf:capacity="40"', b'ovf:capacity="forty"', r"DiskSection/Disk: ovf:capacity is 'forty'"),
        (b'"byte * 2^30" ovf:diskId', b'"cubits" ovf:diskId', r"capacityAllocationUnits 'cubits' is not known"),
        (b"<rasd:Connection>nat<", b"<rasd:Connection>lan<", r"network 'lan' is not in NetworkSection"),
        (b"<rasd:Parent>3<", b"<rasd:Parent>9<", r"parent 9 is no Item"),
        (b"ovf:/disk/vmdisk1", b"ovf:/disk/vmdisk2", r"disk 'vmdisk2' is not in DiskSection"),
        (b"<rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>", b"", r"Item\[2\]: memory of 2048 bytes .*2\^20"),
        (b"<rasd:AllocationUnits>MegaBytes<", b"<rasd:AllocationUnits>Cubits<", r"AllocationUnits 'Cubits'"),
        (b'ovf:key="token"', b'ovf:key="to ken"', r"Property\[2\]: the key 'to ken' has white-space"),
        (b'ovf:key="token"', b'ovf:key="mode"', r"property 'net.mode.0' is there twice"),
        (b'ovf:value="dhcp"', b'ovf:value="magic"', r"default 'magic' must be one of 'dhcp', 'static'"),
        (b'"MinLen(1) MaxLen(64)"', b'"Sorcery(1)"', r"qualifiers 'Sorcery\(1\)' are not understood"),
        (
            b'ovf:type="string" ovf:qualifiers="Min',
            b'ovf:type="spell" ovf:qualifiers="Min',
            r"type 'spell' is not known",
        ),
        (b'ovf:configuration="small"', b'ovf:configuration="tiny"', r"no deployment option 'tiny'|0 memory items"),
        (b"vmw:BootOrderSection", b"BootSection", r"VirtualSystem/BootSection: section is not understood"),
        (b"VirtualSystem ", b"VirtualSystemCollection ", r"not well-formed"),
        (b"envelope/1", b"envelope/2", r"OVF 2, which vSphere does not import"),
        (b"<Name>vm</Name>", b"<Name>vm</Name><Name>b</Name>", r"VirtualSystem: Name may be there only once"),
        (b"<?xml version", b"<!DOCTYPE Envelope []><?xml version", r"not well-formed|document type"),
        (b"<Envelope ", b"<!DOCTYPE x [<!ENTITY a 'b'>]><Envelope ", r"document type or entities"),
    ],
)
def test_says_where_a_descriptor_is_wrong(old, new, complaint):
    assert old in FOREIGN
    with pytest.raises(PackageError, match=complaint):
        parse(FOREIGN.replace(old, new))


def test_all_problems_come_at_once():
    broken = FOREIGN.replace(b'ovf:capacity="40"', b'ovf:capacity="x"').replace(b'ovf:key="token"', b'ovf:key="a b"')
    with pytest.raises(PackageError) as caught:
        parse(broken)
    assert len(caught.value.problems) == 2
    assert "\n" not in str(caught.value)


def test_size_and_depth_are_bounded():
    with pytest.raises(PackageError, match="bytes, more than"):
        parse(FOREIGN, limit=1000)
    with pytest.raises(PackageError, match="deeper than"):
        parse(b"<a>" * 100_000 + b"</a>" * 100_000)


names = st.text(alphabet="abcXYZ019-_.", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), max_size=30).map(str.strip)
lines = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"), include_characters="\n\t<&\"'>"), max_size=40)
configs = st.lists(st.builds(OvfConfig, key=names, value=lines, required=st.booleans()), max_size=2).map(tuple)


@st.composite
def descriptors(draw):
    networks = tuple(
        OvfNetwork(name, draw(texts)) for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))
    )
    option_ids = draw(st.lists(names, max_size=3, unique=True))
    options = tuple(DeploymentOption(o, draw(texts), draw(texts), i == 1) for i, o in enumerate(option_ids))
    files = tuple(
        OvfFile(f"f{i}", name, draw(st.none() | st.integers(0, 10**15)))
        for i, name in enumerate(draw(st.lists(names, min_size=1, max_size=3)))
    )
    disks = tuple(OvfDisk(f"d{i}", f"f{i}", draw(st.integers(0, 10**15))) for i in range(len(files)))
    items = [
        OvfItem(
            "1",
            3,
            "cpu",
            quantity=draw(st.integers(1, 64)),
            reservation=draw(st.none() | st.integers(0, 10**5)),
            weight=draw(st.none() | st.integers(1, 10**6)),
            cores_per_socket=draw(st.none() | st.integers(1, 8)),
        )
    ]
    for choice in option_ids or [""]:
        items.append(
            OvfItem(
                "2",
                4,
                "memory",
                quantity=draw(st.integers(4 * MB, 2**40)),
                reservation=draw(st.none() | st.integers(0, 1000).map(lambda n: n * MB)),
                options=(choice,) if choice else (),
            )
        )
    items.append(OvfItem("3", 6, "scsi", "VirtualSCSI", address="0", config=draw(configs)))
    for i, disk in enumerate(disks):
        items.append(
            OvfItem(f"4{i}", 17, "disk", parent="3", address_on_parent=str(i), host_resource=f"ovf:/disk/{disk.id}")
        )
    for i, network in enumerate(networks):
        items.append(
            OvfItem(
                f"5{i}",
                10,
                draw(names),
                "VmxNet3",
                connection=network.name,
                address_on_parent=str(7 + i),
                automatic_allocation=draw(st.booleans()),
                required=draw(st.booleans()),
            )
        )
    products = []
    for class_id in draw(st.lists(st.sampled_from(["", "a", "b"]), max_size=2, unique=True)):
        properties = tuple(
            OvfProperty(
                key,
                draw(st.sampled_from(["string", "ip"])),
                user_configurable=draw(st.booleans()),
                qualifiers=Qualifiers(
                    draw(st.none() | st.integers(0, 3)),
                    draw(st.none() | st.integers(3, 9)),
                    value_map=tuple(draw(st.lists(lines, max_size=3))),
                ),
                label=draw(texts),
                description=draw(lines).strip(),
                class_id=class_id,
                instance_id="i" if class_id else "",
                category="c",
                password=draw(st.booleans()),
            )
            for key in draw(st.lists(st.text("abc", min_size=1, max_size=5), max_size=3, unique=True))
        )
        products.append(
            OvfProduct(
                draw(texts),
                draw(texts),
                draw(names),
                class_id=class_id,
                instance_id="i" if class_id else "",
                properties=properties,
            )
        )
    return Descriptor(
        name=draw(names),
        id=draw(names),
        products=tuple(products),
        files=files,
        disks=disks,
        networks=networks,
        options=options,
        items=tuple(items),
        os_id=draw(st.integers(0, 120)),
        os_type=draw(st.just("") | names),
        transports=draw(st.sampled_from([(), ("iso",), ("iso", "com.vmware.guestInfo")])),
        virtual_system_types=draw(st.sampled_from([(), ("vmx-13",), ("vmx-13", "vmx-19")])),
        config=draw(configs),
        extra_config=draw(configs),
        annotation=draw(lines).strip(),
        eulas=tuple(draw(st.lists(lines.map(str.strip), max_size=2))),
    )


@settings(max_examples=150, deadline=None)
@given(descriptors())
def test_what_is_written_is_read_back(descriptor):
    data = render(descriptor)
    assert parse(data) == descriptor
    assert render(parse(data)) == data


@settings(max_examples=40, deadline=None)
@given(descriptors())
def test_item_children_stand_in_schema_order(descriptor):
    rasd = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
    for element in ET.fromstring(render(descriptor)).iter():
        if element.tag.endswith("}Item"):
            own = [child.tag for child in element if child.tag.startswith(rasd)]
            assert own == sorted(own)
        if element.tag.endswith("Section"):
            assert element[0].tag.endswith("}Info")


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_mutated_descriptors_raise_nothing_but_package_errors(seed, count):
    rng = random.Random(seed)
    data = bytearray(FOREIGN)
    for _ in range(count):
        start = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[start] = rng.randrange(256)
            case 1:
                del data[start : start + rng.randrange(40)]
            case 2:
                data[start:start] = data[rng.randrange(len(data)) :][: rng.randrange(60)]
            case 3:
                data[start : start + 1] = rng.choice(
                    [b"-1", b"99999999999999999999999", b'"', b"<", b"&a;", b"\xff", b"${x}"]
                )
    try:
        parse(bytes(data))
    except PackageError as error:
        assert error.problems


@given(st.binary(max_size=200))
def test_noise_is_no_descriptor(data):
    with pytest.raises(PackageError):
        parse(data)


@given(st.sampled_from(["uint8", "sint8", "uint16", "int", "sint64"]), st.integers(-(2**70), 2**70))
def test_integer_properties_take_what_their_type_holds(kind, value):
    bits = {"uint8": (0, 255), "sint8": (-128, 127), "uint16": (0, 65535), "int": (-(2**31), 2**31 - 1)}
    low, high = bits.get(kind, (-(2**63), 2**63 - 1))
    assert (OvfProperty("k", kind).refuses(str(value)) is None) == (low <= value <= high)
