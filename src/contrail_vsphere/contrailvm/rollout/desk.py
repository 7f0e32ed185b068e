"""Keeps the rollouts in the journal: begun with the desired state that they bring about, changed turn by turn.

Everything is one synchronous step, so that two clusters of a deployment cannot take the same slot between a look and a
write; a decision about a rollout that meanwhile gave way to another is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from contrail_vsphere.contrailvm.desired import Desired, Key, RolloutPolicy
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.plan.actions import EndTurn, FinishRollout, StopRollout, TakeTurn
from contrail_vsphere.contrailvm.rollout.turns import Rollout, begin, way_back
from contrail_vsphere.model.ids import HostId

MANAGER = "manager"
"""Who asked for an automatic rollback."""


class RolloutDesk:
    """``now`` gives epoch seconds; ``told`` hears of every rollout that begins, is stopped, or is over."""

    def __init__(self, notebook: Notebook, *, now: Callable[[], float]) -> None:
        self._notebook = notebook
        self._now = now
        self.told: Callable[[Rollout], None] = lambda _rollout: None

    def write(
        self,
        values: Mapping[Key, Desired],
        *,
        sources: Mapping[str, Mapping[str, Any]],
        by: str,
        policy: RolloutPolicy | None = None,
        reason: str = "",
        unchecked: bool = False,
        rollback: bool = False,
    ) -> tuple[Rollout, ...]:
        """Make ``values`` the desired state; where that changes what runs, a rollout brings it about."""
        before = self._notebook.desired
        begun = []
        for deployment in sorted({key.deployment for key in values}):
            rollout = begin(
                deployment,
                before=before,
                after=values,
                old=self._notebook.rollouts.get(deployment),
                now=self._now(),
                by=by,
                policy=policy,
                reason=reason,
                unchecked=unchecked,
                rollback=rollback,
            )
            if rollout is not None:
                begun.append(rollout)
        self._notebook.write_desired(values, sources=sources, rollouts=begun)
        for each in begun:
            self.told(each)
        return tuple(begun)

    def do(self, key: Key, action: TakeTurn | EndTurn | StopRollout | FinishRollout) -> None:
        """Do what a plan decided about the rollout of that number."""
        rollout = self._notebook.rollouts.get(key.deployment)
        if rollout is None or rollout.number != action.number or not rollout.active:
            return
        match action:
            case TakeTurn():
                free = action.limit is None or len(rollout.turns) < action.limit
                if free and rollout.state == "running":
                    self._notebook.put_rollout(rollout.with_turn(key, action.host, at=self._now()))
            case EndTurn() if action.vm is not None:
                self._notebook.put_rollout(rollout.with_passed(key, action.host, action.vm, at=self._now()))
            case EndTurn():
                self._notebook.put_rollout(rollout.without_turn(key, action.host))
            case StopRollout():
                self._stop(rollout, action)
            case FinishRollout():
                self._put(rollout.finished(at=self._now()))

    def resume(self, rollout: Rollout, *, begun: Iterable[tuple[Key, HostId]]) -> None:
        """Have a stopped one tried again; ``begun`` are hosts that were replaced and are not well."""
        self._notebook.put_rollout(rollout.resumed(begun, at=self._now()))

    def _stop(self, rollout: Rollout, action: StopRollout) -> None:
        if action.roll_back and self.roll_back(rollout, by=MANAGER, reason=action.reason):
            return
        self._put(rollout.stopped(action.reason))

    def _put(self, rollout: Rollout) -> None:
        self._notebook.put_rollout(rollout)
        self.told(rollout)

    def roll_back(self, rollout: Rollout, *, by: str, reason: str) -> tuple[Rollout, ...]:
        """Make the builds of before desired again; empty when there is no way back."""
        back = way_back(rollout, self._notebook.desired)
        for key in back:
            self._release(key, since=rollout.began_at)
        return self.write(back, sources={}, by=by, policy=rollout.policy, reason=reason, rollback=True) if back else ()

    def _release(self, key: Key, *, since: float) -> None:
        """Hosts that were put on hold with what is taken back now: they get another ContrailVM."""
        for host, record in tuple(self._notebook.memory(key).hosts.items()):
            if record.hold is not None and record.hold.since >= since:
                self._notebook.put_host(key, host, replace(record, hold=None, attempts=()))
