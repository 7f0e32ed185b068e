"""IpPoolManager: ranges of addresses per datacenter, tied to networks, from which vApps and EsxAgents get theirs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call
from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object, merged
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.wire.soap.types import vim, vmodl

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as configured, and what was given from it."""

    datacenter: str
    config: Any
    """vim.vApp.IpPool; counters are filled in when it is read."""
    allocated: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(allocation id, 4 or 6) -> address."""

    def value(self) -> Any:
        """vim.vApp.IpPool with its counters."""
        counters = {}
        for version in (4, 6):
            used = sum(1 for _, family in self.allocated if family == version)
            size = sum(count for _, count in spans(self.config, version))
            counters[f"availableIpv{version}Addresses"] = min(size - used, 2**31 - 1)
            counters[f"allocatedIpv{version}Addresses"] = used
        return data_object(vim.vApp.IpPool, **{**self.config.__dict__, **counters})


def spans(config: Any, version: int) -> Iterator[tuple[Address, int]]:
    """(first address, number) of a pool's ranges, written as ``10.0.0.10#20, 10.0.0.50#1``."""
    part = config.ipv4Config if version == 4 else config.ipv6Config
    if part is None or not part.ipPoolEnabled:
        return
    for text in (part.range or "").split(","):
        first, _, count = text.strip().partition("#")
        if first:
            yield ipaddress.ip_address(first), int(count or 1)


@dataclass(slots=True, eq=False, kw_only=True)
class IpPoolManager(Entity):
    """Pools by their number."""

    wsdl: ClassVar[str] = "IpPoolManager"

    pools: Mapping[int, Pool] = field(default_factory=dict)
    last_id: int = 0

    @operation("QueryIpPools", privilege="System.View")
    def query(self, call: Call, dc: Any) -> list[Any]:
        """Those of one datacenter."""
        datacenter = found(self, dc, Datacenter)
        return [pool.value() for pool in self.pools.values() if pool.datacenter == datacenter.moid]

    @operation("CreateIpPool", privilege="Datacenter.IpPoolConfig")
    def create(self, call: Call, dc: Any, pool: Any) -> int:
        """The number of the new pool; names are unique in a datacenter, a network is in one pool."""
        datacenter = found(self, dc, Datacenter)
        number = self.last_id + 1
        made = data_object(vim.vApp.IpPool, **{**pool.__dict__, "id": number})
        self._check(datacenter, made)
        with self.world.commit(call.user) as tx:
            tx.set(self, pools={**self.pools, number: Pool(datacenter.moid, made)}, last_id=number)
        return number

    @operation("UpdateIpPool", privilege="Datacenter.IpPoolConfig")
    def update(self, call: Call, dc: Any, pool: Any) -> None:
        """What is set replaces what was."""
        datacenter = found(self, dc, Datacenter)
        old = self._pool(datacenter, pool.id)
        new = merged(old.config, pool)
        self._check(datacenter, new)
        self._put(call, pool.id, Pool(datacenter.moid, new, old.allocated))

    @operation("DestroyIpPool", privilege="Datacenter.IpPoolConfig")
    def destroy(self, call: Call, dc: Any, id: int, force: bool) -> None:
        """One from which addresses are taken only by force."""
        if self._pool(found(self, dc, Datacenter), id).allocated and not force:
            raise fault(vim.fault.InvalidState, "Addresses of the pool are in use.")
        with self.world.commit(call.user) as tx:
            tx.set(self, pools={number: pool for number, pool in self.pools.items() if number != id})

    @operation("AllocateIpv4Address", privilege="System.View")
    def allocate_ipv4(self, call: Call, dc: Any, poolId: int, allocationId: str) -> str:
        """The same address for the same id."""
        return self._allocate(call, dc, poolId, allocationId, 4)

    @operation("AllocateIpv6Address", privilege="System.View")
    def allocate_ipv6(self, call: Call, dc: Any, poolId: int, allocationId: str) -> str:
        return self._allocate(call, dc, poolId, allocationId, 6)

    @operation("ReleaseIpAllocation", privilege="System.View")
    def release(self, call: Call, dc: Any, poolId: int, allocationId: str) -> None:
        """Both addresses of the id; nothing when it has none."""
        datacenter = found(self, dc, Datacenter)
        pool = self._pool(datacenter, poolId)
        kept = {key: value for key, value in pool.allocated.items() if key[0] != allocationId}
        self._put(call, poolId, Pool(datacenter.moid, pool.config, kept))

    @operation("QueryIPAllocations", privilege="System.View")
    def query_allocations(self, call: Call, dc: Any, poolId: int, extensionKey: str) -> list[Any]:
        """Allocation ids begin with the key of the extension that made them."""
        pool = self._pool(found(self, dc, Datacenter), poolId)
        return [
            data_object(vim.IpPoolManager.IpAllocation, ipAddress=address, allocationId=owner)
            for (owner, _), address in pool.allocated.items()
            if owner.startswith(extensionKey)
        ]

    def _allocate(self, call: Call, dc: Any, number: int, owner: str, version: int) -> str:
        datacenter = found(self, dc, Datacenter)
        pool = self._pool(datacenter, number)
        if (owner, version) in pool.allocated:
            return pool.allocated[owner, version]
        taken = set(pool.allocated.values())
        for first, count in spans(pool.config, version):
            free = next((str(first + step) for step in range(count) if str(first + step) not in taken), None)
            if free is not None:
                self._put(call, number, Pool(datacenter.moid, pool.config, {**pool.allocated, (owner, version): free}))
                return free
        raise fault(vim.fault.InvalidState, f"IP pool {pool.config.name} has no free IPv{version} address.")

    def _pool(self, datacenter: Datacenter, number: int | None) -> Pool:
        pool = self.pools.get(number or 0)
        if pool is None or pool.datacenter != datacenter.moid:
            raise fault(vmodl.fault.InvalidArgument, f"There is no IP pool {number}.", invalidProperty="poolId")
        return pool

    def _put(self, call: Call, number: int, pool: Pool) -> None:
        with self.world.commit(call.user) as tx:
            tx.set(self, pools={**self.pools, number: pool})

    def _check(self, datacenter: Datacenter, config: Any) -> None:
        if not config.name:
            raise _invalid("name", "The pool needs a name.")
        for version in (4, 6):
            try:
                bad = any(first.version != version or count < 1 for first, count in spans(config, version))
            except ValueError:
                bad = True
            if bad:
                raise _invalid(f"ipv{version}Config.range", "The range is not of the form address#count.")
        tied = {item.network._moId for item in config.networkAssociation if item.network is not None}
        for number, other in self.pools.items():
            if number == config.id or other.datacenter != datacenter.moid:
                continue
            if other.config.name == config.name:
                raise _invalid("name", f"There is an IP pool {config.name}.")
            if tied & {item.network._moId for item in other.config.networkAssociation if item.network is not None}:
                raise _invalid("networkAssociation", f"A network belongs to IP pool {other.config.name}.")


def _invalid(name: str, message: str) -> Exception:
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty=name)
