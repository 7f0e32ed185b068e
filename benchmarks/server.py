"""The simulated vCenter of a run, in a process of its own: prints its ready line, serves until stdin ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.simulator import VCenterSimulator


async def main(hosts: int, vms: int, page: int) -> None:
    began = time.perf_counter()
    simulator = VCenterSimulator(hosts=hosts, vms=vms, page=page, timing=Timing.instant(), guests=False)
    await simulator.start()
    started = time.perf_counter() - began
    print(json.dumps({**simulator.ready, "pid": os.getpid(), "started": started}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main(*(int(word) for word in sys.argv[1:4])))
