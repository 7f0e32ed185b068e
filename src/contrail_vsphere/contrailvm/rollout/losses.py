"""Whether a vRouter drops frames, as a rollout must know it before a turn is over. Pure.

Counters grow for ever, so it is their growth that counts: over the last seconds of the gate, slid along until they are
quiet. A host that drops frames while most others of its cluster drop them too is not to blame.
"""

from __future__ import annotations

from contrail_vsphere.contrailvm.observed import HostView, Observed
from contrail_vsphere.contrailvm.rollout.turns import Rollout

OFTEN, SELDOM = 1.0, 15.0
"""Seconds between two counts in a gate, at least and at most."""
COVERED = 0.9
"""Share of the gate that two counts must lie apart: timers fire when they can."""


def asked_every(rollout: Rollout) -> float:
    """Seconds between two questions to a vRouter that has to prove itself; 0 where nobody wants to know."""
    policy = rollout.policy
    if policy.drops is None or rollout.kind == "rollback" or not policy.gate:
        return 0.0
    return min(max(policy.gate / 4, OFTEN), SELDOM)


def loss(view: HostView, *, over: float) -> float | None:
    """Frames a second that the host's vRouter dropped over its last so many seconds; None where that is not known."""
    samples = view.vrouter.drops if view.vrouter is not None else ()
    if len(samples) < 2:
        return None
    last = samples[-1]
    before = [each for each in samples[:-1] if each.at <= last.at - over * COVERED]
    if not before:
        return None
    return (last.total - before[-1].total) / (last.at - before[-1].at)


def why_not_quiet(rollout: Rollout, observed: Observed, host: HostView) -> str:
    """Why the gate stays closed for the frames that the host drops, in words; empty where it may open."""
    policy, every = rollout.policy, asked_every(rollout)
    if not every or policy.drops is None:
        return ""
    samples = host.vrouter.drops if host.vrouter is not None else ()
    rate = loss(host, over=policy.gate)
    if rate is None or not samples or samples[-1].at < observed.now - 2 * every:
        return "its VRouterAgent has yet to tell how many frames it drops"
    if rate <= policy.drops or _others_drop_too(rollout, observed, host):
        return ""
    return f"its vRouter drops {rate:.0f} frames a second; {policy.drops:g} are allowed"


def is_lossy(view: HostView, rollout: Rollout) -> bool:
    """It drops more than the policy allows, so that it matters what the others drop."""
    rate = loss(view, over=rollout.policy.gate)
    return rollout.policy.drops is not None and rate is not None and rate > rollout.policy.drops


def _others_drop_too(rollout: Rollout, observed: Observed, host: HostView) -> bool:
    others = [
        each
        for each in observed.hosts
        if each.host.id != host.host.id and rollout.turn_of(observed.key, each.host.id) is None
    ]
    known = [rate for each in others if (rate := loss(each, over=0.0)) is not None]
    lossy = [rate for rate in known if rate > (rollout.policy.drops or 0.0)]
    return len(known) > 1 and 2 * len(lossy) > len(known)
