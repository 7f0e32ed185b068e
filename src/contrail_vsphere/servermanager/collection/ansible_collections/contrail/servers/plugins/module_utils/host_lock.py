"""One change at a time on a server, whoever asks.

A run whose controller died may still have a module at work here; what comes next waits for it instead of racing it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATH = "/run/lock/contrail-servers.lock"
PATIENCE = 60.0
"""Seconds to wait for another module; its own time-outs are shorter."""


@contextmanager
def host_lock() -> Iterator[None]:
    """Hold the lock; ``TimeoutError`` if another module does not let go."""
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    handle = os.open(PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another run is changing this server") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)
