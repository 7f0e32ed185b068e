"""What a reader sees of a rollout: how far it is, host by host, whose turn it is, and why nobody else begins. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contrail_vsphere.contrailvm.rollout.turns import Rollout, RolloutState, RolloutView, Standing

Place = Literal["away", "done", "in turn", "made", "before"]
"""``made``: the new ContrailVM stands beside the old one, which forwards; ``before``: it is still to be made."""


@dataclass(frozen=True, slots=True)
class RolloutHost:
    """One host's place in a rollout."""

    host: str
    name: str
    place: Place
    since: float = 0.0
    """When its turn began or it passed, in epoch seconds; 0 where neither has happened."""
    canary: bool = False
    note: str = ""
    """Why it has no turn, or what is missing until the one it has is over; empty where it is done."""


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """The newest rollout of a deployment. Times in epoch seconds."""

    deployment: str
    number: int
    kind: str
    version: str
    size: str
    before: tuple[str, ...]
    """What ran before it, each once."""
    state: RolloutState
    by: str
    reason: str
    began_at: float
    ended_at: float
    paused: str = ""
    held_back: str = ""
    """Why nobody may begin now."""
    progress: str = ""
    done: int = 0
    total: int = 0
    hosts: tuple[RolloutHost, ...] = ()
    """In the order of their turns; none once it is over."""

    @property
    def in_turn(self) -> tuple[str, ...]:
        """Names of the hosts that have a turn now."""
        return tuple(each.name for each in self.hosts if each.place == "in turn")


def rollout_status(view: RolloutView) -> RolloutStatus:
    """A rollout under way."""
    canaries = {(each.key, each.host) for each in view.canaries}
    away = tuple(each for each in view.standings if each.out)
    ordered = (*view.in_service, *sorted(away, key=lambda each: each.name))
    hosts = tuple(_host(view, each, canary=(each.key, each.host) in canaries) for each in ordered)
    done = sum(each.place == "done" for each in hosts)
    return _status(view.rollout, hosts=hosts, held_back=view.held_back, progress=view.progress, done=done)


def rollout_record(rollout: Rollout) -> RolloutStatus:
    """What the journal alone says: of a rollout that is over, or while the hosts are not in view."""
    what = "not in view now" if rollout.active else "over"
    return _status(rollout, progress=f"{rollout.kind} to {rollout.goal}: {what}", done=len(rollout.passed))


def _host(view: RolloutView, standing: Standing, *, canary: bool) -> RolloutHost:
    rollout, who = view.rollout, (standing.key, standing.host)
    turn = rollout.turn_of(*who)
    passed = next((each for each in rollout.passed if (each.key, each.host) == (str(who[0]), who[1])), None)
    note = ""
    if turn is not None:
        place: Place = "in turn"
        note = standing.proof
    elif standing.out:
        place, note = "away", "it follows when it is back"
    elif standing.current:
        place = "done"
    else:
        place, note = "made" if standing.waiting else "before", view.why_not(*who)
    since = turn.since if turn is not None else passed.at if passed is not None else 0.0
    return RolloutHost(standing.host, standing.name, place, since=since, canary=canary, note=note)


def _status(
    rollout: Rollout, *, hosts: tuple[RolloutHost, ...] = (), held_back: str = "", progress: str, done: int
) -> RolloutStatus:
    return RolloutStatus(
        deployment=rollout.deployment,
        number=rollout.number,
        kind=rollout.kind,
        version=rollout.target.package.version,
        size=rollout.target.size,
        before=tuple(dict.fromkeys(str(build) for _, build in rollout.before)),
        state=rollout.state,
        by=rollout.by,
        reason=rollout.reason,
        began_at=rollout.began_at,
        ended_at=rollout.ended_at,
        paused=rollout.paused,
        held_back=held_back,
        progress=progress,
        done=done,
        total=len(hosts) or done,
        hosts=hosts,
    )
