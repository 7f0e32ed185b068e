"""Which object in Contrail stands for which VM, network card and address.

Ids are derived from what vCenter never changes (instance UUID and device key), so that a rename, a new MAC address or
a cloned one never makes another object, and two plugins that act on the same VM make the same one. ``cvm`` derives them
as contrail-vcenter-manager does, for estates where it still runs on some hosts. An object that a predecessor made keeps
its own id: the ledger remembers which. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import NAMESPACE_DNS, UUID, uuid3, uuid5

from contrail_vsphere.model.contrail import ContrailVm, Vmi
from contrail_vsphere.model.ids import IipId, VirtualMachineId, VmiId

CREATOR = "contrail-vsphere"
"""``id_perms.creator`` of what we make: the mark without which nothing is changed or deleted."""
PREDECESSORS = ("vcenter-plugin", "vcenter-manager")
"""Creators whose objects may be adopted: the Java plugin and contrail-vcenter-manager."""
NAMESPACE = UUID("5f0d7e0c-6a86-5d0e-9a51-0d6f3c0b7c11")
"""Of our uuid5 names; changing it would make every port anew."""

Scheme = Literal["native", "cvm"]


class PortId(NamedTuple):
    """One network card: the VM's instance UUID and the card's device key."""

    vm: UUID
    nic: int

    def __str__(self) -> str:
        """``<instance uuid>/<device key>``, as in the journal."""
        return f"{self.vm}/{self.nic}"

    @classmethod
    def parse(cls, text: str) -> PortId:
        """ValueError if it is not what ``str`` gives."""
        vm, _, nic = text.partition("/")
        return cls(UUID(vm), int(nic))

    @property
    def number(self) -> int:
        """Itself as one number, where there are many of them."""
        return self.vm.int << 32 | self.nic & 0xFFFFFFFF

    @classmethod
    def numbered(cls, number: int) -> PortId:
        """The one that has that number; device keys are xsd:int."""
        nic = number & 0xFFFFFFFF
        return cls(UUID(int=number >> 32), nic - ((nic & 0x80000000) << 1))


@dataclass(frozen=True, slots=True)
class Identity:
    """The rules of one vCenter; ``vcenter`` is its instance UUID."""

    vcenter: UUID
    scheme: Scheme = "native"

    def vm(self, instance: UUID) -> VirtualMachineId:
        """The VM is its instance UUID, as every predecessor has it."""
        return VirtualMachineId(instance)

    def vmi(self, port: PortId, mac: str) -> VmiId:
        """The interface of a card that has none yet."""
        if self.scheme == "cvm":
            return VmiId(uuid3(NAMESPACE_DNS, mac))
        return VmiId(uuid5(NAMESPACE, f"{self.vcenter}|{port.vm}|{port.nic}"))

    def iip(self, vmi: UUID, number: int, *, network: str = "", vm: str = "", shared: bool = False) -> IipId:
        """Address ``number`` (0: the first IPv4, 1: the first IPv6, ...) of an interface.

        ``shared``: by its names another interface has, or will have, the same id; this one gets one of its own.
        """
        if self.scheme == "cvm" and number == 0 and not shared:
            return IipId(uuid3(NAMESPACE_DNS, f"ip-{network}-{vm}"))
        return IipId(uuid5(NAMESPACE, f"{vmi}|{number}"))


def is_ours(value: ContrailVm | Vmi, identity: Identity) -> bool:
    """Whether it bears the mark of this vCenter's plugin, which a predecessor's object gets when it is taken over."""
    made = value.creator == CREATOR or value.creator in PREDECESSORS
    return made and value.annotations.get("vcenter") == str(identity.vcenter)


def may_touch(creator: str, *, adopted: bool = False) -> bool:
    """Whether an object with that creator may be changed or deleted; ``adopted``: predecessors' objects count."""
    return creator == CREATOR or (adopted and creator in PREDECESSORS)
