"""Errors of vCenter's REST API: a type, an HTTP status, a message."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.system_vm.codec import plain
from contrail_vsphere.wire.system_vm.state import ApiError, Message, Notification, Notifications

STATUSES: Final = {
    "INVALID_ARGUMENT": 400,
    "NOT_ALLOWED_IN_CURRENT_STATE": 400,
    "UNSUPPORTED": 400,
    "UNAUTHENTICATED": 401,
    "UNAUTHORIZED": 403,
    "NOT_FOUND": 404,
    "ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}


class RestError(Exception):
    """What the door answers, or a task ends with. ``invalid`` puts the reason into ``data``, as validations do."""

    def __init__(self, error_type: str, message: str, *, at: datetime | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.at = at

    @property
    def status(self) -> int:
        """Of HTTP."""
        return STATUSES[self.error_type]

    def value(self) -> ApiError:
        """The body."""
        message = Message(id=f"com.vmware.vcIntegrity.{self.error_type.lower()}", default_message=str(self), args=[])
        data = None
        if self.at is not None:
            found = Notification(id="1", time=stamp(self.at), message=message)
            data = {"notifications": plain(Notifications(errors=[found]))}
        return ApiError(error_type=self.error_type, messages=[message], data=data)


def from_fault(error: SoapFault) -> RestError:
    """What a refusal of the simulated vCenter is in REST."""
    kinds = {"NotAuthenticated": "UNAUTHENTICATED", "NoPermission": "UNAUTHORIZED", "InvalidLogin": "UNAUTHENTICATED"}
    return RestError(kinds.get(error.kind, "ERROR"), error.message)


def stamp(moment: datetime) -> str:
    """RFC 3339 with milliseconds, as vCenter writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
