"""Wires observation to planning to doing: which change marks which key, and what happens when a key is looked at.

A pass reads the caches, plans, starts what the plan says and returns; it never waits for the world. What it started
runs as one job per host (and one per agency), so that a slow host delays nobody; a finished job marks its key, and so
does every change of inventory, EAM or a vRouter. A failed job is remembered per host with a growing pause; plan knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from contrail_vsphere.contrailvm.apply import Applier
from contrail_vsphere.contrailvm.desired import Desired, Key, key_of_agency
from contrail_vsphere.contrailvm.doors import Publishing
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import (
    Failure,
    InventoryView,
    Observed,
    PackageOffer,
    marked_agencies,
    observe,
)
from contrail_vsphere.contrailvm.plan.actions import Action, Alarm, Refetch, Wait
from contrail_vsphere.contrailvm.plan.cluster import plan
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.records import ToldAlarm
from contrail_vsphere.contrailvm.rollout.turns import Rollout, RolloutView
from contrail_vsphere.contrailvm.rollout.view import standings
from contrail_vsphere.contrailvm.visitors import Visitors
from contrail_vsphere.engine.backoff import QUICK, SLOW
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.reconcile import Controller, Outcome, RequeueAfter
from contrail_vsphere.model.eam import EAM_KEY, EamFeatures
from contrail_vsphere.model.errors import ContrailVsphereError, TransientError
from contrail_vsphere.model.ids import AgencyId, ClusterId, HostId, VmId
from contrail_vsphere.model.inventory import Change, Cluster, Datastore, Dvs, Host, Network, VirtualMachine

RESYNC = 120.0
"""Seconds after which a key is looked at although nothing was heard: events may be lost, correctness may not."""
BLIND_PAUSE = 2.0
"""Seconds until a key is looked at again while inventory or agencies are still being read."""
REPEAT_PAUSE = 5.0
"""Seconds before the very same actions are done again: the caches need a moment to show what was done."""
JOB_DEADLINE = 300.0
"""Seconds after which a job is given up."""
REPROBE = 300.0
"""Seconds between two probes of our own publishing while all is well."""
REPROBE_BROKEN = 15.0

_LOG = logging.getLogger(__name__)


def keys_for(
    change: Change, desired: Mapping[Key, Desired], *, hosts: Mapping[HostId, Host], host_of: Mapping[VmId, HostId]
) -> frozenset[Key]:
    """The keys that a change of the inventory may concern; old and new place both count. Pure.

    ``host_of`` tells where EAM has our ContrailVMs: a VM that was deleted no longer says where it was.
    """
    keys: set[Key] = set()
    for value in (change.before, change.after):
        match value:
            case Cluster():
                keys |= {key for key in desired if key.cluster == value.id}
            case Host():
                keys |= {key for key in desired if key.cluster == value.cluster}
            case Network():
                keys |= {key for key, each in desired.items() if _uses(each, value)}
            case Dvs():
                keys |= {key for key, each in desired.items() if each.trunk and each.trunk.switch == value.id}
            case VirtualMachine():
                if value.managed_by == EAM_KEY or value.id in host_of:
                    places = {
                        hosts[each].cluster for each in (value.host, host_of.get(value.id)) if each and each in hosts
                    }
                    keys |= {key for key in desired if key.cluster in places}
            case Datastore():
                if not _same_access(change):
                    keys |= set(desired)
            case _:
                pass
    return frozenset(keys)


def _uses(desired: Desired, network: Network) -> bool:
    trunk = desired.trunk
    if trunk is not None and network.dvs == trunk.switch and network.name == trunk.name:
        return True
    return any(nic.network == network.id for nic in desired.nics)


def _same_access(change: Change) -> bool:
    before, after = change.before, change.after
    return isinstance(before, Datastore) and isinstance(after, Datastore) and before.accessible == after.accessible


class ContrailVmController:
    """The reconcile loop of the ContrailVM Manager."""

    def __init__(
        self,
        *,
        solution_id: str,
        inventory: InventoryView,
        notebook: Notebook,
        readings: Readings,
        applier: Applier,
        publishing: Publishing,
        health: HealthBook,
        random: Random,
        now: Callable[[], float],
        blind: Callable[[], str],
        blind_of: Callable[[Key], str] = lambda _key: "",
        features: Callable[[], EamFeatures] = EamFeatures,
        no_system_vms: Callable[[ClusterId], str | None],
        nudge: Callable[[AgencyId], None],
        hint: Callable[[HostId], None],
        writers: int = 16,
    ) -> None:
        self._solution_id = solution_id
        self._inventory = inventory
        self._notebook = notebook
        self._readings = readings
        self._applier = applier
        self._publishing = publishing
        self._random = random
        self._now = now
        self._blind = blind
        self._blind_of = blind_of
        self._features = features
        self._no_system_vms = no_system_vms
        self._visitors = Visitors(inventory, solution_id=solution_id)
        self._nudge = nudge
        self._hint = hint
        self._slots = asyncio.Semaphore(writers)
        self._jobs: dict[tuple[Key, HostId | str | None], asyncio.Task[None]] = {}
        self._last: dict[tuple[Key, HostId | None], tuple[tuple[Action, ...], float]] = {}
        self._probed: dict[Key, float] = {}
        self._alarms: dict[Key, frozenset[Alarm]] = {}
        self._inherited = {
            key: {(each.host, each.cause) for each in alarms} for key, alarms in notebook.told_alarms.items()
        }
        """Alarms that a process before us told, and that were not seen by us yet."""
        self.on_alarm: Callable[[Key, ToldAlarm, bool], None] = lambda _key, _alarm, _raised: None
        """Told of every alarm that is raised (True) or over (False)."""
        self.jobs_done = 0
        self._watching_since = now()
        self.engine: Controller[Key] = Controller("contrailvm", self.reconcile, health=health, random=random)

    # -- marks --------------------------------------------------------------------------------------------------

    def mark(self, key: Key) -> None:
        """Look at a key soon."""
        self.engine.mark(key)

    def mark_all(self) -> None:
        """Look at all keys soon: those desired, and those that only EAM knows."""
        for key in self._notebook.desired:
            self.engine.mark(key)
        for reading in self._readings.by_id.values():
            self.agency_changed(reading.agency.config.name)

    def inventory_changed(self, change: Change) -> None:
        """Subscriber of the inventory."""
        desired, hosts = self._notebook.desired, self._inventory.hosts
        visited = self._visitors.see(change)
        place = hosts.get(visited) if visited is not None else None
        for key in desired if place is not None else ():
            if place is not None and key.cluster == place.cluster:
                self.engine.mark(key)
        for key in keys_for(change, desired, hosts=hosts, host_of=self._readings.host_of):
            self.engine.mark(key)

    def agency_changed(self, name: str) -> None:
        """An agency of that name was read and differs from before, or is gone."""
        key = key_of_agency(self._solution_id, name)
        if key is not None:
            self.engine.mark(key)

    def name_of(self, host: HostId | None) -> str:
        """What people call the host; empty for none and for one that is gone."""
        found = self._inventory.hosts.get(host) if host is not None else None
        return found.name if found is not None else ""

    def _words(self, host: HostId | None) -> str:
        """A host (None: the agency) as the log names it."""
        name = self.name_of(host)
        return f"{name} ({host})" if name else str(host or "agency")

    # -- a pass -------------------------------------------------------------------------------------------------

    def observe(self, key: Key) -> Observed:
        """The key as the caches show it now."""
        rollout = self._notebook.rollouts.get(key.deployment)
        observed = replace(self._observe(key), watching_since=self._watching_since)
        if rollout is None or not rollout.active or observed.blind:
            return observed
        return replace(observed, rollout=self._rollout_view(rollout, observed))

    def rollout_view(self, deployment: str) -> RolloutView | None:
        """The deployment's rollout as it stands; None without one that is under way, and while nothing is in view."""
        rollout = self._notebook.rollouts.get(deployment)
        if rollout is None or not rollout.active or self._blind():
            return None
        return self._rollout_view(rollout, None)

    def _rollout_view(self, rollout: Rollout, own: Observed | None) -> RolloutView:
        """How every host of the deployment stands, in all its clusters; ``own`` is one that was looked at already."""
        desired = {
            key: each
            for key, each in self._notebook.desired.items()
            if key.deployment == rollout.deployment and not each.removed
        }
        found = {key: own if own is not None and key == own.key else self._observe(key) for key in desired}
        hosts = tuple(each for key, wanted in desired.items() for each in standings(rollout, wanted, found[key]))
        return RolloutView(rollout=rollout, standings=hosts, now=self._now())

    def _observe(self, key: Key) -> Observed:
        cluster = self._inventory.clusters.get(key.cluster)
        return observe(
            key,
            solution_id=self._solution_id,
            now=self._now(),
            inventory=self._inventory,
            readings=self._readings.by_id,
            memory=self._notebook.memory(key),
            features=self._features(),
            no_system_vms=self._no_system_vms(key.cluster),
            visitors=self._visitors.on(cluster.hosts) if cluster is not None else (),
            blind=self._blind() or self._blind_of(key),
        )

    def preview(self, key: Key) -> tuple[Desired | None, Observed, tuple[Action, ...]]:
        """What a pass would do now; nothing is done."""
        desired, observed = self._notebook.desired.get(key), self.observe(key)
        return desired, observed, plan(desired, observed)

    async def reconcile(self, key: Key) -> Outcome:
        """One pass: look, plan, start."""
        _, observed, actions = self.preview(key)
        self.refresh_offer(key)
        if observed.blind:
            return RequeueAfter(BLIND_PAUSE, reason=observed.blind)
        self._note_alarms(key, actions)
        again = self._start_jobs(key, actions)
        due = [
            action.until - observed.now for action in actions if isinstance(action, Wait) and action.until is not None
        ]
        waiting = next((action.reason for action in actions if isinstance(action, Wait)), "")
        pause = min([*due, *again, RESYNC])
        return RequeueAfter(max(pause, 0.05), reason=waiting)

    def _start_jobs(self, key: Key, actions: Sequence[Action]) -> list[float]:
        """Start what is not running already; returns in how many seconds held-back repetitions are due."""
        groups: dict[HostId | None, list[Action]] = {}
        for action in actions:
            if not isinstance(action, Alarm | Wait):
                groups.setdefault(action.host, []).append(action)
        later = []
        for host, group in groups.items():
            if (key, host) in self._jobs:
                continue
            done, at = self._last.get((key, host), ((), 0.0))
            pause = at + REPEAT_PAUSE - self._now()
            if done == tuple(group) and pause > 0:
                later.append(pause)
                continue
            self._last[key, host] = (tuple(group), self._now())
            self._spawn(key, host, self._do(key, host, group))
        return later

    def _spawn(self, key: Key, what: HostId | str | None, work: Coroutine[Any, Any, None]) -> None:
        self._jobs[key, what] = asyncio.create_task(work, name=f"contrailvm:{key}:{what or 'agency'}")

    async def _do(self, key: Key, host: HostId | None, actions: Sequence[Action]) -> None:
        what = ", ".join(dict.fromkeys(action.verb for action in actions))
        try:
            async with self._slots, asyncio.timeout(JOB_DEADLINE):
                await self._applier.do(key, actions)
        except (ContrailVsphereError, TimeoutError) as error:
            self._failed(key, host, what=what, error=error)
        except Exception as error:  # noqa: BLE001 - the boundary of all jobs; logged with its traceback and retried
            _LOG.exception("%s %s: unexpected failure of %s", key, self._words(host), what)
            self._failed(key, host, what=what, error=error)
        else:
            self._notebook.set_failure(key, host, None)
            if not all(isinstance(action, Refetch) for action in actions):
                self._look_again(key, host)
                _LOG.info("%s %s: %s (%s)", key, self._words(host), what, actions[0].reason)
        finally:
            self.jobs_done += 1
            del self._jobs[key, host]
            self.engine.mark(key)

    def _look_again(self, key: Key, host: HostId | None) -> None:
        """EAM says nothing by itself; what was done shows in it soon."""
        if host is not None:
            self._hint(host)
            return
        for reading in marked_agencies(self._readings.by_id.values(), solution_id=self._solution_id, key=key):
            self._nudge(reading.agency.id)

    def _failed(self, key: Key, host: HostId | None, *, what: str, error: BaseException) -> None:
        before = self._notebook.failure(key, host)
        count = before.count + 1 if before is not None and before.what == what else 1
        transient = isinstance(error, TransientError | TimeoutError)
        delay = (QUICK if transient else SLOW).delay(count, self._random)
        text = str(error) or type(error).__name__
        self._notebook.set_failure(key, host, Failure(what=what, error=text, count=count, until=self._now() + delay))
        _LOG.log(
            logging.INFO if transient else logging.WARNING, "%s %s: %s failed: %s", key, self._words(host), what, text
        )

    # -- publishing ---------------------------------------------------------------------------------------------

    def _refresh_offer(self, desired: Desired) -> None:
        """Publish and probe the wanted package, at first, when the wish changes, and now and then."""
        key, offer = desired.key, self._notebook.offers.get(desired.key)
        fits = offer is not None and offer.digest == desired.package.digest
        pause = REPROBE if fits and offer is not None and offer.reachable else REPROBE_BROKEN
        if (key, "offer") in self._jobs or (fits and self._now() < self._probed.get(key, 0.0) + pause):
            return
        if not fits and self._now() < self._probed.get(key, 0.0) + 1.0:
            return
        self._probed[key] = self._now()
        self._spawn(key, "offer", self._offer(desired))

    def refresh_offer(self, key: Key) -> None:
        """Look anew, where it is due, at how the package of a key is published."""
        desired = self._notebook.desired.get(key)
        if desired is not None and not desired.removed:
            self._refresh_offer(desired)

    async def _offer(self, desired: Desired) -> None:
        key = desired.key
        try:
            async with asyncio.timeout(60):
                offer = await self._publishing.offer(desired)
        except (ContrailVsphereError, TimeoutError) as error:
            problem = str(error) or "the deadline passed"
            offer = PackageOffer(
                version=desired.package.version, digest=desired.package.digest, url="", reachable=False, problem=problem
            )
        finally:
            del self._jobs[key, "offer"]
        if self._notebook.offers.get(key) != offer:
            self._notebook.offers[key] = offer
            self.engine.mark(key)

    def offer_again(self) -> None:
        """Publish and probe everything anew at once: its certificate, or what guests are told of us, has changed."""
        self._probed.clear()
        for key in self._notebook.desired:
            self.engine.mark(key)

    # -- alarms -------------------------------------------------------------------------------------------------

    def _note_alarms(self, key: Key, actions: Sequence[Action]) -> None:
        """Log and tell alarms when they come and go; an alarm whose words change is the same alarm.

        What was told is in the journal. An alarm told by the process before us may need its time to show again (a
        deadline runs anew with us): until we have seen it, it is over only once nothing is waited for at its place.
        """
        found = {(each.host, each.cause): each for each in actions if isinstance(each, Alarm)}
        before = {(each.host, each.cause): each for each in self._notebook.alarms(key)}
        unseen = self._inherited.get(key, set()) - found.keys()
        busy = {action.host for action in actions}
        staying = {mark: before[mark] for mark in unseen & before.keys() if mark[0] in busy}
        self._inherited[key] = set(staying)
        for mark in found.keys() - before.keys():
            _LOG.warning("alarm: %s %s: %s", key, self._words(mark[0]), found[mark].reason)
        for mark in before.keys() - found.keys() - staying.keys():
            _LOG.info("alarm over: %s %s: %s", key, self._words(mark[0]), before[mark].reason)
        told = {mark: ToldAlarm(host=each.host, cause=each.cause, reason=each.reason) for mark, each in found.items()}
        kept = {mark: before.get(mark, each) for mark, each in (told | staying).items()}
        self._notebook.put_alarms(key, tuple(kept[mark] for mark in sorted(kept, key=str)))
        for mark in told.keys() - before.keys():
            self.on_alarm(key, told[mark], True)
        for mark in before.keys() - kept.keys():
            self.on_alarm(key, before[mark], False)
        self._alarms[key] = frozenset(found.values())

    @property
    def alarms(self) -> Mapping[Key, frozenset[Alarm]]:
        """The alarms that stand, by key."""
        return self._alarms

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; everything known is looked at once."""
        self._visitors.rebuild()
        self.engine.start()
        self.mark_all()

    async def stop(self, deadline: float = 10.0) -> None:
        """Start nothing more; what runs gets ``deadline`` seconds."""
        await self.engine.stop(deadline)
        jobs = tuple(self._jobs.values())
        if jobs:
            await asyncio.wait(jobs, timeout=deadline)
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def idle(self) -> None:
        """Return once no pass is due now and no job runs."""
        while True:
            await self.engine.idle()
            if not self._jobs:
                return
            await asyncio.wait(tuple(self._jobs.values()))
