"""The inner points at which a fault rule may act; a name that is none of them would wait for ever, so it is refused."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Final

POINTS: Final = frozenset(
    {
        "guest.boot", "guest.heartbeat", "guest.firstboot", "vrouter.connect", "vrouter.loss",
        "eam.deploy", "eam.reconfigure", "eam.power_on", "eam.power_off", "eam.delete", "eam.exit_maintenance",
        "eam.vib", "eam.vum", "eam.vum.stage", "eam.vum.delete", "eam.pm", "eam.pm.upload", "eam.pm.configure",
        "system_vm.transition",
    }
)  # fmt: skip


def check_point(pattern: str) -> None:
    """LookupError, naming the nearest, for a pattern that no point matches; an empty one means API calls."""
    if not pattern or fnmatch.filter(POINTS, pattern):
        return
    near = difflib.get_close_matches(pattern, POINTS, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(POINTS))}"
    raise LookupError(f"there is no fault point {pattern}; {advice}")
