"""Addresses: the subnets of a network, which of their addresses are taken, and the next one.

Rules and texts are those of the API server's address management, as observed: an asked address may lie outside of the
pools, an automatic one comes from the pools in order, from the bottom with ``addr_from_start`` and from the top
without; a freed address is the next to go. Who holds an address is remembered by network and prefix, not by the
subnet's uuid, so it survives an update that gives the subnet a new uuid.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from contrail_vsphere.simulator.contrail.answers import RefusedError, stumbled
from contrail_vsphere.simulator.contrail.store import ApiObject, Transaction
from contrail_vsphere.wire.contrail import errors

Address = IPv4Address | IPv6Address
IPAM_REFS = "network_ipam_refs"
NO_GATEWAY = "0.0.0.0"  # noqa: S104 - in the API, "this subnet has no gateway"


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a network, as far as addresses are concerned; numbers are addresses as integers."""

    uuid: str
    network: IPv4Network | IPv6Network
    prefix: str
    """The network as text."""
    gateway: int
    """-1 for none."""
    service: int
    """The DNS server's address."""
    pools: tuple[tuple[int, int], ...]
    """First and last address of each; one pool over everything if none are given."""
    from_start: bool
    reserved: frozenset[int]

    @property
    def family(self) -> str:
        """``v4`` or ``v6``."""
        return f"v{self.network.version}"

    def text(self, number: int) -> str:
        """An address of the subnet as text."""
        kind = IPv4Address if self.network.version == 4 else IPv6Address
        return str(kind(number))


@dataclass(slots=True)
class Taken:
    """Addresses of one subnet that are in use, and from where to look for a free one."""

    owners: dict[int, str] = field(default_factory=dict)
    """Address -> uuid of the instance-ip; empty for one taken by ``ip-alloc``."""
    position: int = 0
    """Every address before this one, in the order of allocation, is taken."""


class Ipam:
    """Addresses of all networks."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], Taken] = {}
        self._subnets: dict[str, tuple[Mapping[str, Any], tuple[Subnet, ...]]] = {}

    def subnets(self, network: ApiObject) -> tuple[Subnet, ...]:
        """The subnets of a network, in the order of its references."""
        references = network.references.get(IPAM_REFS, {})
        known = self._subnets.get(network.uuid)
        if known is not None and known[0] is references:
            return known[1]
        made = tuple(read_subnet(item) for item in subnet_items(references))
        self._subnets[network.uuid] = (references, made)
        return made

    def used(self, network: ApiObject, subnet: Subnet) -> Mapping[int, str]:
        """Address -> uuid of its instance-ip."""
        return self._of(network, subnet).owners

    def allocate(
        self, tx: Transaction, network: ApiObject, *, owner: str, family: str = "v4", subnet_uuid: str = ""
    ) -> tuple[str, str]:
        """The next free address and its subnet's uuid. RefusedError if there is none."""
        found = self.subnets(network)
        if subnet_uuid:
            found = tuple(subnet for subnet in found if subnet.uuid == subnet_uuid)
            if not found:
                raise RefusedError(400, errors.invalid_subnet(network.fq_name, subnet_uuid))
        elif not found:
            raise RefusedError(400, f"Virtual-Network({list(network.fq_name)}) has no defined subnets")
        for subnet in found:
            if subnet.family != family and not subnet_uuid:
                continue
            number = self._next(network, subnet)
            if number is not None:
                self._take(tx, network, subnet, number, owner)
                return subnet.text(number), subnet.uuid
        raise RefusedError(400, errors.exhausted(network.fq_name, [subnet_uuid] if subnet_uuid else []))

    def reserve(
        self, tx: Transaction, network: ApiObject, text: str, *, owner: str, for_vm: bool, subnet_uuid: str = ""
    ) -> str:
        """Take this very address; returns its subnet's uuid. RefusedError if it cannot be had."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise stumbled() from None
        subnets = self.subnets(network)
        if not subnets:
            raise RefusedError(400, f"Virtual-Network({list(network.fq_name)}) has no defined subnets")
        if subnet_uuid and not any(subnet.uuid == subnet_uuid for subnet in subnets):
            raise RefusedError(400, errors.invalid_subnet(network.fq_name, subnet_uuid))
        for subnet in subnets:
            if address not in subnet.network or (subnet_uuid and subnet.uuid != subnet_uuid):
                continue
            number = int(address)
            if number == subnet.gateway:
                if for_vm:
                    raise RefusedError(400, "Gateway IP cannot be used by VM port")
            elif number in subnet.reserved:
                raise RefusedError(409, errors.ADDRESS_IN_USE)
            if number in self._of(network, subnet).owners:
                raise RefusedError(409, errors.ADDRESS_IN_USE)
            self._take(tx, network, subnet, number, owner)
            return subnet.uuid
        raise RefusedError(400, errors.exhausted(network.fq_name))

    def free(self, tx: Transaction, network: ApiObject, text: str) -> None:
        """Give an address back; nothing happens if it was not taken."""
        address = ipaddress.ip_address(text)
        for subnet in self.subnets(network):
            taken = self._of(network, subnet)
            number = int(address)
            if address not in subnet.network or number not in taken.owners:
                continue
            owner, before = taken.owners.pop(number), taken.position
            taken.position = min(before, _position(subnet, number))

            def undo(taken: Taken = taken, number: int = number, owner: str = owner, before: int = before) -> None:
                taken.owners[number] = owner
                taken.position = before

            tx.undo(undo)
            return

    def check_edit(self, network: ApiObject, references: Mapping[str, Any]) -> None:
        """Whether the network may have these ipam references now. RefusedError if not."""
        after = {subnet.prefix: subnet for subnet in map(read_subnet, subnet_items(references))}
        for before in self.subnets(network):
            kept = after.get(before.prefix)
            if kept is None:
                owners = self._of(network, before).owners
                if owners:
                    raise RefusedError(409, errors.subnet_in_use(before.text(min(owners))))
            elif kept.gateway != before.gateway:
                raise stumbled(errors.invalid_subnet(network.fq_name, before.prefix))
            elif not _contains_all(kept, before):
                reason = "Allocation pool delete is not allowed"
                raise stumbled(errors.invalid_subnet(network.fq_name, before.prefix, reason))

    def forget(self, tx: Transaction, network: ApiObject) -> None:
        """The network is gone."""
        for key in [key for key in self._taken if key[0] == network.uuid]:
            taken = self._taken.pop(key)
            tx.undo(lambda key=key, taken=taken: self._taken.__setitem__(key, taken))  # type: ignore[misc]

    def _of(self, network: ApiObject, subnet: Subnet) -> Taken:
        return self._taken.setdefault((network.uuid, subnet.prefix), Taken())

    def _take(self, tx: Transaction, network: ApiObject, subnet: Subnet, number: int, owner: str) -> None:
        owners = self._of(network, subnet).owners
        owners[number] = owner
        tx.undo(lambda: owners.__delitem__(number))

    def _next(self, network: ApiObject, subnet: Subnet) -> int | None:
        taken = self._of(network, subnet)
        for position, number in _order(subnet, taken.position):
            if number not in taken.owners and number not in subnet.reserved and number != subnet.gateway:
                taken.position = position
                return number
        return None


def subnet_items(references: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The ``IpamSubnetType`` values in ipam references."""
    for attribute in references.values():
        yield from (attribute or {}).get("ipam_subnets") or []


def read_subnet(item: Mapping[str, Any]) -> Subnet:
    """A stored (normalised) subnet."""
    network = ipaddress.ip_network(f"{item['subnet']['ip_prefix']}/{item['subnet']['ip_prefix_len']}")
    given = item.get("allocation_pools") or []
    first, last = int(network[0]), int(network[-1])
    pools = tuple((int(ipaddress.ip_address(pool["start"])), int(ipaddress.ip_address(pool["end"]))) for pool in given)
    gateway_text, service_text = item.get("default_gateway"), item.get("dns_server_address")
    gateway = -1 if gateway_text in {None, NO_GATEWAY} else int(ipaddress.ip_address(str(gateway_text)))
    service = int(ipaddress.ip_address(str(service_text))) if service_text else -1
    reserved = {first, last}
    if not pools or any(low <= service <= high for low, high in pools):
        reserved.add(service)
    return Subnet(
        uuid=str(item.get("subnet_uuid") or ""),
        network=network,
        prefix=str(network),
        gateway=gateway,
        service=service,
        pools=pools or ((first, last),),
        from_start=bool(item.get("addr_from_start")),
        reserved=frozenset(reserved),
    )


def _order(subnet: Subnet, start: int) -> Iterator[tuple[int, int]]:
    """Position and address of everything that may be allocated, from a position on."""
    offset = 0
    for low, high in subnet.pools:
        size = high - low + 1
        for index in range(max(0, start - offset), size):
            yield offset + index, (low + index if subnet.from_start else high - index)
        offset += size


def _position(subnet: Subnet, number: int) -> int:
    """Where an address stands in that order; past the end for one that is in no pool."""
    offset = 0
    for low, high in subnet.pools:
        if low <= number <= high:
            return offset + (number - low if subnet.from_start else high - number)
        offset += high - low + 1
    return offset


def _contains_all(kept: Subnet, before: Subnet) -> bool:
    """Pools may be added, not changed or removed."""
    whole = ((int(before.network[0]), int(before.network[-1])),)
    return set(before.pools) <= set(kept.pools) or (before.pools == whole and kept.pools == whole)
