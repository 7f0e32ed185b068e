"""Does what a plan says, and nothing else; every write asks first whether this worker still may.

What fails is told per Neutron object, so that its journal row waits while others go on.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from contrail_vsphere.ml2.tables import journal
from contrail_vsphere.ml2.worker.plan import (
    ClosePort,
    CreateGroup,
    DestroyGroup,
    EditPort,
    GroupAction,
    PortAction,
    RepairGroup,
)
from contrail_vsphere.model.errors import AlreadyExists, Busy, ContrailVsphereError, NotFound
from contrail_vsphere.model.ids import DvsId
from contrail_vsphere.vsphere.filtered_ports import PORTS_PER_TASK, FilteredPorts

log = logging.getLogger(__name__)

GROUPS_PER_TASK = 50
NAMES_TRIED = 5
"""Names of a port group, where somebody else's has the first."""

Key = tuple[str, str]
"""Kind (of ``tables.journal``) and id of a Neutron object."""


@dataclass(slots=True)
class Outcome:
    """Of one pass."""

    failed: dict[Key, ContrailVsphereError] = field(default_factory=dict)
    wired: set[str] = field(default_factory=set)
    """Ports whose DVPort was written and that may be ACTIVE."""
    unclosed: dict[str, set[tuple[DvsId, str]]] = field(default_factory=dict)
    """Port -> DVPorts that are its no more and could not be closed."""
    created: int = 0
    repaired: int = 0
    destroyed: int = 0
    edited: int = 0
    closed: int = 0

    def __str__(self) -> str:
        """What was done, in words; empty when nothing was."""
        counts = {name: getattr(self, name) for name in ("created", "repaired", "destroyed", "edited", "closed")}
        return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


class Applier:
    """``allowed`` raises when the lease is lost."""

    def __init__(self, ports: FilteredPorts, *, allowed: Callable[[], None]) -> None:
        self._ports, self._allowed = ports, allowed

    async def groups(self, actions: Iterable[GroupAction], outcome: Outcome) -> None:
        """Create many in a task, repair and destroy one by one."""
        new: dict[DvsId, list[CreateGroup]] = defaultdict(list)
        for action in actions:
            if isinstance(action, CreateGroup):
                new[action.dvs].append(action)
            else:
                await self._group(action, outcome)
        for dvs, creations in new.items():
            for at in range(0, len(creations), GROUPS_PER_TASK):
                await self._create(dvs, creations[at : at + GROUPS_PER_TASK], outcome)

    async def _group(self, action: RepairGroup | DestroyGroup, outcome: Outcome) -> None:
        name, key = action.sight.group.name, (journal.NETWORK, action.sight.mark.network)
        self._allowed()
        try:
            if isinstance(action, RepairGroup):
                log.info("repairing port group %s: %s", name, "; ".join(action.why))
                await self._ports.repair(action.sight.group, action.spec)
                outcome.repaired += 1
            else:
                log.info("destroying port group %s: its network is gone", name)
                await self._ports.destroy(action.sight.group.id)
                outcome.destroyed += 1
        except NotFound:
            log.info("port group %s is gone already", name)
        except Busy as error:
            outcome.failed[key] = Busy(f"port group {name} cannot go yet: {error}", hint="a VM is still on it")
        except ContrailVsphereError as error:
            outcome.failed[key] = error

    async def _create(self, dvs: DvsId, creations: Sequence[CreateGroup], outcome: Outcome) -> None:
        self._allowed()
        try:
            await self._ports.create(dvs, [action.spec for action in creations])
        except AlreadyExists as error:
            if len(creations) > 1:
                await self._one_by_one(dvs, creations, outcome)
            else:
                await self._taken(dvs, creations[0], error, outcome)
        except ContrailVsphereError as error:
            if len(creations) > 1:
                await self._one_by_one(dvs, creations, outcome)
            else:
                outcome.failed[journal.NETWORK, creations[0].mark.network] = error
        else:
            outcome.created += len(creations)
            log.info("made %d port groups on %s: %s", len(creations), dvs, ", ".join(a.spec.name for a in creations))

    async def _one_by_one(self, dvs: DvsId, creations: Sequence[CreateGroup], outcome: Outcome) -> None:
        for action in creations:
            await self._create(dvs, [action], outcome)

    async def _taken(self, dvs: DvsId, action: CreateGroup, error: AlreadyExists, outcome: Outcome) -> None:
        """By itself where vCenter made it and its answer was lost: updates may not show it yet."""
        try:
            itself = await self._ports.mark_of(dvs, action.spec.name) == str(action.mark)
        except ContrailVsphereError as failure:
            outcome.failed[journal.NETWORK, action.mark.network] = failure
            return
        if itself:
            outcome.created += 1
            log.info("port group %s is there already", action.spec.name)
        else:
            await self._another_name(dvs, action, error, outcome)

    async def _another_name(self, dvs: DvsId, action: CreateGroup, error: AlreadyExists, outcome: Outcome) -> None:
        """Somebody's port group has the name and not our mark: it stays as it is."""
        stem, _, number = action.spec.name.partition("~")
        following = int(number or 1) + 1
        if following > NAMES_TRIED:
            outcome.failed[journal.NETWORK, action.mark.network] = error
            return
        other = replace(action, spec=replace(action.spec, name=f"{stem}~{following}"))
        log.warning("a port group that is not ours is named %s; trying %s", action.spec.name, other.spec.name)
        await self._create(dvs, [other], outcome)

    async def ports(self, actions: Iterable[PortAction], outcome: Outcome) -> None:
        """Batches of one switch go one after the other: more than one task at a time would wait inside vCenter."""
        by_dvs: dict[DvsId, list[EditPort | ClosePort]] = defaultdict(list)
        for action in actions:
            if isinstance(action, EditPort | ClosePort):
                by_dvs[action.dvs].append(action)
        for dvs, edits in by_dvs.items():
            for at in range(0, len(edits), PORTS_PER_TASK):
                batch = edits[at : at + PORTS_PER_TASK]
                await self._edit(dvs, batch, outcome)

    async def _edit(self, dvs: DvsId, batch: Sequence[EditPort | ClosePort], outcome: Outcome) -> None:
        self._allowed()
        answers: Sequence[ContrailVsphereError | None]
        try:
            answers = await self._ports.edit(dvs, [action.edit for action in batch])
        except ContrailVsphereError as failure:
            answers = (failure,) * len(batch)
        for action, error in zip(batch, answers, strict=True):
            if isinstance(action, ClosePort):
                outcome.closed += error is None
                if error is not None and action.port_id:
                    outcome.failed[journal.PORT, action.port_id] = error
                    outcome.unclosed.setdefault(action.port_id, set()).add((dvs, action.edit.key))
                continue
            if error is not None:
                outcome.failed[journal.PORT, action.port_id] = error
            else:
                outcome.edited += 1
                if action.wired:
                    outcome.wired.add(action.port_id)
                for words in action.left_out:
                    log.warning("port %s: left out %s", action.port_id, words)
