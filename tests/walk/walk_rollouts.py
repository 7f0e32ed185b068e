"""What may happen to rollouts on a walk: asked for, to good and bad packages, steered, taken back, tables edited."""

from __future__ import annotations

from typing import Any

from crash_rig import VERSIONS
from walk_mischief import Mischief, step

from contrail_vsphere.contrailvm.rollout.upgrades import UpgradeWish
from contrail_vsphere.simulator.core.faults import FaultRule

TABLES = (
    "",
    "gate = 0",
    "canary = 0\nconcurrency = 2\ngate = 20",
    "canary = 2\ngate = 30\ndeadline = 200",
    'concurrency = 3\ngate = 10\ndeadline = 120\non_failure = "stop"',
    "approval = true\ngate = 10",
    'order = ["esx-new-*", "esx-01"]\nwindows = ["00:00-12:00"]\ngate = 5',
)
"""Rollout tables of the deployments file."""


def _in_force(hand: Mischief) -> str:
    """One of the deployments in force, if there is any."""
    owners = sorted({owner for owner, _ in hand.site.wanted.values()})
    return hand.chance.choice(owners) if owners else ""


@step(4)
async def upgrade(hand: Mischief) -> str:
    """The operator's word, with the checks or without."""
    name = _in_force(hand)
    if not name:
        return ""
    version = hand.chance.choice(VERSIONS)
    wish = UpgradeWish(
        name,
        to=version,
        canary=hand.chance.choice((None, 0, 1, 2)),
        concurrency=hand.chance.choice((None, 1, 2)),
        force=hand.chance.choice((True, False)),
    )
    await hand.site.ask(lambda manager: manager.operator.upgrades.upgrade(wish, by="walker"))
    return f"the operator upgrades {name} to {version}; in force: {hand.site.wanted}"


@step(2)
async def roll_back(hand: Mischief) -> str:
    name = _in_force(hand)
    if not name:
        return ""

    async def verb(manager: Any) -> None:
        manager.operator.upgrades.rollback(name, by="walker")

    await hand.site.ask(verb)
    return f"the operator rolls {name} back; in force: {hand.site.wanted}"


@step(2)
async def steer(hand: Mischief) -> str:
    name, what = _in_force(hand), hand.chance.choice(("pause", "resume", "approve"))
    if not name:
        return ""

    async def verb(manager: Any) -> None:
        upgrades = manager.operator.upgrades
        {
            "pause": lambda: upgrades.pause(name, by="walker"),
            "resume": lambda: upgrades.resume(name),
            "approve": lambda: upgrades.approve(name),
        }[what]()

    await hand.site.ask(verb)
    return f"rollout of {name}: {what}"


@step(2)
async def edit_table(hand: Mischief) -> str:
    """The deployments file says from now on something else of rollouts."""
    hand.site.rollout_table = hand.chance.choice(TABLES)
    if hand.site.wanted:
        await hand.site.apply(hand.site.wanted)
    return f"rollouts from now on: {hand.site.rollout_table!r}"


@step()
async def edit_settings(hand: Mischief) -> str:
    """Guests are to be told something else: they are restarted turn by turn."""
    hand.site.controllers = hand.chance.choice(("127.0.0.1", "127.0.0.2", "127.0.0.3"))
    if hand.site.wanted:
        await hand.site.apply(hand.site.wanted)
    return f"guests are told of {hand.site.controllers}"


@step(2)
async def break_package(hand: Mischief) -> str:
    """ContrailVMs made from a version get no controller, until the walk comes to rest."""
    version = hand.chance.choice(VERSIONS)
    hand.site.vcenter.faults.add(FaultRule(point="vrouter.connect", where={"version": version}, drop=True, times=6))
    return f"package {version} is broken, six times"
