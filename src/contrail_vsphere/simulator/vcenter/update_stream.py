"""What changed since a version: the heart of WaitForUpdatesEx.

A version stands for a place in the world's journal. The answer to "what is new since then" is computed from the journal
entries behind that place and the filters' membership logs, never by reading objects again, and merged per object and
path: a client gets the last value once, however often it changed. Pages cut the answer, not the work: the rest of a
truncated answer waits under its own version, which is good for one use.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.paths import overlapping, within
from contrail_vsphere.simulator.core.world import Committed, JournalLostError, World
from contrail_vsphere.simulator.vcenter.array_changes import ToldArrays
from contrail_vsphere.simulator.vcenter.property_filter import PropertyFilter
from contrail_vsphere.simulator.vcenter.property_wire import changes
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vmodl
from contrail_vsphere.wire.soap.values import build

Kind = Literal["enter", "modify", "leave"]

Moved = tuple[Mapping[str, Entity], Mapping[str, Entity], Mapping[str, Entity]]

KEPT_VERSIONS = 64
"""Older versions answer InvalidCollectorVersion, as those do whose journal entries are gone."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of the world that a version stands for, as far as this client knows it."""

    seq: int = 0
    filters: frozenset[str] = frozenset()
    unseen: frozenset[tuple[str, str]] = frozenset()
    """(filter, object) that went before their page was sent: the client must not be told that they left."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One object's news for one filter; values are read when the page is written."""

    filter: PropertyFilter
    entity: Entity
    kind: Kind
    paths: tuple[str, ...] = ()


@dataclass(slots=True)
class UpdateStream:
    """Filters and versions of one property collector in one session."""

    world: World
    page: int
    filters: dict[str, PropertyFilter] = field(default_factory=dict)
    _last: int = 0
    _marks: OrderedDict[str, Mark] = field(default_factory=OrderedDict)
    _rest: tuple[str, Mark, list[Delta], int] | None = None
    """Version, final mark and remaining news of a truncated answer, and the version that it began at."""
    _index: dict[tuple[type[Entity], str], tuple[tuple[PropertyFilter, tuple[str, ...]], ...]] = field(
        default_factory=dict
    )
    _arrays: ToldArrays = field(default_factory=ToldArrays)
    _wake: set[asyncio.Event] = field(default_factory=set)
    _cancelled: int = 0

    # -- filters ------------------------------------------------------------------------------------------------

    def add(self, made: PropertyFilter) -> None:
        """A new filter; a wait that is under way answers with its objects."""
        self.filters[made.moid] = made
        self._changed()

    def forget(self, gone: PropertyFilter) -> None:
        """The filter's session object went."""
        if self.filters.pop(gone.moid, None) is not None:
            self._arrays.forget(gone.moid)
            self._changed()

    def cancel(self) -> None:
        """Every wait that is under way fails with RequestCanceled."""
        self._cancelled += 1
        self._changed()

    def _changed(self) -> None:
        self._index.clear()
        for event in self._wake:
            event.set()

    # -- answers ------------------------------------------------------------------------------------------------

    async def wait(self, version: str, *, seconds: float | None, most: int | None, api: str) -> Any:
        """News since ``version`` as an UpdateSet, or None when there is none within ``seconds`` (None: no limit).

        ``most`` objects at a time, None for the page size; 0 for all at once, as the methods without pages answer.
        """
        mark, rest, base = self._resume(version)
        if most is None:
            most = self.page
        elif not Switches.of(self.world).pages_above_policy:
            most = min(most, self.page or most)
        if rest:
            return self._answer(mark, rest, most, api, base=base)
        cancelled = self._cancelled
        woken = asyncio.Event()
        stop = self.world.observe(lambda done: woken.set() if self._concerns(done) else None)
        self._wake.add(woken)
        try:
            async with asyncio.timeout(seconds if seconds is None or seconds > 0 else None):
                while True:
                    woken.clear()
                    news = self._news(mark)
                    if news:
                        return self._answer(self._mark_now(mark), news, most, api, base=base)
                    if seconds is not None and seconds <= 0:
                        return None
                    mark = self._mark_now(mark)
                    await woken.wait()
                    if self._cancelled != cancelled:
                        raise SoapFault(vmodl.fault.RequestCanceled(), "The request was canceled by a client.")
        except TimeoutError:
            return None
        finally:
            self._wake.discard(woken)
            stop()

    def _resume(self, version: str) -> tuple[Mark, list[Delta], int]:
        rest, self._rest = self._rest, None
        if not version:
            return Mark(), [], 0
        if rest is not None and rest[0] == version:
            return rest[1:]
        mark = self._marks.get(version)
        if mark is None:
            raise _invalid_version(version)
        return mark, [], int(version)

    def _answer(self, mark: Mark, news: list[Delta], most: int | None, api: str, *, base: int) -> Any:
        """A page of the news since version ``base``, read now; what is left is kept for the next call."""
        most = most or len(news)
        page, rest = news[:most], news[most:]
        by_filter: dict[str, list[Any]] = {}
        unseen = set(mark.unseen)
        self._last += 1
        for delta in page:
            written = self._write(delta, api, base)
            if written is None:
                if delta.kind == "enter":
                    unseen.add((delta.filter.moid, delta.entity.moid))
            else:
                unseen.discard((delta.filter.moid, delta.entity.moid))
                by_filter.setdefault(delta.filter.moid, []).append(written)
        mark = Mark(mark.seq, mark.filters, frozenset(unseen))
        version = str(self._last)
        if rest:
            self._rest = (version, mark, rest, base)
        else:
            self._marks[version] = mark
            while len(self._marks) > KEPT_VERSIONS:
                self._marks.popitem(last=False)
        kind = vmodl.query.PropertyCollector
        sets = [
            build(kind.FilterUpdate, filter=self.filters[moid], objectSet=objects)
            for moid, objects in by_filter.items()
            if moid in self.filters
        ]
        return build(kind.UpdateSet, version=version, filterSet=sets, truncated=bool(rest))

    def _write(self, delta: Delta, api: str, base: int) -> Any:
        kind = vmodl.query.PropertyCollector.ObjectUpdate
        if delta.kind == "leave":
            return build(kind, kind="leave", obj=delta.entity)
        if delta.entity.moid not in delta.filter.members:
            return None
        inside: list[Any] = []
        whole = delta.paths
        if delta.filter.partial_updates:
            inside, whole = self._within_arrays(delta, api, base)
        changed, missing = changes(delta.entity, whole, api, unset_too=delta.kind == "modify")
        if delta.kind == "modify" and not (inside or changed or missing):
            return None
        return build(kind, kind=delta.kind, obj=delta.entity, changeSet=[*inside, *changed], missingSet=missing)

    def _within_arrays(self, delta: Delta, api: str, base: int) -> tuple[list[Any], tuple[str, ...]]:
        """Changes of single elements, and the paths that are told whole."""
        moid, entity = delta.filter.moid, delta.entity
        if delta.kind == "enter":
            self._arrays.entered(moid, entity, delta.paths, version=self._last, api=api)
            return [], delta.paths
        inside, whole = [], []
        for path in delta.paths:
            told = self._arrays.changed(moid, entity, path, base=base, version=self._last, api=api)
            if told is None:
                whole.append(path)
            else:
                inside += told
        return inside, tuple(whole)

    # -- news ---------------------------------------------------------------------------------------------------

    def _mark_now(self, before: Mark) -> Mark:
        return Mark(self.world.seq, frozenset(self.filters), before.unseen)

    def _news(self, mark: Mark) -> list[Delta]:
        news: list[Delta] = []
        known: dict[str, PropertyFilter] = {}
        for item in self.filters.values():
            item.refresh()
            if item.moid in mark.filters:
                known[item.moid] = item
            else:
                news.extend(_entering(item, item.members))
        if known and self.world.seq > mark.seq:
            moved = {moid: _moved(item, mark) for moid, item in known.items()}
            modified = self._modified(mark, known, moved)
            for moid, item in known.items():
                came, back, went = moved[moid]
                news.extend(_entering(item, came))
                news.extend(Delta(item, entity, "modify", item.paths(entity)) for entity in back.values())
                news.extend(_modifying(item, modified[moid]))
                news.extend(Delta(item, entity, "leave") for entity in went.values())
        return news

    def _modified(
        self,
        mark: Mark,
        known: Mapping[str, PropertyFilter],
        moved: Mapping[str, Moved],
    ) -> dict[str, dict[str, dict[str, None]]]:
        """Filter -> object -> paths in their order of change."""
        found: dict[str, dict[str, dict[str, None]]] = {moid: {} for moid in known}
        try:
            entries = self.world.since(mark.seq)
        except JournalLostError as error:
            raise _invalid_version("") from error
        for entry in entries:
            if entry.kind != "modify":
                continue
            for item, paths in self._interested(type(entry.entity), entry):
                moid = entry.entity.moid
                came, back, _ = moved.get(item.moid) or ({}, {}, {})
                if item.moid in known and moid in item.members and moid not in came and moid not in back:
                    found[item.moid].setdefault(moid, {}).update(dict.fromkeys(paths))
        return found

    def _interested(self, kind: type[Entity], entry: Any) -> tuple[tuple[PropertyFilter, tuple[str, ...]], ...]:
        """Filters, and their paths, at which a change of that path of that type can be seen."""
        key = (kind, entry.path)
        found = self._index.get(key)
        if found is None:
            pairs = ((item, _told(item, item.paths(entry.entity), entry.path)) for item in self.filters.values())
            found = self._index[key] = tuple((item, paths) for item, paths in pairs if paths)
        return found

    def _concerns(self, done: Committed) -> bool:
        """Cheap and generous: whether a commit could be news for some filter."""
        return any(
            entry.kind != "modify" or self._interested(type(entry.entity), entry) for entry in done.entries
        ) or any(item._dirty for item in self.filters.values())


@dataclass(slots=True)
class UpdateStreams:
    """All of one session, by the id of their property collector."""

    by_collector: dict[str, UpdateStream] = field(default_factory=dict)

    def end(self) -> None:
        """The session is over: whoever waits is told."""
        for stream in self.by_collector.values():
            stream.cancel()


def _told(item: PropertyFilter, wanted: tuple[str, ...], changed: str) -> tuple[str, ...]:
    """The paths to name for a change: those of the filter, or with partial updates what changed within them."""
    seen = overlapping(wanted, changed)
    if not item.partial_updates:
        return seen
    return tuple(dict.fromkeys(changed if len(changed) > len(path) else path for path in seen))


def _modifying(item: PropertyFilter, modified: Mapping[str, Iterable[str]]) -> list[Delta]:
    """With partial updates, what lies within something else that changed is told with it, unless it was asked for."""
    if not item.partial_updates:
        return [Delta(item, item.members[moid], "modify", tuple(paths)) for moid, paths in modified.items()]
    found = []
    for moid, paths in modified.items():
        entity, told = item.members[moid], list(paths)
        asked = item.paths(entity)
        kept = [
            path for path in told if path in asked or not any(path != other and within(path, other) for other in told)
        ]
        found.append(Delta(item, entity, "modify", tuple(kept)))
    return found


def _entering(item: PropertyFilter, members: Mapping[str, Entity]) -> list[Delta]:
    paths = item.selection.paths
    return [
        Delta(item, entity, "enter", wanted) for entity in members.values() if (wanted := paths(entity)) is not None
    ]


def _moved(item: PropertyFilter, mark: Mark) -> Moved:
    """Objects new to the client, known ones that went and came back, and known ones that are gone."""
    if item.lost > mark.seq:
        raise _invalid_version("")
    first: dict[str, tuple[Entity, bool]] = {}
    for entity, came in item.moves_after(mark.seq):
        first[entity.moid] = (entity, came)
    new: dict[str, Entity] = {}
    back: dict[str, Entity] = {}
    gone: dict[str, Entity] = {}
    for moid, (entity, came) in first.items():
        if item.selection.paths(entity) is None:
            continue
        unknown = came or (item.moid, moid) in mark.unseen
        if moid in item.members:
            (new if unknown else back)[moid] = entity
        elif not unknown:
            gone[moid] = entity
    return new, back, gone


def _invalid_version(version: str) -> SoapFault:
    return SoapFault(vmodl.query.InvalidCollectorVersion(), f"The collector version {version!r} is not valid.")
