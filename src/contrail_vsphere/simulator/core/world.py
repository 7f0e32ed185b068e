"""The world and the one way to change it.

``with world.commit(user) as tx`` collects changes; leaving the block numbers them, posts their events and wakes
everyone who waits, all at once. An exception inside the block undoes every change, and nobody ever saw any of it. There
is no await inside a commit, so a reader never finds half of one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.simulator.core.entity import Entity

E = TypeVar("E", bound=Entity)
Kind = Literal["enter", "modify", "leave"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One visible change; ``path`` is empty for enter and leave."""

    seq: int
    entity: Entity
    kind: Kind
    path: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit did, as observers inside the simulator (EAM, guests, views) get it."""

    seq: int
    entries: tuple[JournalEntry, ...]
    events: tuple[Any, ...]
    """pyVmomi Event values, keys and times filled in."""


Observer = Callable[[Committed], None]


class JournalLostError(LookupError):
    """The journal no longer reaches back that far."""


@dataclass(slots=True)
class Transaction:
    """The open commit. Changes are visible to reads inside the block at once and undone if it fails."""

    world: World
    user: str
    chain: int
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _entries: list[tuple[Entity, Kind, str]] = field(default_factory=list)
    _events: list[Any] = field(default_factory=list)

    def add(self, entity: E) -> E:
        """Put a new object into the world."""
        self.world._insert(entity)
        self._undo.append(lambda: self.world._discard(entity))
        self._entries.append((entity, "enter", ""))
        return entity

    def remove(self, entity: Entity) -> None:
        """Take an object out; references to it must have been set elsewhere in the same commit."""
        self.world._discard(entity)
        self._undo.append(lambda: self.world._insert(entity))
        self._entries.append((entity, "leave", ""))

    def set(self, entity: Entity, **state: Any) -> bool:
        """Set state attributes; those that already have the value are left alone. True when something changed."""
        changed = False
        for name, value in state.items():
            old = getattr(entity, name)
            if old is value or (type(old) is type(value) and not isinstance(old, Entity) and old == value):
                continue
            setattr(entity, name, value)
            self._undo.append(lambda name=name, old=old: setattr(entity, name, old))  # type: ignore[misc]
            for path in entity.shows.get(name, ()):
                self._entries.append((entity, "modify", path))
            changed = True
        return changed

    def touch(self, entity: Entity, *paths: str) -> None:
        """Say that these property paths changed, where the state behind them is not an attribute of the entity."""
        self._entries.extend((entity, "modify", path) for path in paths)

    def undo(self, restore: Callable[[], None]) -> None:
        """Say how to take back a change that the caller makes to state that is no attribute of an entity."""
        self._undo.append(restore)

    @property
    def entries(self) -> tuple[tuple[Entity, Kind, str], ...]:
        """The visible changes so far: object, kind and path (empty for enter and leave)."""
        return tuple(self._entries)

    @property
    def events(self) -> tuple[Any, ...]:
        """What was posted so far; keys and times are still missing."""
        return tuple(self._events)

    @property
    def touched(self) -> tuple[Entity, ...]:
        """Objects with a visible change so far, each once."""
        return tuple({entity.moid: entity for entity, _, _ in self._entries}.values())

    def event(self, event: Any) -> Any:
        """Post a pyVmomi Event when the commit succeeds; key, chainId, createdTime and userName are filled in then."""
        self._events.append(event)
        return event


class World:
    """All objects, by managed object id, and the journal of their changes."""

    def __init__(self, *, clock: Clock | None = None, seed: int = 0, journal_length: int = 100_000) -> None:
        self.clock = clock or Clock()
        self.random = random.Random(seed)
        self.objects: dict[str, Entity] = {}
        self.seq = 0
        self.journal: deque[JournalEntry] = deque(maxlen=journal_length)
        self.services: dict[type[Any], Any] = {}
        """Parts that serve the whole world (event history, tasks, faults, timing ...), by their class."""
        self.defects: list[Exception] = []
        """Errors of the simulator itself that clients saw as SystemError; a test may assert that there are none."""
        self._by_type: defaultdict[type[Entity], dict[str, Entity]] = defaultdict(dict)
        self._numbers = itertools.count(11)
        self._event_keys = itertools.count(1001)
        self._open: Transaction | None = None
        self._observers: list[Observer] = []
        self._finishers: list[Callable[[Transaction], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, moid: str) -> Entity | None:
        """The object with that id, or None."""
        return self.objects.get(moid)

    def of_type(self, kind: type[E]) -> Iterator[E]:
        """All objects of a class and its subclasses, oldest first within each class."""
        for cls in list(self._by_type):
            if issubclass(cls, kind):
                yield from list(self._by_type[cls].values())  # type: ignore[misc]

    def service(self, kind: type[Any]) -> Any:
        """The part of that class; KeyError when this world has none."""
        return self.services[kind]

    def since(self, seq: int) -> list[JournalEntry]:
        """All changes after ``seq``, oldest first; costs their number. Raises JournalLostError when some are gone."""
        if self.seq - seq > len(self.journal):
            raise JournalLostError(seq)
        found = list(itertools.islice(reversed(self.journal), self.seq - seq))
        found.reverse()
        return found

    def new_id(self, prefix: str) -> str:
        """A managed object id that was never used; numbers are shared by all types, as in vCenter."""
        return f"{prefix}{next(self._numbers)}"

    def reserve_ids(self, number: int) -> None:
        """Let new ids begin at ``number`` at least, since lower ones were given elsewhere."""
        self._numbers = itertools.count(max(next(self._numbers), number))

    def new_chain(self) -> int:
        """An event chain for work that makes several commits and belongs to no task."""
        return next(self._event_keys)

    # -- changing -----------------------------------------------------------------------------------------------

    @contextmanager
    def commit(self, user: str = "", *, chain: int | None = None) -> Iterator[Transaction]:
        """Open the one way to change state; ``chain`` ties the events of one task together (``Event.chainId``)."""
        if self._open is not None:
            raise RuntimeError("a commit is already open")
        tx = self._open = Transaction(self, user, chain if chain is not None else next(self._event_keys))
        try:
            yield tx
            for finish in self._finishers:
                finish(tx)
        except BaseException:
            for undo in reversed(tx._undo):
                undo()
            self._open = None
            raise
        self._open = None
        self._close(tx)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call ``observer`` after each commit; it must not commit itself, only mark work. Returns the way to stop."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def finish(self, finisher: Callable[[Transaction], None]) -> None:
        """Call ``finisher`` at the end of every commit, inside it: it may add changes that always follow others."""
        self._finishers.append(finisher)

    async def changed_after(self, seq: int) -> None:
        """Return once the journal is beyond ``seq``; at once when it already is."""
        while self.seq <= seq:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def _close(self, tx: Transaction) -> None:
        entries = []
        seen: set[tuple[str, Kind, str]] = set()
        for entity, kind, path in tx._entries:
            mark = (entity.moid, kind, path)
            if mark in seen:
                continue
            seen.add(mark)
            self.seq += 1
            entries.append(JournalEntry(self.seq, entity, kind, path))
        self.journal.extend(entries)
        for event in tx._events:
            event.key = next(self._event_keys)
            event.chainId = tx.chain
            event.createdTime = self.clock.now()
            event.userName = event.userName or tx.user
        if not entries and not tx._events:
            return
        done = Committed(self.seq, tuple(entries), tuple(tx._events))
        for observer in list(self._observers):
            observer(done)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _insert(self, entity: Entity) -> None:
        if entity.moid in self.objects:
            raise RuntimeError(f"{entity.moid} exists")
        self.objects[entity.moid] = entity
        self._by_type[type(entity)][entity.moid] = entity

    def _discard(self, entity: Entity) -> None:
        del self.objects[entity.moid]
        del self._by_type[type(entity)][entity.moid]
