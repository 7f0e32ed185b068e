"""A SOAP fault as an ordinary Python exception.

pyVmomi's fault objects are exceptions and data objects at once, and guard every attribute, so that merely passing one
through a context manager (which sets ``__traceback__``) fails. We therefore carry them inside this one: the simulator
raises it, the client's decoder raises it, and ``vsphere.errors`` translates it once.
"""

from __future__ import annotations

from typing import Any


class SoapFault(Exception):  # noqa: N818 the field's word
    """``fault`` is a pyVmomi ``MethodFault`` value (its type tells what happened), ``message`` the faultstring."""

    def __init__(self, fault: Any, message: str = "") -> None:
        super().__init__(message or type(fault).__name__)
        self.fault = fault
        self.message = message or str(getattr(fault, "msg", "") or "")

    @property
    def kind(self) -> str:
        """Name of the fault's type on the wire, e.g. ``ManagedObjectNotFound``; kept for types we do not know."""
        from contrail_vsphere.wire.soap.types import wsdl_name

        return wsdl_name(self.fault)
