"""Who did it: vCenter's events name the user that started, stopped, suspended, deleted or changed a ContrailVM.

The names are words for people (our own events, ``notices.announce``); nothing is decided by them, since an event may be
lost or late. A deed is told once, with the repair that answers it, and forgotten when the ContrailVM runs again anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from contrail_vsphere.model.ids import HostId, VmId

EAM_USER = "com.vmware.vim.eam"
"""In the user name of what EAM itself does to ContrailVMs."""

Trouble = Literal["gone", "changed", "started"]
"""gone: the ContrailVM was stopped or deleted.  changed: its hardware was.  started: it was powered on."""

_DEEDS: dict[str, tuple[Trouble, str]] = {
    "VmPoweredOffEvent": ("gone", "powered off"),
    "VmSuspendedEvent": ("gone", "suspended"),
    "VmGuestShutdownEvent": ("gone", "shut down"),
    "VmRemovedEvent": ("gone", "deleted"),
    "VmReconfiguredEvent": ("changed", "changed"),
    "VmPoweredOnEvent": ("started", "powered on"),
}
_RUNS_AGAIN = frozenset({"VmPoweredOnEvent", "DrsVmPoweredOnEvent"})

DEED_EVENTS = tuple(f"{prefix}{name}" for name in sorted({*_DEEDS, *_RUNS_AGAIN}) for prefix in ("vim.event.", ""))
"""Events to follow, in both spellings of a class that vCenters and their imitations take in a filter."""


class VmEvent(Protocol):
    """``vsphere.events.Event``."""

    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def user(self) -> str: ...  # noqa: D102
    @property
    def vm(self) -> VmId | None: ...  # noqa: D102
    @property
    def host(self) -> HostId | None: ...  # noqa: D102
    @property
    def vm_name(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Deed:
    """A user did ``what`` (a participle) to a ContrailVM."""

    user: str
    what: str
    vm_name: str
    vm: VmId | None = None


class Deeds:
    """The last deed of each kind by host. ``host_of`` tells where EAM has, or had, a ContrailVM; None: it is none."""

    def __init__(self, *, solution_id: str, host_of: Callable[[VmId], HostId | None]) -> None:
        self._solution_id = solution_id
        self._host_of = host_of
        self._done: dict[tuple[HostId, Trouble], Deed] = {}

    def see(self, event: VmEvent) -> None:
        """Take in an event of vCenter, of whatever type."""
        host = self._host_of(event.vm) if event.vm is not None else None
        if host is None:
            return
        if event.type in _RUNS_AGAIN:
            self._done.pop((host, "gone"), None)
        if event.type in _DEEDS and self._is_person(event.user):
            trouble, what = _DEEDS[event.type]
            self._done[host, trouble] = Deed(user=event.user, what=what, vm_name=event.vm_name, vm=event.vm)

    def take(self, host: HostId, trouble: Trouble, *, vm: VmId | None = None) -> Deed | None:
        """The deed behind a trouble, told once; None when vCenter named nobody, or it was done to another ``vm``."""
        deed = self._done.pop((host, trouble), None)
        return deed if deed is not None and vm in (None, deed.vm) else None

    def _is_person(self, user: str) -> bool:
        """Neither vCenter itself (no name), nor EAM, nor we."""
        return bool(user) and EAM_USER not in user and self._solution_id not in user
