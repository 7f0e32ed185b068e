"""Rolling upgrades: what a rollout is, who may take a turn, and what becomes of it. Pure values and functions.

EAM has no canary and no batches: given a new package it makes the new ContrailVM beside the old one on every host at
once, and stops in the ``provisioned`` hook. There the old one still forwards, so the hook is our throttle: a host
leaves it when it has been given its *turn*, and the turn ends when the new ContrailVM has proved itself (or failed).

A rollout is of a whole deployment, over all its clusters, and lies in the journal; a turn is written there before the
hook is released. So whoever dies in the middle finds every turn again, and no slot can be taken twice.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from contrail_vsphere.contrailvm.desired import Build, Desired, Key, RolloutPolicy
from contrail_vsphere.contrailvm.rollout.window import any_open
from contrail_vsphere.model.ids import HostId, VmId

RolloutKind = Literal["upgrade", "rollback"]
RolloutState = Literal["running", "stopped", "done"]
"""stopped: a host failed and the policy is to wait for a person."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A host whose ContrailVM is being replaced; ``since`` in epoch seconds."""

    key: str
    host: HostId
    since: float


@dataclass(frozen=True, slots=True)
class Passed:
    """A host whose new ContrailVM went through the health gate."""

    key: str
    host: HostId
    vm: VmId
    at: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """The newest rollout of a deployment, as it lies in the journal."""

    deployment: str
    number: int
    kind: RolloutKind
    target: Build
    before: tuple[tuple[str, Build], ...]
    """By key: what its ContrailVMs were built from; the way back."""
    policy: RolloutPolicy
    began_at: float
    state: RolloutState = "running"
    by: str = ""
    """Who asked for it; ``manager`` for an automatic rollback."""
    reason: str = ""
    """Why it was stopped, or what it rolls back."""
    paused: str = ""
    """Who paused it: no more turns are given, those given end."""
    approved: bool = False
    """A person looked at the canaries and let the others follow."""
    unchecked: bool = False
    """A person asked for it although the pre-checks found something."""
    turns: tuple[Turn, ...] = ()
    passed: tuple[Passed, ...] = ()
    ended_at: float = 0.0

    @property
    def active(self) -> bool:
        """Not over: it runs, or waits for a person."""
        return self.state != "done"

    def turn_of(self, key: Key, host: HostId) -> Turn | None:
        """The turn of a host, if it has one now."""
        return next((each for each in self.turns if (each.key, each.host) == (str(key), host)), None)

    def build_before(self, key: Key) -> Build | None:
        """What the key's ContrailVMs were built from; None where the rollout changes nothing for the key."""
        return dict(self.before).get(str(key))

    def resettles(self, key: Key) -> bool:
        """Whether the key's ContrailVMs are to be told something else when they boot."""
        before = self.build_before(key)
        return before is not None and before.guest is not None and before.guest != self.target.guest

    @property
    def goal(self) -> str:
        """The target as people call it."""
        remade = any((each.package, each.size) != (self.target.package, self.target.size) for _, each in self.before)
        return str(self.target) if remade or not self.before else f"{self.target} with other settings"

    def with_turn(self, key: Key, host: HostId, *, at: float) -> Rollout:
        """A host is given its turn."""
        if self.turn_of(key, host) is not None:
            return self
        return replace(self, turns=(*self.turns, Turn(str(key), host, at)))

    def without_turn(self, key: Key, host: HostId) -> Rollout:
        """A host's turn is over, whatever its outcome."""
        return replace(self, turns=tuple(each for each in self.turns if (each.key, each.host) != (str(key), host)))

    def with_passed(self, key: Key, host: HostId, vm: VmId, *, at: float) -> Rollout:
        """A host went through the gate."""
        others = tuple(each for each in self.passed if (each.key, each.host) != (str(key), host))
        return replace(self.without_turn(key, host), passed=(*others, Passed(str(key), host, vm, at)))

    def without_key(self, key: Key) -> Rollout:
        """The deployment has left the cluster; a rollout that was about no other is over."""
        before = tuple(each for each in self.before if each[0] != str(key))
        return replace(
            self,
            state=self.state if before else "done",
            before=before,
            turns=tuple(each for each in self.turns if each.key != str(key)),
            passed=tuple(each for each in self.passed if each.key != str(key)),
        )

    def finished(self, *, at: float) -> Rollout:
        """Every host has the target."""
        return replace(self, state="done", turns=(), ended_at=at)

    def stopped(self, reason: str) -> Rollout:
        """A host failed: no more turns until a person decides."""
        return replace(self, state="stopped", reason=reason, turns=())

    def resumed(self, begun: Iterable[tuple[Key, HostId]], *, at: float) -> Rollout:
        """A person has it tried again; hosts that have left their old ContrailVM behind are given their time anew."""
        turns = tuple(Turn(str(key), host, at) for key, host in begun)
        return replace(self, state="running", reason="", turns=turns)


@dataclass(frozen=True, slots=True)
class Standing:
    """One host of the deployment as the rollout sees it."""

    key: Key
    host: HostId
    name: str
    current: bool = False
    """Its ContrailVM is built from the target, and all is well with it."""
    serving: bool = False
    """Its ContrailVM, old or new, forwards."""
    waiting: bool = False
    """The new ContrailVM stands beside the old one, in the hook."""
    running: bool = False
    """The old one is powered on, so that a turn costs something."""
    out: bool = False
    """In maintenance, or not reached: it follows when it is back."""
    proof: str = ""
    """What is missing until its turn is over, in words."""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout and the standing of every host of its deployment."""

    rollout: Rollout
    standings: tuple[Standing, ...] = ()
    now: float = 0.0

    @property
    def in_service(self) -> tuple[Standing, ...]:
        """Hosts that count now, in the order of their turns."""
        patterns = self.rollout.policy.order
        inside = [each for each in self.standings if not each.out]
        return tuple(sorted(inside, key=lambda each: (_place(each.name, patterns), each.name, each.key, each.host)))

    @property
    def canaries(self) -> tuple[Standing, ...]:
        """Who goes first, alone; empty once they have passed, and for a rollback."""
        rollout = self.rollout
        if rollout.kind == "rollback" or len(rollout.passed) >= rollout.policy.canary:
            return ()
        chosen = self.in_service[: rollout.policy.canary]
        proved = all(each.current and rollout.turn_of(each.key, each.host) is None for each in chosen)
        return () if proved else chosen

    @property
    def held_back(self) -> str:
        """Why nobody may begin now, empty if somebody may."""
        rollout, policy = self.rollout, self.rollout.policy
        if rollout.state == "stopped":
            return f"the {rollout.kind} is stopped: {rollout.reason}"
        if rollout.paused:
            return f"the {rollout.kind} is paused by {rollout.paused}"
        if rollout.kind == "upgrade":
            if policy.approval and policy.canary and not rollout.approved and not self.canaries:
                return "the canaries have passed; the others follow when that is approved"
            if policy.windows and not any_open(policy.windows, self.now):
                return f"outside the maintenance windows ({', '.join(policy.windows)} UTC)"
        return ""

    def updates(self, key: Key) -> bool:
        """Whether EAM may be given the target for the key: at first for the clusters of the canaries only."""
        if self.rollout.kind == "rollback":
            return True
        canaries = self.canaries
        return self.rollout.state == "running" and (not canaries or any(each.key == key for each in canaries))

    def unavailable(self) -> frozenset[tuple[Key, HostId]]:
        """Hosts in service that have a turn, or whose ContrailVM does not forward for whatever reason."""
        down = frozenset((each.key, each.host) for each in self.in_service if not each.serving)
        return down | self._in_turn()

    def _in_turn(self) -> frozenset[tuple[Key, HostId]]:
        return frozenset(
            (each.key, each.host) for each in self.in_service if self.rollout.turn_of(each.key, each.host) is not None
        )

    def granted(self) -> frozenset[tuple[Key, HostId]]:
        """Who may take a turn now; broken hosts first, then in order, never more unavailable than the policy allows.

        A host that does not forward anyway waits for turns only, not for others that do not forward either: these may
        wait for it in the same way.
        """
        if self.rollout.state != "running":
            return frozenset()
        waiting = [
            each for each in self.in_service if each.waiting and self.rollout.turn_of(each.key, each.host) is None
        ]
        # An old ContrailVM that is off loses nothing; keeping the host waiting would only prolong its outage.
        granted = {(each.key, each.host) for each in waiting if not each.running}
        if self.held_back:
            return frozenset(granted)
        canaries = self.canaries
        candidates = [each for each in waiting if each.running and (not canaries or each in canaries)]
        turns, unavailable = set(self._in_turn()), set(self.unavailable())
        for each in sorted(candidates, key=lambda each: each.serving):
            who = (each.key, each.host)
            if len((unavailable if each.serving else turns) - {who}) < self.rollout.policy.concurrency:
                granted.add(who)
                turns.add(who)
                unavailable.add(who)
        return frozenset(granted)

    def why_not(self, key: Key, host: HostId) -> str:
        """Why a host that waits has no turn, in words."""
        if self.held_back:
            return self.held_back
        canaries = self.canaries
        if canaries and (key, host) not in {(each.key, each.host) for each in canaries}:
            return f"the canaries come first ({', '.join(each.name for each in canaries)})"
        down = self.unavailable()
        ahead = (down if (key, host) not in down else self._in_turn()) - {(key, host)}
        blockers = [each.name for each in self.in_service if (each.key, each.host) in ahead]
        return f"its turn comes after {', '.join(blockers[:4])}" if blockers else "its turn comes next"

    @property
    def complete(self) -> bool:
        """Every host in service is current, and no turn is open."""
        return not self.rollout.turns and all(each.current for each in self.in_service)

    @property
    def progress(self) -> str:
        """In words: ``upgrade to 1.1.0: 3 of 64 hosts``."""
        inside = self.in_service
        done = sum(each.current and self.rollout.turn_of(each.key, each.host) is None for each in inside)
        return f"{self.rollout.kind} to {self.rollout.goal}: {done} of {len(inside)} hosts"


def build_of(desired: Desired) -> Build:
    """What the ContrailVMs of a key are to be built from."""
    return Build(desired.package, desired.size, desired.guest)


def begin(
    deployment: str,
    *,
    before: Mapping[Key, Desired],
    after: Mapping[Key, Desired],
    old: Rollout | None,
    now: float,
    by: str,
    policy: RolloutPolicy | None = None,
    reason: str = "",
    unchecked: bool = False,
    rollback: bool = False,
) -> Rollout | None:
    """The rollout that changing ``before`` to ``after`` means for a deployment; None when no build changes.

    The way back of an upgrade that replaces an unfinished one leads to where that one came from; going there is a
    rollback, and so is what was asked for as one: without canaries, and without waiting for maintenance windows.
    """
    builds: dict[Key, tuple[Build, Build]] = {}
    for key, wanted in after.items():
        present = before.get(key)
        if key.deployment != deployment or present is None or present.removed or wanted.removed:
            continue
        if build_of(present) != build_of(wanted):
            builds[key] = (build_of(present), build_of(wanted))
    if not builds:
        return None
    base = {key: (old.build_before(key) if old and old.active else None) or pair[0] for key, pair in builds.items()}
    back = rollback or all(base[key] == pair[1] for key, pair in builds.items())
    first = min(builds)
    return Rollout(
        deployment=deployment,
        number=(old.number if old else 0) + 1,
        kind="rollback" if back else "upgrade",
        target=builds[first][1],
        before=tuple(sorted((str(key), builds[key][0] if back else base[key]) for key in builds)),
        policy=policy or after[first].rollout,
        began_at=now,
        by=by,
        reason=reason,
        unchecked=unchecked,
    )


def way_back(rollout: Rollout, desired: Mapping[Key, Desired]) -> dict[Key, Desired]:
    """The desired state with the builds of before; keys that are gone or on their way out stay as they are."""
    back = {}
    for key, wanted in desired.items():
        build = rollout.build_before(key)
        if key.deployment == rollout.deployment and build is not None and not wanted.removed:
            back[key] = replace(wanted, package=build.package, size=build.size, guest=build.guest or wanted.guest)
    return back


def _place(name: str, patterns: Iterable[str]) -> int:
    """Place of a host in the operator's order; those it does not name come last."""
    found = [number for number, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern)]
    return found[0] if found else len(tuple(patterns))
