"""DVPorts as a worker last knew them, so that a change of one need not read it first.

vCenter's updates do not tell of DVPorts. What is remembered is what was read, and what was written since: an edit that
succeeded leaves the port with its values and, as far as is known, with a version that is one higher. That is a guess,
and vCenter judges it: an edit that names another version than the port has is refused, and then the port is read. Where
a guess turns out wrong though nobody else changed the port, versions are counted in another way there, and nothing that
was written is remembered any more.

A port whose card came, went or was switched on or off is forgotten: vCenter may have reset it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from contrail_vsphere.model.errors import Conflict
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.model.inventory import Change, VirtualMachine
from contrail_vsphere.model.traffic_filter import FilteredPort, FilteredPortEdit
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts
from contrail_vsphere.vsphere.vcenter import VCenter

Where = tuple[DvsId, str]
"""A DVPort: switch and key."""


class RememberedPorts(FilteredPorts):
    """``FilteredPorts`` of one session with vCenter, with a memory; what it reads and writes is remembered."""

    def __init__(self, vcenter: VCenter) -> None:
        super().__init__(vcenter)
        self._known: dict[Where, FilteredPort] = {}
        self._guessed: set[Where] = set()
        """Those of ``_known`` whose version was not read."""
        self._refused: dict[Where, FilteredPort] = {}
        """What was remembered of ports whose guessed version was refused."""
        self._unkeyed: set[Where] = set()
        """Those of ``_known`` that got their filter from us: vCenter gave it a key that was not read yet."""
        self._switches: set[DvsId] = set()
        self._reading: list[set[str]] = []
        """For each read that is on its way, keys of ports whose cards changed meanwhile."""
        self._counted_by_one = True

    def recalled(self, where: Iterable[Where]) -> dict[Where, FilteredPort]:
        """Those of these ports that are known."""
        return {each: self._known[each] for each in where if each in self._known}

    def lacks_key(self, where: Where) -> bool:
        """Whether the port has a filter whose key must be read before its rules can be replaced."""
        return where in self._unkeyed

    def unkeyed(self) -> dict[DvsId, list[str]]:
        """Ports with a card whose filters' keys are not known, by switch."""
        found: dict[DvsId, list[str]] = {}
        for dvs, key in sorted(self._unkeyed):
            if self._known[dvs, key].vm is not None:
                found.setdefault(dvs, []).append(key)
        return found

    def forget(self, where: Iterable[Where]) -> None:
        """Read these again before anything is said or written of them."""
        for each in tuple(where):
            self._known.pop(each, None)
            self._refused.pop(each, None)
            self._guessed.discard(each)
            self._unkeyed.discard(each)

    def forget_others(self, where: Collection[Where]) -> None:
        """Only these are still there."""
        self.forget((self._known.keys() | self._refused.keys()) - set(where))

    def forget_all(self) -> None:
        """Changes may have been missed."""
        self.forget_others(())

    def noticed(self, change: Change) -> None:
        """Forget the ports of the VM's cards that are not what they were."""
        before = change.before.nics if isinstance(change.before, VirtualMachine) else ()
        after = change.after.nics if isinstance(change.after, VirtualMachine) else ()
        keys = {nic.port_key for nic in {*before} ^ {*after}} - {""}
        if keys:
            self.forget((dvs, key) for dvs in self._switches for key in keys)
            for each in self._reading:
                each.update(keys)

    async def fetch(self, dvs: DvsId, criteria: Any) -> tuple[FilteredPort, ...]:
        """As of the parent; a port whose card changed while the answer was on its way is not remembered."""
        self._switches.add(dvs)
        missed: set[str] = set()
        self._reading.append(missed)
        try:
            found = await super().fetch(dvs, criteria)
        finally:
            self._reading.remove(missed)
        for port in found:
            where = (dvs, port.key)
            believed = self._known[where] if where in self._guessed else self._refused.pop(where, None)
            if believed is not None and _differs_in_version_alone(believed, port):
                self._counted_by_one = False
            self.forget([where])
            if port.key not in missed:
                self._known[where] = port
        return found

    async def reconfigure(self, dvs: DvsId, edits: Sequence[FilteredPortEdit]) -> None:
        """As of the parent; what becomes of a task that was neither done nor refused as stale is not known."""
        try:
            await super().reconfigure(dvs, edits)
        except Conflict:
            if len(edits) == 1:  # of several, those that are stale are found by reading them
                where = (dvs, edits[0].key)
                believed = self._known[where] if where in self._guessed else None
                self.forget([where])
                if believed is not None:
                    self._refused[where] = believed
            raise
        except BaseException:  # a deadline and the worker's end among them
            self.forget([(dvs, edit.key) for edit in edits])
            raise
        for edit in edits:
            self._wrote((dvs, edit.key), edit)

    def _wrote(self, where: Where, edit: FilteredPortEdit) -> None:
        known = self._known.get(where)
        if known is None or known.version != edit.version or not edit.version.isdigit() or not self._counted_by_one:
            self.forget([where])
            return
        added = not edit.filter_stays and edit.rules is not None and not edit.filters
        filters = known.filters if edit.filter_stays else edit.filters[:1] if edit.rules is not None else ()
        self._known[where] = replace(
            known,
            version=str(int(edit.version) + 1),
            name=edit.name,
            blocked=edit.blocked,
            rules=known.rules if edit.filter_stays else edit.rules,
            forged_transmits=edit.forged_transmits,
            from_vm=edit.from_vm,
            to_vm=edit.to_vm,
            trunk=edit.trunk,
            filters=filters,
        )
        self._guessed.add(where)
        if added:
            self._unkeyed.add(where)
        elif not edit.filter_stays:
            self._unkeyed.discard(where)


def _differs_in_version_alone(known: FilteredPort, found: FilteredPort) -> bool:
    return (
        known.version != found.version
        and replace(known, version=found.version, filters=found.filters, host=found.host) == found
    )
