"""Which VLAN a port gets: unique on its host always, unique in its whole cluster while there are enough.

The table holds no I/O and no clock; it is rebuilt from the distributed switches and the ledger at every start, before
the first allocation. A claim is held per host: during a move a port holds one on either. A VLAN that was given up rests
for a while, so that a late frame never meets a new owner; who comes back meanwhile has it again. Times are seconds of
any one clock, handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from contrail_vsphere.model.errors import OutOfResources
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.vcenter_plugin.books.few import Few
from contrail_vsphere.vcenter_plugin.identity import PortId

LOWEST, HIGHEST = 1, 4094
"""0 is "no VLAN", 4095 is "all" to ESXi and not valid on a port: VlanIdSpec."""
QUARANTINE = 60.0
"""Seconds that a VLAN rests on its host after its port was unplugged."""


_ALL = (1 << HIGHEST + 1) - (1 << LOWEST)
"""Sets of VLANs are integers, bit n for VLAN n: the union of a cluster of 64 hosts takes microseconds."""


@dataclass(slots=True)
class _Place:
    """VLANs of one host."""

    owners: dict[int, int] = field(default_factory=dict)
    """VLAN -> number of the port that holds it."""
    vlans: dict[int, int] = field(default_factory=dict)
    """The other way round."""
    used: int = 0
    """The keys of ``owners``, as bits."""
    resting: dict[int, float] = field(default_factory=dict)
    """VLAN -> when it may be used again; in the order they were given up."""
    tired: int = 0
    """The keys of ``resting``, as bits."""
    former: dict[int, int] = field(default_factory=dict)
    """Resting VLAN -> number of the port that gave it up, where that is known."""
    reserved: int = 0

    @property
    def taken(self) -> int:
        """What cannot be given out here now."""
        return self.used | self.tired | self.reserved


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of one host; ``usable`` counts what no reservation forbids."""

    usable: int
    used: int
    resting: int

    @property
    def free(self) -> int:
        """What could be given out now."""
        return self.usable - self.used - self.resting


class VlanTable:
    """Claims of ports on the VLANs of hosts. ``reserved`` are never given out on any host."""

    def __init__(self, *, reserved: Collection[int] = (), quarantine: float = QUARANTINE) -> None:
        self._reserved = _bits(reserved)
        self._quarantine = quarantine
        self._places: dict[HostId, _Place] = {}
        self._hosts: Few[int, HostId] = Few()
        """Number of a port -> hosts where it holds a VLAN."""
        self.on_rest: Callable[[HostId, int], None] = lambda _host, _vlan: None
        """Hears of every VLAN that begins to rest."""

    # -- reading ------------------------------------------------------------------------------------------------

    def of(self, port: PortId) -> Mapping[HostId, int]:
        """What a port holds, by host."""
        return {host: self._places[host].vlans[port.number] for host in self._hosts.of(port.number)}

    def owner(self, host: HostId, vlan: int) -> PortId | None:
        """Who holds a VLAN on a host."""
        place = self._places.get(host)
        number = place.owners.get(vlan) if place is not None else None
        return PortId.numbered(number) if number is not None else None

    def ports(self) -> Iterator[PortId]:
        """Everyone who holds something."""
        return (PortId.numbered(number) for number in tuple(self._hosts))

    def capacity(self, host: HostId, *, at: float) -> Capacity:
        """How full a host is."""
        place = self._place(host, at)
        forbidden = self._reserved | place.reserved
        occupied = (place.used & ~forbidden).bit_count()
        return Capacity((_ALL & ~forbidden).bit_count(), occupied, (place.tired & ~forbidden).bit_count())

    # -- changing -----------------------------------------------------------------------------------------------

    def reserve(self, host: HostId, vlans: Iterable[int]) -> None:
        """These are somebody else's on the host (port groups that are not ours); replaces what was said before."""
        self._places.setdefault(host, _Place()).reserved = _bits(vlans)

    def rest(self, host: HostId, vlan: int, *, until: float) -> None:
        """It was given up before this process began; to be told in the order of ``until``."""
        place = self._places.setdefault(host, _Place())
        if LOWEST <= vlan <= HIGHEST and vlan not in place.owners:
            place.resting[vlan] = until
            place.tired |= 1 << vlan

    def observe(self, port: PortId, host: HostId, vlan: int) -> bool:
        """The port was seen with that VLAN; False if it is not valid, or another port holds it there.

        Reservations do not count: what is in use is in use.
        """
        if not LOWEST <= vlan <= HIGHEST:
            return False
        place = self._places.setdefault(host, _Place())
        holder = place.owners.get(vlan)
        if holder is not None:
            return holder == port.number
        if port.number in place.vlans:
            return False  # it holds another VLAN there already: what was seen is drift
        self._claim(port, host, vlan)
        return True

    def allocate(
        self,
        port: PortId,
        host: HostId,
        *,
        domain: Collection[HostId] = (),
        prefer: int | None = None,
        keep: bool = False,
        shown: Mapping[int, Collection[HostId | None]] = MappingProxyType({}),
        at: float,
    ) -> int:
        """The port's VLAN on the host: the one it holds, else ``prefer``, else a new one.

        ``domain``: hosts it may move to; a VLAN that is free on all of them is chosen first, then one that merely rests
        on others, then one that is free wherever the port holds another. ``keep``: ``prefer`` is taken although another
        host of the domain uses it, because a change would interrupt the port. ``shown``: VLANs that other ports show
        without holding them, and where: they are the last to be given out, and not kept beside them. OutOfResources
        when the host has none left.
        """
        place = self._place(host, at)
        held = place.vlans.get(port.number)
        if held is not None:
            return held
        elsewhere = [self._place(each, at) for each in domain if each != host and each in self._places]
        alone = keep or all(prefer not in each.owners or each.owners[prefer] == port.number for each in elsewhere)
        seen = shown.get(prefer, ()) if prefer is not None else ()
        alone = alone and (not seen or (keep and host not in seen and None not in seen))
        if prefer is not None and alone and self._is_free(place, prefer, port):
            self._claim(port, host, prefer)
            return prefer
        taken = self._reserved | place.taken
        widely, nearby, used = taken, taken, 0
        for other in elsewhere:
            widely |= other.taken
            used |= other.used
        for each in self._hosts.of(port.number):
            nearby |= self._place(each, at).taken
        avoided = _bits(shown)
        for forbidden in (widely | avoided, nearby | used | avoided, nearby | avoided, taken | avoided, taken):
            free = _ALL & ~forbidden
            if free:
                lowest = (free & -free).bit_length() - 1
                self._claim(port, host, lowest)
                return lowest
        raise OutOfResources(
            f"no VLAN is left on {host}: {len(place.owners)} in use, {len(place.resting)} resting",
            hint="move VMs to other hosts, or release reserved VLANs in [plugin]",
        )

    def renumber(self, port: PortId, host: HostId, vlan: int, *, at: float) -> bool:
        """Exchange what the port holds on the host for this VLAN; False if that is not free there."""
        if not self._is_free(self._place(host, at), vlan) or self.free(port, host, at=at) is None:
            return False
        self._claim(port, host, vlan)
        return True

    def free(self, port: PortId, host: HostId, *, at: float) -> int | None:
        """The port gives its VLAN on the host up, and it rests; returns it, None if it held none."""
        place = self._places.get(host)
        vlan = place.vlans.pop(port.number, None) if place is not None else None
        if place is None or vlan is None:
            return None
        self._hosts.note(port.number, host, add=False)
        del place.owners[vlan]
        place.used &= ~(1 << vlan)
        if self._quarantine > 0:
            place.former[vlan] = port.number
            place.resting[vlan] = at + self._quarantine
            place.tired |= 1 << vlan
            self.on_rest(host, vlan)
        return vlan

    # -- parts --------------------------------------------------------------------------------------------------

    def _claim(self, port: PortId, host: HostId, vlan: int) -> None:
        place = self._places.setdefault(host, _Place())
        place.resting.pop(vlan, None)
        place.former.pop(vlan, None)
        place.tired &= ~(1 << vlan)
        number = port.number
        place.owners[vlan], place.vlans[number] = number, vlan
        place.used |= 1 << vlan
        self._hosts.note(number, host, add=True)

    def _is_free(self, place: _Place, vlan: int, port: PortId | None = None) -> bool:
        """``port``: it may have back what it gave up itself."""
        if not LOWEST <= vlan <= HIGHEST:
            return False
        own = port is not None and place.former.get(vlan) == port.number
        taken = self._reserved | place.reserved | place.used | (0 if own else place.tired)
        return not taken >> vlan & 1

    def _place(self, host: HostId, at: float) -> _Place:
        """The host's, with what has rested long enough set free."""
        place = self._places.setdefault(host, _Place())
        while place.resting:
            vlan, until = next(iter(place.resting.items()))
            if until > at:
                break
            del place.resting[vlan]
            place.former.pop(vlan, None)
            place.tired &= ~(1 << vlan)
        return place


def _bits(vlans: Iterable[int]) -> int:
    found = 0
    for vlan in vlans:
        if LOWEST <= vlan <= HIGHEST:
            found |= 1 << vlan
    return found
