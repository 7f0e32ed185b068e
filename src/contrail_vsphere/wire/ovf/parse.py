"""Bytes to :class:`Descriptor`, for descriptors from anywhere.

A descriptor is a stranger's text: no document type, no entities, bounded size and depth. Each section is read for
itself and complaints are collected, so that the author of a package hears of everything that is wrong at once, each
time with the path of the element. Sections that must be understood (``ovf:required``, true by default) and are not make
the descriptor unusable, as DSP0243 5.2 has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.envelope import (
    STREAM_OPTIMIZED,
    DeploymentOption,
    Descriptor,
    OvfDisk,
    OvfFile,
    OvfNetwork,
)
from contrail_vsphere.wire.ovf.parse_items import parse_config, parse_hardware_items
from contrail_vsphere.wire.ovf.parse_product import parse_product
from contrail_vsphere.wire.ovf.properties import OvfProduct
from contrail_vsphere.wire.ovf.units import multiplier
from contrail_vsphere.wire.ovf.xml import OVF2_NS, XML_NS, Node, Strings, number, read

MAX_DESCRIPTOR: Final = 4 << 20
"""Bytes; vSphere's own exports stay far below."""

_ENVELOPE_SECTIONS: Final = frozenset(
    {"References", "DiskSection", "NetworkSection", "DeploymentOptionSection", "VirtualSystem", "Strings"}
)
_SYSTEM_SECTIONS: Final = frozenset(
    {
        "Info",
        "Name",
        "OperatingSystemSection",
        "VirtualHardwareSection",
        "ProductSection",
        "AnnotationSection",
        "EulaSection",
        "InstallSection",
    }
)


def parse(data: bytes, *, limit: int = MAX_DESCRIPTOR) -> Descriptor:
    """The descriptor in ``data``; PackageError, with every problem found, where it cannot be used."""
    root = read(data, limit=limit, what="the OVF descriptor")
    if root.name != "Envelope":
        if root.element.tag == f"{{{OVF2_NS}}}Envelope":
            raise PackageError("the descriptor is OVF 2, which vSphere does not import", hint="export it as OVF 1.1")
        raise PackageError(f"the root element is {root.name}, not an OVF Envelope", hint="is this an OVF descriptor?")
    return _Parser(root).parse()


class _Parser:
    """Reads one envelope, section by section."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.problems: list[str] = []
        self.strings = Strings({})

    def parse(self) -> Descriptor:
        """The descriptor, or every problem in one PackageError."""
        descriptor = Descriptor(name="", id="")
        with self._collect():
            self.strings = _strings(self.root)
        self._unknown_sections(self.root, _ENVELOPE_SECTIONS)
        for section in (self._references, self._disks, self._networks, self._options, self._system):
            with self._collect():
                descriptor = section(descriptor)
        if not self.problems:
            self._cross_references(descriptor)
        if self.problems:
            raise PackageError.of("the OVF descriptor", self.problems)
        return descriptor

    @contextmanager
    def _collect(self) -> Iterator[None]:
        try:
            yield
        except PackageError as error:
            self.problems.extend(error.problems)

    def _complain(self, error: PackageError) -> None:
        self.problems.extend(error.problems)

    def _unknown_sections(self, parent: Node, known: frozenset[str]) -> None:
        for child in parent.children():
            if child.name == "VirtualSystemCollection":
                self._complain(child.error("more than one VM in a package", hint="package one VirtualSystem"))
            elif child.name not in known and not child.name.startswith("vmw:"):
                with self._collect():
                    if child.flag("ovf:required", default=True):
                        raise child.error("section is not understood", hint='remove it or mark it ovf:required="false"')

    def _references(self, so_far: Descriptor) -> Descriptor:
        files: list[OvfFile] = []
        section = self.root.child("References")
        for node in section.children("File") if section is not None else []:
            with self._collect():
                file = OvfFile(
                    id=node.need_attribute("ovf:id"),
                    href=node.need_attribute("ovf:href"),
                    size=_optional_number(node, "ovf:size"),
                    compression=node.attribute("ovf:compression"),
                    chunk_size=_optional_number(node, "ovf:chunkSize"),
                )
                if any(file.id == other.id for other in files):
                    raise node.error(f"file id {file.id!r} is taken", hint="give every File its own id")
                files.append(file)
        return replace(so_far, files=tuple(files))

    def _disks(self, so_far: Descriptor) -> Descriptor:
        disks: list[OvfDisk] = []
        section = self.root.child("DiskSection")
        for node in section.children("Disk") if section is not None else []:
            with self._collect():
                disk = _disk(node)
                if any(disk.id == other.id for other in disks):
                    raise node.error(f"disk id {disk.id!r} is taken", hint="give every Disk its own diskId")
                if disk.file and all(disk.file != file.id for file in so_far.files):
                    raise node.error(f"fileRef {disk.file!r} is not in References", hint="add the File or correct it")
                disks.append(disk)
        return replace(so_far, disks=tuple(disks))

    def _networks(self, so_far: Descriptor) -> Descriptor:
        networks: list[OvfNetwork] = []
        section = self.root.child("NetworkSection")
        for node in section.children("Network") if section is not None else []:
            with self._collect():
                name = node.need_attribute("ovf:name")
                if any(name == other.name for other in networks):
                    raise node.error(f"network {name!r} is there twice", hint="name every network once")
                networks.append(OvfNetwork(name=name, description=self.strings.of(node.child("Description"))))
        return replace(so_far, networks=tuple(networks))

    def _options(self, so_far: Descriptor) -> Descriptor:
        options: list[DeploymentOption] = []
        section = self.root.child("DeploymentOptionSection")
        for node in section.children("Configuration") if section is not None else []:
            with self._collect():
                option = DeploymentOption(
                    id=node.need_attribute("ovf:id"),
                    label=self.strings.of(node.need("Label")),
                    description=self.strings.of(node.child("Description")),
                    default=node.flag("ovf:default", default=False),
                )
                if any(option.id == other.id for other in options):
                    raise node.error(f"option {option.id!r} is there twice", hint="give every Configuration its own id")
                if option.default and any(other.default for other in options):
                    raise node.error("a second default option", hint="mark one Configuration as default")
                options.append(option)
        return replace(so_far, options=tuple(options))

    def _system(self, so_far: Descriptor) -> Descriptor:
        system = self.root.need("VirtualSystem")
        self._unknown_sections(system, _SYSTEM_SECTIONS)
        known = replace(so_far, id=system.need_attribute("ovf:id"))
        known = replace(known, name=self.strings.of(system.child("Name")) or known.id)
        with self._collect():
            known = self._operating_system(system, known)
        with self._collect():
            known = self._hardware(system, known)
        products: list[OvfProduct] = []
        for node in system.children("ProductSection"):
            with self._collect():
                products.append(parse_product(node, self.strings, known.options))
        annotations = [self.strings.of(node.child("Annotation")) for node in system.children("AnnotationSection")]
        return replace(
            known,
            products=tuple(products),
            annotation="\n".join(annotations),
            eulas=tuple(self.strings.of(node.child("License")) for node in system.children("EulaSection")),
        )

    def _operating_system(self, system: Node, so_far: Descriptor) -> Descriptor:
        section = system.child("OperatingSystemSection")
        if section is None:
            return so_far
        return replace(
            so_far,
            os_id=number(section, "ovf:id", section.need_attribute("ovf:id")),
            os_type=section.attribute("vmw:osType"),
            os_description=self.strings.of(section.child("Description")),
        )

    def _hardware(self, system: Node, so_far: Descriptor) -> Descriptor:
        section = system.need("VirtualHardwareSection")
        types = ""
        if (settings := section.child("System")) is not None:
            types = settings.child_text("vssd:VirtualSystemType")
        known = replace(
            so_far,
            transports=tuple(section.attribute("ovf:transport").split()),
            virtual_system_types=tuple(types.split()),
            config=parse_config(section, "vmw:Config"),
            extra_config=parse_config(section, "vmw:ExtraConfig"),
        )
        known = replace(known, items=parse_hardware_items(section))
        for option in [option.id for option in known.options] or [""]:
            with self._collect():
                known.hardware(option)
        return known

    def _cross_references(self, found: Descriptor) -> None:
        networks = {network.name for network in found.networks}
        disks = {disk.id for disk in found.disks}
        options = {option.id for option in found.options}
        instances = {item.instance_id for item in found.items}
        for item in found.items:
            where = f"Item {item.instance_id} ({item.name})"
            if item.connection and item.connection not in networks:
                self._say(
                    f"{where}: network {item.connection!r} is not in NetworkSection", "add the Network or correct it"
                )
            if item.parent and item.parent not in instances:
                self._say(f"{where}: parent {item.parent} is no Item", "name the InstanceID of its controller")
            kind, _, disk = item.host_resource.removeprefix("ovf:").lstrip("/").partition("/")
            if item.host_resource and kind == "disk" and disk not in disks:
                self._say(f"{where}: disk {disk!r} is not in DiskSection", "add the Disk or correct rasd:HostResource")
            for option in item.options:
                if option not in options:
                    self._say(f"{where}: there is no deployment option {option!r}", "correct ovf:configuration")
        ids = [known.id for known in found.properties]
        for twice in sorted({known for known in ids if ids.count(known) > 1}):
            self._say(f"property {twice!r} is there twice", "give each its own key, class or instance")

    def _say(self, what: str, hint: str) -> None:
        self._complain(PackageError(what, hint=hint))


def _strings(root: Node) -> Strings:
    """The message bundles inside the document; English or unmarked ones win."""
    texts: dict[str, str] = {}
    for bundle in root.children("Strings"):
        language = bundle.element.get(f"{{{XML_NS}}}lang", "")
        for message in bundle.children("Msg"):
            key = message.need_attribute("ovf:msgid")
            if key not in texts or language == "" or language.lower().startswith("en"):
                texts[key] = message.text
    return Strings(texts)


def _disk(node: Node) -> OvfDisk:
    units = node.attribute("ovf:capacityAllocationUnits")
    factor = multiplier(units, 1)
    if factor is None:
        raise node.error(f"capacityAllocationUnits {units!r} is not known", hint='write such as "byte * 2^30"')
    capacity = node.need_attribute("ovf:capacity")
    if re.fullmatch(r"\$\{.*\}", capacity):
        raise node.error("the capacity depends on a property, which EAM cannot set", hint="write a number")
    return OvfDisk(
        id=node.need_attribute("ovf:diskId"),
        file=node.attribute("ovf:fileRef"),
        capacity=number(node, "ovf:capacity", capacity) * factor,
        format=node.attribute("ovf:format") or STREAM_OPTIMIZED,
        populated_size=_optional_number(node, "ovf:populatedSize"),
    )


def _optional_number(node: Node, name: str) -> int | None:
    value = node.attribute(name)
    return number(node, name, value) if value else None
