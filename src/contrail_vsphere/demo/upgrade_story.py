"""The story's upgrades: one that goes well, canary first, and one to a broken package that is stopped and taken back.

What is broken about the second package is simulated (its VRouterAgent never finds a controller); that it is found out,
at the canary alone, and that the other hosts never notice, is the product's doing. How many hosts had no forwarding
vRouter at a time is counted from the simulated vRouters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from contrail_vsphere.demo.tale import Tale
from contrail_vsphere.model.errors import NotConverged

DEPLOYMENT: Final = "demo"
GOOD: Final = "1.1.0"
BROKEN: Final = "1.2.0"
POLL: Final = 0.25
"""Seconds between two looks; the demo runs in real time."""


def concurrency(hosts: int) -> int:
    """Hosts that are replaced at a time: half of them, and no more than this machine boots guests for in good time."""
    return min(max(hosts // 2, 2), 4)


def rollout_policy(hosts: int) -> str:
    """The deployment's table of how upgrades go; less patience than an operator should have, since somebody watches."""
    return f"""
[deployment.{DEPLOYMENT}.rollout]
concurrency = {concurrency(hosts)}
gate = 1
deadline = 10
"""


class Stage(Protocol):
    """What the story is told on; see ``contrailvm_story``."""

    tale: Tale
    directory: Path
    config: Path

    def step(self, words: str) -> AbstractContextManager[None]:
        """A chapter."""
        ...

    async def run(self, *arguments: str) -> dict[str, Any]:
        """One of the product's commands, to its end."""
        ...

    async def do(self, method: str, path: str, body: dict[str, Any] | None = None, *, url: str = "") -> Any:
        """A verb of the simulated vCenter's control port."""
        ...

    async def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for something to come true of the manager's status, and show it meanwhile."""
        ...


class UpgradeStory:
    """Its chapters, in the order of their telling."""

    def __init__(self, stage: Stage, *, hosts: int) -> None:
        self._stage = stage
        self._concurrency = concurrency(hosts)
        self._published: list[asyncio.Task[None]] = []
        self._most_dark = 0
        self._upgraded_to = ""
        self._rolled_back = ""

    def begin_ahead(self) -> None:
        """Build and publish while the story waits for other things."""
        self._published = [self._stage.tale.ahead(self._publish(version)) for version in (GOOD, BROKEN)]

    async def packages(self) -> None:
        """Two newer packages."""
        with self._stage.step(f"publish packages {GOOD}, and {BROKEN} whose vRouters will not work"):
            await asyncio.gather(*self._published)
            rule = {"point": "vrouter.connect", "where": {"version": BROKEN}, "drop": True}
            await self._stage.do("POST", "/v1/faults", rule)

    async def upgrade(self) -> None:
        """Every host gets the newer ContrailVM in its turn."""
        with self._stage.step(f"upgrade to {GOOD}: a canary first, then {self._concurrency} hosts at a time"):
            await self._begin(GOOD)
            async with self._watched():
                await self._stage.until(f"every host has {GOOD}", lambda status: _over(status, "upgrade", GOOD))
        if self._most_dark > self._concurrency:
            raise NotConverged(f"{self._most_dark} hosts had no forwarding vRouter at the same time")
        self._upgraded_to = GOOD

    async def broken(self) -> None:
        """A package that does not work is stopped at the canary and taken back."""
        with self._stage.step(f"upgrade to {BROKEN}: stopped at the canary and rolled back by itself"):
            await self._begin(BROKEN)
            before, self._most_dark = self._most_dark, 0
            async with self._watched():
                await self._stage.until(f"{GOOD} is back", lambda status: _over(status, "rollback", GOOD))
        if self._most_dark > 1:
            raise NotConverged(f"{self._most_dark} hosts noticed the broken package at the same time")
        self._most_dark = before
        self._rolled_back = BROKEN

    def summary(self) -> dict[str, Any]:
        """Its part of the summary; ``most_dark``: hosts without a forwarding vRouter at a time in the upgrades."""
        return {"upgraded_to": self._upgraded_to, "rolled_back": self._rolled_back, "most_dark": self._most_dark}

    # -- inside -------------------------------------------------------------------------------------------------

    async def _publish(self, version: str) -> None:
        run, out = self._stage.run, self._stage.directory / f"packages-{version}"
        made = await run("contrailvm", "package", "build", "--demo", "--version", version, "--out", str(out))
        await run("contrailvm", "package", "publish", made["directory"], "--config", str(self._stage.config))

    async def _begin(self, version: str) -> None:
        await self._stage.run("contrailvm", "upgrade", DEPLOYMENT, "--to", version, "--config", str(self._stage.config))

    def _watched(self) -> _Watch:
        return _Watch(self._look)

    async def _look(self) -> None:
        """Count the hosts whose vRouter does not forward; on each runs one at most."""
        while True:
            hosts = await self._stage.do("GET", "/v1/hosts")
            agents = await self._stage.do("GET", "/v1/vrouters")
            self._most_dark = max(self._most_dark, len(hosts) - sum(agent["forwards"] for agent in agents))
            await asyncio.sleep(POLL)


class _Watch:
    """Something that goes on for as long as the context lasts; what fails in it fails the context."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._look = look
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._look(), name="demo:watch")

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        (failure,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure


def _over(status: dict[str, Any], kind: str, version: str) -> bool:
    """The newest rollout is of that kind, to that version, and over; and every ContrailVM is of that version."""
    (rollout,) = status["rollouts"] or ({"kind": "", "version": "", "state": ""},)
    units = [unit for each in status["deployments"] for unit in each["units"]]
    right = all(unit["version"] == version and unit["state"] == "healthy" for unit in units)
    return (rollout["kind"], rollout["version"], rollout["state"]) == (kind, version, "done") and right
