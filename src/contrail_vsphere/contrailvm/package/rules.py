"""What a descriptor must say, beyond being well formed, for EAM to deploy it and for our manager to bring it up."""

from __future__ import annotations

import re
from typing import Final

from contrail_vsphere.contrailvm.package.values import MANAGER_PROPERTIES, NIC_ROLES, OPTIONAL_PROPERTIES, ROLE_KEY
from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.wire.ovf.descriptor import GUEST_INFO_TRANSPORT, Descriptor, Hardware

HARDWARE_VERSIONS: Final = range(8, 22)
"""``vmx-08`` (ESXi 5.0) to ``vmx-21`` (ESXi 8.0 U2): what vSphere up to 8.0 U3 runs."""
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def check_rules(descriptor: Descriptor, problems: list[str]) -> None:
    """Append a line to ``problems`` for each rule that does not hold."""

    def say(what: str, hint: str) -> None:
        problems.append(f"{what} ({hint})")

    if not VERSION.fullmatch(descriptor.version):
        say(
            f"the product's version is {descriptor.version!r}",
            "write ProductSection/Version: letters, digits and . _ + -",
        )
    if descriptor.eulas:
        say("there is an EulaSection, which EAM cannot accept for anybody", "remove it")
    if GUEST_INFO_TRANSPORT not in descriptor.transports:
        say("the guest is not given its OVF environment", f'set ovf:transport="{GUEST_INFO_TRANSPORT}"')
    if not descriptor.disks:
        say("there is no disk", "add a DiskSection")
    _hardware_version(descriptor, problems)
    _properties(descriptor, problems)
    for option in [option.id for option in descriptor.options] or [""]:
        under = f"under deployment option {option!r}: " if option else ""
        try:
            hardware = descriptor.hardware(option)
        except PackageError as error:
            problems.extend(error.problems)
            continue
        problems.extend(under + line for line in _hardware(descriptor, hardware))


def _hardware_version(descriptor: Descriptor, problems: list[str]) -> None:
    lowest, highest = HARDWARE_VERSIONS[0], HARDWARE_VERSIONS[-1]
    hint = f"use one of vmx-{lowest:02d} to vmx-{highest}"
    if not descriptor.virtual_system_types:
        problems.append(f"there is no virtual hardware version ({hint})")
        return
    # A list means "any of these"; one that fits is enough.
    versions = [re.fullmatch(r"vmx-([0-9]{1,3})", name) for name in descriptor.virtual_system_types]
    if not any(match and int(match[1]) in HARDWARE_VERSIONS for match in versions):
        problems.append(f"no hardware version of {' '.join(descriptor.virtual_system_types)!r} will do ({hint})")


def _properties(descriptor: Descriptor, problems: list[str]) -> None:
    known = {entry.id: entry for entry in descriptor.properties}
    for name in MANAGER_PROPERTIES:
        if name not in known:
            problems.append(f"the property {name!r} is missing (the ContrailVM Manager sets it; add it)")
    for name in (*MANAGER_PROPERTIES, *OPTIONAL_PROPERTIES):
        entry = known.get(name)
        if entry is not None and not entry.user_configurable:
            problems.append(f'the property {name!r} cannot be set (mark it ovf:userConfigurable="true")')
        if entry is not None and entry.type not in {"string", "password"}:
            problems.append(f"the property {name!r} is of type {entry.type} (make it a string)")
    for entry in descriptor.properties:
        if entry.required and entry.id not in MANAGER_PROPERTIES:
            problems.append(f"the property {entry.id!r} has no default that it takes (give it one: nobody will set it)")


def _hardware(descriptor: Descriptor, hardware: Hardware) -> list[str]:
    problems: list[str] = []
    if not 2 <= len(hardware.nics) <= 4:
        problems.append(f"there are {len(hardware.nics)} NICs (a ContrailVM has 2 to 4: {', '.join(NIC_ROLES)})")
    for nic in hardware.nics:
        if not nic.network:
            problems.append(f"NIC {nic.name!r} has no network (write rasd:Connection)")
        if nic.kind.lower() not in {"vmxnet3", "e1000", "e1000e"}:
            problems.append(f"NIC {nic.name!r} is of kind {nic.kind!r} (use VmxNet3)")
    units = [nic.unit for nic in hardware.nics]
    if len({*units}) != len(units) or None in units:
        problems.append("the NICs have no order (give each its own rasd:AddressOnParent, 7 and up)")
    roles = [entry.value for entry in descriptor.extra_config if entry.key.startswith(ROLE_KEY)]
    problems.extend(
        f"the NIC role {role!r} is not known or there twice (use each of {', '.join(NIC_ROLES)} once)"
        for role in sorted({role for role in roles if role not in NIC_ROLES or roles.count(role) > 1})
    )
    if not hardware.disks:
        problems.append("no disk is attached (add an Item with rasd:ResourceType 17)")
    controllers = {controller.instance_id for controller in hardware.controllers}
    problems.extend(
        f"disk {drive.name!r} hangs on no controller (set rasd:Parent to one's InstanceID)"
        for drive in hardware.disks
        if drive.controller not in controllers
    )
    if hardware.memory_mb_reserved > hardware.memory_mb:
        problems.append(
            f"{hardware.memory_mb_reserved} MB are reserved of {hardware.memory_mb} MB memory (lower rasd:Reservation)"
        )
    return problems
