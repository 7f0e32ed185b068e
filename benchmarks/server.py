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
    began, cpu = time.perf_counter(), time.process_time()
    simulator = VCenterSimulator(hosts=hosts, vms=vms, page=page, timing=Timing.instant(), guests=False)
    await simulator.start()
    spent = {"started": time.perf_counter() - began, "started_cpu": time.process_time() - cpu}
    print(json.dumps({**simulator.ready, "pid": os.getpid(), **spent}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main(*(int(word) for word in sys.argv[1:4])))
