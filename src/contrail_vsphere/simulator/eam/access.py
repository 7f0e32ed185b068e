"""What every operation of EAM asks first: is EAM up, and may this caller see that agency?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from contrail_vsphere.simulator.core.calls import current_call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.service import EamService

F = TypeVar("F", bound=Callable[..., Any])


def service_of(entity: Entity) -> EamService:
    """The world's EAM."""
    from contrail_vsphere.simulator.eam.service import EamService

    found: EamService = entity.world.service(EamService)
    return found


def eam_operation(name: str, *, modifies: bool = False, note: str = "") -> Callable[[F], F]:
    """Serve a method of EAM: users need EAM.View or EAM.Modify, an extension may do anything to what is its own."""

    def mark(function: F) -> F:
        @functools.wraps(function)
        def guarded(self: Any, call: Any, **parameters: Any) -> Any:
            service_of(self).admit(call, self)
            return function(self, call, **parameters)

        return operation(name, privilege="EAM.Modify" if modifies else "EAM.View", note=note)(guarded)  # type: ignore[return-value]

    return mark


def eam_property(path: str) -> Callable[[F], F]:
    """Serve a property of EAM. What asks is the ``Fetch`` operation, which is admitted like any other."""

    def mark(function: F) -> F:
        @functools.wraps(function)
        def guarded(self: Any) -> Any:
            call = current_call.get()
            if call is not None:
                service_of(self).admit(call, self)
            return function(self)

        return managed_property(path)(guarded)  # type: ignore[return-value]

    return mark
