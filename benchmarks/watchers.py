"""A hundred who watch: each on a connection of its own, first all of them at once, then each once a second.

A process of its own, so that its work is not the server's: ``python -m benchmarks.watchers URL CA TOKEN PATH SECONDS``
prints how long answers took, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from contrail_vsphere.pki.identity import client_context

WATCHERS = 100


async def watch(url: str, *, ca_file: Path, token: str, path: str, seconds: float) -> dict[str, Any]:
    """Answers to ``path``: the slowest of all at once, and of those that come one by one their median and p99."""
    tls = client_context(ca_file=ca_file)
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=WATCHERS, ssl=tls)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:

        async def ask() -> float:
            began = time.perf_counter()
            async with session.get(path) as answer:
                await answer.read()
                answer.raise_for_status()
            return time.perf_counter() - began

        async def one(first: float) -> list[float]:
            took = []
            due = time.perf_counter() + first
            while time.perf_counter() < end:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                took.append(await ask())
                due += 1.0
            return took

        await asyncio.gather(*(ask() for _ in range(WATCHERS)))  # opens the connections
        at_once = await asyncio.gather(*(ask() for _ in range(WATCHERS)))
        end, chance = time.perf_counter() + seconds, Random(5)
        took = sorted(chain.from_iterable(await asyncio.gather(*(one(chance.random()) for _ in range(WATCHERS)))))
    return {"at_once": max(at_once), "asked": len(took), "median": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)]}  # fmt: skip


def main(url: str, ca_file: str, token_file: str, path: str, seconds: str) -> None:
    """Print what was seen."""
    token = Path(token_file).read_text().strip()
    seen = watch(url, ca_file=Path(ca_file), token=token, path=path, seconds=float(seconds))
    print(json.dumps(asyncio.run(seen)))


if __name__ == "__main__":
    main(*sys.argv[1:])
