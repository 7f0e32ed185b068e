"""What a process used for a piece of work."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Usage:
    """CPU and wall time in seconds; peak memory over what was there before, in MiB."""

    cpu: float = 0.0
    wall: float = 0.0
    peak: float = 0.0


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def usage() -> Iterator[Usage]:
    """Measure the block. The kernel's high-water mark of memory is reset first, so that imports do not count."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    used = Usage()
    before = _status("VmRSS:")
    cpu, wall = time.process_time(), time.perf_counter()
    yield used
    used.cpu, used.wall = time.process_time() - cpu, time.perf_counter() - wall
    used.peak = _status("VmHWM:") - before
