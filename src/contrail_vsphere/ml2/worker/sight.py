"""What vCenter has, as a worker judges it: a view over the inventory cache, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from contrail_vsphere.ml2.worker.desired import WantedPort
from contrail_vsphere.ml2.worker.plan import GroupSight, read_mark
from contrail_vsphere.model.ids import DvsId, NetworkId, VmId
from contrail_vsphere.model.inventory import Dvs, Network, VirtualMachine

BLOB = "vmware-dvs.segment"


@dataclass(frozen=True, slots=True)
class Card:
    """A VM's card on a port group of ours."""

    vm: VmId
    mac: str
    dvs: DvsId
    port_key: str
    group: NetworkId
    network: str
    """The Neutron network that the port group stands for."""
    connected: bool


class Sight:
    """Of one moment: make a new one for each pass."""

    def __init__(
        self, *, cloud: str, dvss: Collection[Dvs], networks: Collection[Network], vms: Collection[VirtualMachine]
    ) -> None:
        self.groups: tuple[GroupSight, ...] = tuple(
            GroupSight(network, network.dvs, mark)
            for network in networks
            if network.dvs is not None and (mark := read_mark(network.blob(BLOB))) is not None and mark.cloud == cloud
        )
        self._dvss = dvss
        self._by_group = {sight.group.id: sight for sight in self.groups}
        self.cards: Mapping[str, tuple[Card, ...]] = self._index(vms)
        """By MAC address."""

    def switches(self, name: str) -> tuple[Dvs, ...]:
        """Distributed switches with that name; more than one only where folders or datacenters repeat it."""
        return tuple(dvs for dvs in self._dvss if dvs.name == name)

    def card_of(self, port: WantedPort) -> Card | None:
        """The card that is this port's: its MAC address, on a port group of its network."""
        found = [card for card in self.cards.get(port.mac, ()) if card.network == port.network_id and card.port_key]
        return min(found, key=lambda card: (not card.connected, card.port_key), default=None)

    def all_cards(self) -> Iterator[Card]:
        """Every card on a port group of ours."""
        for cards in self.cards.values():
            yield from cards

    def _index(self, vms: Collection[VirtualMachine]) -> dict[str, tuple[Card, ...]]:
        found: dict[str, tuple[Card, ...]] = {}
        for vm in vms:
            for nic in vm.nics:
                sight = self._by_group.get(nic.network) if nic.network is not None else None
                if sight is None:
                    continue
                mac = nic.mac.lower()
                card = Card(vm.id, mac, sight.dvs, nic.port_key, sight.group.id, sight.mark.network, nic.connected)
                found[mac] = (*found.get(mac, ()), card)
        return found
