"""DVPorts of a pass: which they are, what they are like, and what Neutron wants of them done.

What the worker remembers of a port is enough to write to it: vCenter refuses a write that goes by a version the port no
longer has, and then the port is read and tried once more. Neutron is told that a port is ACTIVE only by what was read
or written in the same pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.apply import Applier, Outcome
from contrail_vsphere.ml2.worker.desired import Wanted
from contrail_vsphere.ml2.worker.plan import ClosePort, EditPort, PortAction, Rules, SetStatus, plan_ports
from contrail_vsphere.ml2.worker.port_memory import RememberedPorts, Where
from contrail_vsphere.ml2.worker.sight import Sight
from contrail_vsphere.model.errors import Conflict, NotFound, NotReadyYet
from contrail_vsphere.model.traffic_filter import FilteredPort


@dataclass(frozen=True, slots=True)
class Wires:
    """What is to be done with the DVPorts of some Neutron ports."""

    actions: tuple[PortAction, ...]
    connected: Mapping[str, FilteredPort]
    """Neutron port id -> its DVPort."""
    recalled: frozenset[Where]
    """DVPorts that were not read for this."""
    at_odds: Mapping[str, Where]
    """Neutron port id -> the DVPort that has its card by vCenter's updates, and that bears another or none."""

    def of(self, port_id: str) -> set[Where]:
        """The DVPort that the Neutron port is on, or seems to be."""
        port, doubtful = self.connected.get(port_id), self.at_odds.get(port_id)
        return {each for each in ((port.dvs, port.key) if port is not None else None, doubtful) if each is not None}

    def followed_by(self, second: Wires) -> Wires:
        """After another look at some of the ports."""
        return replace(
            self, connected={**self.connected, **second.connected}, at_odds={**self.at_odds, **second.at_odds}
        )


class Wiring:
    """Of one session; remembers which DVPorts may bear a Neutron port's name."""

    def __init__(self, ports: RememberedPorts, applier: Applier, rules: Rules) -> None:
        self._ports, self._applier, self._rules = ports, applier, rules
        self._where: dict[str, set[Where]] = {}

    async def planned(self, wanted: Wanted, sight: Sight, booked: Mapping[str, Where]) -> Wires:
        """Look, and read again what the plan must be sure of."""
        seen, recalled = await self._look(wanted, sight, booked)
        wires = self._plan(wanted, sight, booked, seen, recalled)
        doubtful = self._doubtful(wanted, wires)
        if not doubtful:
            return wires
        seen = {at: port for at, port in seen.items() if at not in doubtful} | await self._read(doubtful)
        return self._plan(wanted, sight, booked, seen, recalled - doubtful)

    async def done(
        self, wires: Wires, wanted: Wanted, sight: Sight, booked: Mapping[str, Where], outcome: Outcome
    ) -> tuple[PortAction, ...]:
        """Write; what was refused because a port is not what is remembered, once more. The actions in the end."""
        self._put_off(wires, outcome)
        await self._applier.ports(wires.actions, outcome)
        again = {
            action.port_id
            for action in wires.actions
            if isinstance(action, EditPort | ClosePort) and (action.dvs, action.edit.key) in wires.recalled
            if isinstance(outcome.failed.get((journal.PORT, action.port_id)), Conflict | NotFound)
        }
        if not again:
            self._remember(wanted, wires, outcome)
            return wires.actions
        for port_id in again:
            del outcome.failed[journal.PORT, port_id]
            outcome.unclosed.pop(port_id, None)
        rest = replace(wanted, ports={at: port for at, port in wanted.ports.items() if at in again}, complete=False)
        second = await self.planned(rest, sight, booked)
        self._put_off(second, outcome)
        await self._applier.ports(second.actions, outcome)
        self._remember(wanted, wires.followed_by(second), outcome)
        return (*(action for action in wires.actions if action.port_id not in again), *second.actions)

    async def confirm(self) -> None:
        """Read what vCenter made of new filters, so that the next change of rules need not."""
        for dvs, keys in self._ports.unkeyed().items():
            found = {port.key for port in await self._ports.of_keys(dvs, keys)}
            self._ports.forget((dvs, key) for key in keys if key not in found)

    # -- looking ------------------------------------------------------------------------------------------------

    async def _look(
        self, wanted: Wanted, sight: Sight, booked: Mapping[str, Where]
    ) -> tuple[dict[Where, FilteredPort], frozenset[Where]]:
        """The DVPorts that these Neutron ports are, or were, on; with everything all of our groups, and all read."""
        if wanted.complete:
            groups = defaultdict(list)
            for each in sight.groups:
                groups[each.dvs].append(each.group.id)
            seen = {
                (dvs, port.key): port for dvs, ids in groups.items() for port in await self._ports.of_groups(dvs, ids)
            }
            self._ports.forget_others(seen)
            return seen, frozenset()
        candidates = self._candidates(wanted, sight, booked)
        recalled = self._ports.recalled(candidates)
        return recalled | await self._read(candidates - recalled.keys()), frozenset(recalled)

    def _candidates(self, wanted: Wanted, sight: Sight, booked: Mapping[str, Where]) -> set[Where]:
        found: set[Where] = set()
        for port_id, port in wanted.ports.items():
            card = sight.card_of(port) if port is not None else None
            if card is not None:
                found.add((card.dvs, card.port_key))
            if port_id in booked:
                found.add(booked[port_id])
            found |= self._where.get(port_id, set())
        return found

    async def _read(self, where: Collection[Where]) -> dict[Where, FilteredPort]:
        keys = defaultdict(list)
        for dvs, key in sorted(where):
            keys[dvs].append(key)
        return {(dvs, port.key): port for dvs, each in keys.items() for port in await self._ports.of_keys(dvs, each)}

    # -- judging ------------------------------------------------------------------------------------------------

    def _plan(
        self,
        wanted: Wanted,
        sight: Sight,
        booked: Mapping[str, Where],
        seen: Mapping[Where, FilteredPort],
        recalled: frozenset[Where],
    ) -> Wires:
        connected: dict[str, FilteredPort] = {}
        at_odds: dict[str, Where] = {}
        for port_id, port in wanted.ports.items():
            card = sight.card_of(port) if port is not None else None
            where = (card.dvs, card.port_key) if card is not None else booked.get(port_id)
            if port is None or where is None or (there := seen.get(where)) is None:
                continue
            if card is not None and there.vm != card.vm:
                at_odds[port_id] = where
            else:
                connected[port_id] = there
        strays, claimed = self._strays(wanted, connected, at_odds, seen)
        at_odds = {**claimed, **at_odds}
        certain = {
            port_id: port
            for port_id, port in wanted.ports.items()
            if port_id not in at_odds and (port is None or port.parent not in at_odds)
        }
        actions = plan_ports(replace(wanted, ports=certain), connected, strays, self._rules)
        return Wires(actions, connected, recalled, at_odds)

    def _strays(
        self,
        wanted: Wanted,
        connected: Mapping[str, FilteredPort],
        at_odds: Mapping[str, Where],
        seen: Mapping[Where, FilteredPort],
    ) -> tuple[list[FilteredPort], dict[str, Where]]:
        """DVPorts that are nobody's; and those at odds whose name's port may turn out to be their owner, by its id."""
        taken, doubtful = {(port.dvs, port.key) for port in connected.values()}, set(at_odds.values())
        found, claimed = [], dict[str, Where]()
        for at, port in seen.items():
            gone = wanted.ports.get(port.name) is None and (wanted.complete or port.name in wanted.ports)
            if at in doubtful and port.name and not gone and port.name not in connected:
                claimed.setdefault(port.name, at)
            elif at in doubtful and not port.name:
                continue
            elif at not in taken and (wanted.complete or port.name in wanted.ports):
                found.append(port)
        return found, claimed

    def _put_off(self, wires: Wires, outcome: Outcome) -> None:
        """A DVPort belongs to whom it says: written for a card that has left it, it would serve nobody, or another."""
        for port_id, (_, key) in wires.at_odds.items():
            outcome.failed[journal.PORT, port_id] = NotReadyYet(f"its card is not on DVPort {key}, or not any more")

    def _doubtful(self, wanted: Wanted, wires: Wires) -> set[Where]:
        """What of the remembered must be read first: filters whose key is not known, and what makes a port ACTIVE."""
        found = set(wires.at_odds.values())
        for action in wires.actions:
            if isinstance(action, EditPort):
                where = (action.dvs, action.edit.key)
                if not action.edit.filter_stays and self._ports.lacks_key(where):
                    found.add(where)
            elif isinstance(action, SetStatus) and action.up:
                port = wanted.ports[action.port_id]
                there = wires.connected.get((port.parent if port is not None else "") or action.port_id)
                if there is not None:
                    found.add((there.dvs, there.key))
        return found & wires.recalled

    def _remember(self, wanted: Wanted, wires: Wires, outcome: Outcome) -> None:
        """A DVPort that could not be closed is looked at again, wherever the port's card is by then."""
        unclosed = outcome.unclosed
        for port_id in wanted.ports.keys() | unclosed.keys() | wires.at_odds.keys():
            there = wires.of(port_id) | unclosed.get(port_id, set())
            if port_id not in wanted.ports:
                there |= self._where.get(port_id, set())
            if there:
                self._where[port_id] = there
            else:
                self._where.pop(port_id, None)
