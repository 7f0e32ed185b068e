""":class:`Descriptor` to bytes, in the order the OVF 1.1 schema asks for; the same value always gives the same bytes.

Strict validators want the ``rasd`` children of an Item in alphabetical order, and every section to start with Info.
"""

from __future__ import annotations

from contrail_vsphere.wire.ovf.envelope import Descriptor, OvfDisk
from contrail_vsphere.wire.ovf.hardware import CPU, MEGABYTE, MEMORY, OvfConfig, OvfItem
from contrail_vsphere.wire.ovf.properties import OvfProduct, OvfProperty, Qualifiers
from contrail_vsphere.wire.ovf.units import written
from contrail_vsphere.wire.ovf.xml import OVF_NS, RASD_NS, VMW_NS, VSSD_NS, XSI_NS, XmlWriter


def render(descriptor: Descriptor) -> bytes:
    """The envelope; PackageError where a text cannot be written in XML."""
    out = XmlWriter()
    namespaces = {
        "xmlns": OVF_NS,
        "xmlns:ovf": OVF_NS,
        "xmlns:rasd": RASD_NS,
        "xmlns:vmw": VMW_NS,
        "xmlns:vssd": VSSD_NS,
        "xmlns:xsi": XSI_NS,
    }
    with out.element("Envelope", namespaces):
        _references(out, descriptor)
        _disks(out, descriptor)
        _networks(out, descriptor)
        _options(out, descriptor)
        with out.element("VirtualSystem", {"ovf:id": descriptor.id}):
            out.leaf("Info", "A virtual machine")
            out.leaf("Name", descriptor.name)
            _operating_system(out, descriptor)
            _hardware(out, descriptor)
            for product in descriptor.products:
                _product(out, product)
            if descriptor.annotation:
                with out.element("AnnotationSection"):
                    out.leaf("Info", "A human-readable annotation")
                    out.leaf("Annotation", descriptor.annotation)
            for text in descriptor.eulas:
                with out.element("EulaSection"):
                    out.leaf("Info", "An end-user licence agreement")
                    out.leaf("License", text)
    return out.text().encode()


def _references(out: XmlWriter, descriptor: Descriptor) -> None:
    if not descriptor.files:
        out.leaf("References")
        return
    with out.element("References"):
        for file in descriptor.files:
            attributes = {"ovf:href": file.href, "ovf:id": file.id}
            _optional(attributes, "ovf:size", file.size)
            _optional(attributes, "ovf:compression", file.compression or None)
            _optional(attributes, "ovf:chunkSize", file.chunk_size)
            out.leaf("File", attributes=attributes)


def _disks(out: XmlWriter, descriptor: Descriptor) -> None:
    if not descriptor.disks:
        return
    with out.element("DiskSection"):
        out.leaf("Info", "Virtual disk information")
        for disk in descriptor.disks:
            out.leaf("Disk", attributes=_disk_attributes(disk))


def _disk_attributes(disk: OvfDisk) -> dict[str, str]:
    capacity, units = written(disk.capacity)
    attributes = {"ovf:capacity": str(capacity), "ovf:capacityAllocationUnits": units, "ovf:diskId": disk.id}
    _optional(attributes, "ovf:fileRef", disk.file or None)
    attributes["ovf:format"] = disk.format
    _optional(attributes, "ovf:populatedSize", disk.populated_size)
    return attributes


def _networks(out: XmlWriter, descriptor: Descriptor) -> None:
    if not descriptor.networks:
        return
    with out.element("NetworkSection"):
        out.leaf("Info", "The list of logical networks")
        for network in descriptor.networks:
            with out.element("Network", {"ovf:name": network.name}):
                out.leaf("Description", network.description)


def _options(out: XmlWriter, descriptor: Descriptor) -> None:
    if not descriptor.options:
        return
    with out.element("DeploymentOptionSection"):
        out.leaf("Info", "Sizes to choose from")
        for option in descriptor.options:
            attributes = {"ovf:id": option.id} | ({"ovf:default": "true"} if option.default else {})
            with out.element("Configuration", attributes):
                out.leaf("Label", option.label)
                out.leaf("Description", option.description)


def _operating_system(out: XmlWriter, descriptor: Descriptor) -> None:
    if not (descriptor.os_id or descriptor.os_type or descriptor.os_description):
        return
    attributes = {"ovf:id": str(descriptor.os_id)}
    _optional(attributes, "vmw:osType", descriptor.os_type or None)
    with out.element("OperatingSystemSection", attributes):
        out.leaf("Info", "The kind of installed guest operating system")
        if descriptor.os_description:
            out.leaf("Description", descriptor.os_description)


def _hardware(out: XmlWriter, descriptor: Descriptor) -> None:
    transport = {"ovf:transport": " ".join(descriptor.transports)} if descriptor.transports else {}
    with out.element("VirtualHardwareSection", transport):
        out.leaf("Info", "Virtual hardware requirements")
        if descriptor.virtual_system_types:
            with out.element("System"):
                out.leaf("vssd:ElementName", "Virtual Hardware Family")
                out.leaf("vssd:InstanceID", "0")
                out.leaf("vssd:VirtualSystemIdentifier", descriptor.name)
                out.leaf("vssd:VirtualSystemType", " ".join(descriptor.virtual_system_types))
        for item in descriptor.items:
            _item(out, item)
        _config(out, "vmw:Config", descriptor.config)
        _config(out, "vmw:ExtraConfig", descriptor.extra_config)


def _item(out: XmlWriter, item: OvfItem) -> None:
    attributes: dict[str, str] = {}
    _optional(attributes, "ovf:configuration", " ".join(item.options) or None)
    _optional(attributes, "ovf:required", None if item.required else "false")
    with out.element("Item", attributes):
        for name, value in sorted(_item_fields(item).items()):
            if value:
                out.leaf(f"rasd:{name}", value)
        if item.cores_per_socket is not None:
            out.leaf("vmw:CoresPerSocket", str(item.cores_per_socket), attributes={"ovf:required": "false"})
        _config(out, "vmw:Config", item.config)


def _item_fields(item: OvfItem) -> dict[str, str]:
    fields = {
        "Address": item.address,
        "AddressOnParent": item.address_on_parent,
        "Connection": item.connection,
        "Description": item.description,
        "ElementName": item.name,
        "HostResource": item.host_resource,
        "InstanceID": item.instance_id,
        "Parent": item.parent,
        "ResourceSubType": item.subtype,
        "ResourceType": str(item.resource_type),
    }
    if item.automatic_allocation is not None:
        fields["AutomaticAllocation"] = "true" if item.automatic_allocation else "false"
    amounts = {"VirtualQuantity": item.quantity, "Reservation": item.reservation, "Limit": item.limit}
    divisor = 1
    if item.resource_type == CPU:
        fields["AllocationUnits"] = "hertz * 10^6"
    elif item.resource_type == MEMORY:
        whole = all((amount or 0) % MEGABYTE == 0 for amount in amounts.values())
        divisor, fields["AllocationUnits"] = (MEGABYTE, "byte * 2^20") if whole else (1, "byte")
    for name, amount in amounts.items():
        if amount is not None:
            fields[name] = str(amount // divisor)
    if item.weight is not None:
        fields["Weight"] = str(item.weight)
    return fields


def _config(out: XmlWriter, tag: str, entries: tuple[OvfConfig, ...]) -> None:
    for entry in entries:
        required = {} if entry.required else {"ovf:required": "false"}
        out.leaf(tag, attributes={**required, "vmw:key": entry.key, "vmw:value": entry.value})


def _product(out: XmlWriter, product: OvfProduct) -> None:
    attributes: dict[str, str] = {}
    _optional(attributes, "ovf:class", product.class_id or None)
    _optional(attributes, "ovf:instance", product.instance_id or None)
    with out.element("ProductSection", attributes):
        out.leaf("Info", "Information about the installed software")
        for tag, text in (
            ("Product", product.product),
            ("Vendor", product.vendor),
            ("Version", product.version),
            ("FullVersion", product.full_version),
            ("ProductUrl", product.product_url),
            ("VendorUrl", product.vendor_url),
            ("AppUrl", product.app_url),
        ):
            if text:
                out.leaf(tag, text)
        category = ""
        for known in product.properties:
            if known.category != category:
                category = known.category
                out.leaf("Category", category)
            _property(out, known)


def _property(out: XmlWriter, known: OvfProperty) -> None:
    attributes = {"ovf:key": known.key, "ovf:type": known.type}
    _optional(attributes, "ovf:qualifiers", _qualifiers(known.qualifiers) or None)
    _optional(attributes, "ovf:userConfigurable", "true" if known.user_configurable else None)
    _optional(attributes, "ovf:value", known.default or None)
    _optional(attributes, "ovf:password", "true" if known.password else None)
    _optional(attributes, "vmw:qualifiers", known.qualifiers.vmw or None)
    with out.element("Property", attributes):
        if known.label:
            out.leaf("Label", known.label)
        if known.description:
            out.leaf("Description", known.description)
        for option, value in known.option_defaults:
            out.leaf("Value", attributes={"ovf:value": value, "ovf:configuration": option})


def _qualifiers(limits: Qualifiers) -> str:
    parts = [
        f"{name}({value})"
        for name, value in (
            ("MinLen", limits.min_length),
            ("MaxLen", limits.max_length),
            ("MinValue", limits.min_value),
            ("MaxValue", limits.max_value),
        )
        if value is not None
    ]
    if limits.value_map:
        quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in limits.value_map)
        parts.append("ValueMap{" + ",".join(quoted) + "}")
    return ", ".join(parts)


def _optional(attributes: dict[str, str], name: str, value: str | int | None) -> None:
    if value is not None:
        attributes[name] = str(value)
