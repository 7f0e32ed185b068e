"""The manager's memory: desired state and records in the journal, passing facts in this process only.

Everything durable is written here before it is acted on; reading never touches the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from contrail_vsphere.contrailvm.desired import Desired, Key, from_record, to_record
from contrail_vsphere.contrailvm.observed import Failure, Memory, PackageOffer, VRouterFact
from contrail_vsphere.contrailvm.records import HostRecord, KeyRecord, TaskNote, ToldAlarm, ToldAlarms
from contrail_vsphere.contrailvm.rollout.turns import Rollout
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.model.ids import HostId, ResourcePoolId

DESIRED = "contrailvm-desired"
SOURCE = "contrailvm-deployment"
KEYS = "contrailvm-key"
HOSTS = "contrailvm-host"
ROLLOUTS = "contrailvm-rollout"
ALARMS = "contrailvm-alarm"
DETACHED = "contrailvm-detached"
TASKS = "contrailvm-task"


class Notebook:
    """One per manager. ``on_desired`` is called with each key whose desired state changed."""

    def __init__(self, journal: RecordStore) -> None:
        self._journal = journal
        self.on_desired: Callable[[Key], None] = lambda _key: None
        self._desired = {Key.parse(each.key): from_record(Desired, each.value) for each in journal.items(DESIRED)}
        self._keys = {Key.parse(each.key): from_record(KeyRecord, each.value) for each in journal.items(KEYS)}
        self._hosts: dict[Key, dict[HostId, HostRecord]] = {}
        for record in journal.items(HOSTS):
            key, _, host = record.key.rpartition("/")
            self._hosts.setdefault(Key.parse(key), {})[HostId(host)] = from_record(HostRecord, record.value)
        self._rollouts = {each.key: from_record(Rollout, each.value) for each in journal.items(ROLLOUTS)}
        self._alarms = {
            Key.parse(each.key): from_record(ToldAlarms, each.value).alarms for each in journal.items(ALARMS)
        }
        self._vrouters: dict[Key, dict[HostId, VRouterFact]] = {}
        self._failures: dict[Key, dict[HostId | None, Failure]] = {}
        self._pools: dict[Key, ResourcePoolId] = {}
        self.offers: dict[Key, PackageOffer] = {}
        """The wanted package as published for each key."""

    # -- desired state ------------------------------------------------------------------------------------------

    @property
    def desired(self) -> Mapping[Key, Desired]:
        """All of it, by key."""
        return self._desired

    def write_desired(
        self,
        values: Mapping[Key, Desired],
        *,
        sources: Mapping[str, Mapping[str, Any]],
        rollouts: Iterable[Rollout] = (),
    ) -> None:
        """Write keys (and the operator's own tables, and rollouts, by deployment), all or none."""
        begun = {each.deployment: each for each in rollouts}
        with self._journal.transaction():
            self._journal.put_many(DESIRED, {str(key): to_record(value) for key, value in values.items()})
            self._journal.put_many(SOURCE, sources)
            self._journal.put_many(ROLLOUTS, {name: to_record(each) for name, each in begun.items()})
        self._desired.update(values)
        self._rollouts.update(begun)
        for key in values:
            self._pools.pop(key, None)
            self._failures.pop(key, None)
            self.on_desired(key)

    def source(self, deployment: str) -> Mapping[str, Any] | None:
        """The operator's own table of a deployment, as last applied."""
        record = self._journal.get(SOURCE, deployment)
        return record.value if record else None

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """The newest rollout of every deployment that ever had one."""
        return self._rollouts

    def put_rollout(self, rollout: Rollout) -> None:
        """Write a rollout; on disk when this returns. All clusters of the deployment are looked at."""
        self._journal.put(ROLLOUTS, rollout.deployment, to_record(rollout))
        self._rollouts[rollout.deployment] = rollout
        for key in self._desired:
            if key.deployment == rollout.deployment:
                self.on_desired(key)

    def forget(self, key: Key) -> None:
        """Drop everything about a key."""
        rollout = self._rollouts.get(key.deployment)
        with self._journal.transaction():
            self._journal.delete(DESIRED, str(key))
            self._journal.delete(KEYS, str(key))
            self._journal.delete(ALARMS, str(key))
            for host in self._hosts.get(key, {}):
                self._journal.delete(HOSTS, f"{key}/{host}")
            if not any(each.deployment == key.deployment for each in self._desired if each != key):
                self._journal.delete(SOURCE, key.deployment)
                self._journal.delete(ROLLOUTS, key.deployment)
                self._journal.delete(TASKS, key.deployment)
                self._rollouts.pop(key.deployment, None)
            elif rollout is not None:
                self._rollouts[key.deployment] = rollout.without_key(key)
                self._journal.put(ROLLOUTS, key.deployment, to_record(self._rollouts[key.deployment]))
        tables = (self._desired, self._keys, self._hosts, self._vrouters, self._failures, self._pools, self.offers)
        for table in (*tables, self._alarms):
            table.pop(key, None)
        self.on_desired(key)

    # -- records ------------------------------------------------------------------------------------------------

    def memory(self, key: Key) -> Memory:
        """What plan is given about a key."""
        return Memory(
            record=self._keys.get(key, KeyRecord()),
            hosts=self._hosts.get(key, {}),
            vrouters=self._vrouters.get(key, {}),
            failures=self._failures.get(key, {}),
            pool=self._pools.get(key),
            offer=self.offers.get(key),
            trunk_shared=self._trunk_shared(key),
        )

    def _trunk_shared(self, key: Key) -> bool:
        """One that is itself being removed counts: the last one to go takes the trunk along."""
        own = self._desired.get(key)
        trunk = own.trunk if own is not None else None
        place = (trunk.switch, trunk.name) if trunk is not None else None
        others = (each.trunk for other, each in self._desired.items() if other != key and each.trunk is not None)
        return any((each.switch, each.name) == place for each in others)

    def host(self, key: Key, host: HostId) -> HostRecord:
        """The record of a host, empty if there is none."""
        return self._hosts.get(key, {}).get(host, HostRecord())

    def update_host(self, key: Key, host: HostId, **changes: Any) -> None:
        """Change fields of a host's record; on disk when this returns."""
        self.put_host(key, host, replace(self.host(key, host), **changes))

    def put_host(self, key: Key, host: HostId, record: HostRecord) -> None:
        """Write a host's record; on disk when this returns."""
        self._journal.put(HOSTS, f"{key}/{host}", to_record(record))
        self._hosts.setdefault(key, {})[host] = record

    def update_key(self, key: Key, **changes: Any) -> None:
        """Change fields of a key's record; on disk when this returns."""
        record = replace(self._keys.get(key, KeyRecord()), **changes)
        self._journal.put(KEYS, str(key), to_record(record))
        self._keys[key] = record

    @property
    def told_alarms(self) -> Mapping[Key, tuple[ToldAlarm, ...]]:
        """The alarms that were told and are not over, by this process or the one before."""
        return self._alarms

    def alarms(self, key: Key) -> tuple[ToldAlarm, ...]:
        """Those of one key."""
        return self._alarms.get(key, ())

    def put_alarms(self, key: Key, alarms: tuple[ToldAlarm, ...]) -> None:
        """Write which alarms were told."""
        if alarms == self._alarms.get(key, ()):
            return
        if alarms:
            self._journal.put(ALARMS, str(key), to_record(ToldAlarms(alarms)))
            self._alarms[key] = alarms
        else:
            self._journal.delete(ALARMS, str(key))
            self._alarms.pop(key, None)

    def task_note(self, deployment: str) -> TaskNote | None:
        """The task in vCenter that shows the deployment's rollout."""
        record = self._journal.get(TASKS, deployment)
        return from_record(TaskNote, record.value) if record is not None else None

    def put_task_note(self, deployment: str, note: TaskNote) -> None:
        """Write it."""
        self._journal.put(TASKS, deployment, to_record(note))

    @property
    def detached(self) -> str:
        """Why nothing may be made until a person says so; empty while our extension stands."""
        record = self._journal.get(DETACHED, "extension")
        return str(record.value["reason"]) if record is not None else ""

    def put_detached(self, reason: str) -> None:
        """Somebody unregistered our extension; with an empty reason: a person wants all of it again."""
        if reason:
            self._journal.put(DETACHED, "extension", {"reason": reason})
        else:
            self._journal.delete(DETACHED, "extension")

    async def durable(self) -> None:
        """Return once everything written so far would survive this process."""
        await self._journal.durable()

    # -- passing facts ------------------------------------------------------------------------------------------

    def set_pool(self, key: Key, pool: ResourcePoolId) -> None:
        """Our resource pool was found or made."""
        self._pools[key] = pool

    def set_vrouter(self, key: Key, host: HostId, fact: VRouterFact) -> bool:
        """A vRouter was asked; True when its answer differs from the one before (the reason's wording aside)."""
        facts = self._vrouters.setdefault(key, {})
        before = facts.get(host)
        facts[host] = fact
        return before is None or (before.forwards, before.synced, before.vm) != (fact.forwards, fact.synced, fact.vm)

    def vrouter(self, key: Key, host: HostId) -> VRouterFact | None:
        """The last answer of a host's vRouter."""
        return self._vrouters.get(key, {}).get(host)

    def recall_vrouters(self, before: Notebook) -> None:
        """Begin with what the vRouters answered another notebook of this process."""
        self._vrouters = {key: dict(facts) for key, facts in before._vrouters.items()}

    def set_failure(self, key: Key, host: HostId | None, failure: Failure | None) -> None:
        """The last action for the host (None: for the agency) failed, or went well again."""
        failures = self._failures.setdefault(key, {})
        if failure is None:
            failures.pop(host, None)
        else:
            failures[host] = failure

    def failure(self, key: Key, host: HostId | None) -> Failure | None:
        """The last failure that still stands."""
        return self._failures.get(key, {}).get(host)
