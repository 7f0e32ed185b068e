"""How far a run stands back behind the servers on its machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

NICE: Final = 10


def yield_to_servers() -> None:
    """Runs take all the processors they get; who asks where they stand is to be answered at once all the same."""
    os.nice(NICE)
    share_as_nice()


def share_as_nice() -> None:
    """Have this session's share of the processors follow its processes' niceness, as they do without autogroups.

    Where every session has a share of its own (sched(7), "The autogroup feature"), niceness counts within one only; a
    new session's share is a full one. Linux takes one change in a tenth of a second from who is not root.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(os.nice(0)))
