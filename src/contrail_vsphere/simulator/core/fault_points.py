"""What a fault rule may name: inner points and methods. A name that is none of them would wait for ever: refused."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Final

from contrail_vsphere.wire.soap.metadata import EAM, VIM, find_method, wire_names

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


def check_method(pattern: str) -> None:
    """LookupError, naming the nearest, for a name that no method has: such a rule would wait for ever.

    Patterns are taken as they are, and so are the names of the REST API's operations (``Solutions.set``).
    """
    if not pattern or set(pattern) & set("*?[.") or any(find_method(each, pattern) for each in (VIM, EAM)):
        return
    near = difflib.get_close_matches(pattern, wire_names(VIM) | wire_names(EAM), n=1)
    raise LookupError(f"the API has no method {pattern}" + (f"; did you mean {near[0]}?" if near else ""))
