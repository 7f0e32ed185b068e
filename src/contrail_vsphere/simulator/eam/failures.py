"""Which issue a failed step becomes."""

from __future__ import annotations

from typing import Any

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.eam.fetch import FetchError
from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.eam.outcomes import Operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

DEPLOYMENTS = frozenset({"deploy", "deploy-new"})
REMOVALS = frozenset({"delete-new", "delete-old", "delete-all", "discard", "power-off-old", "power-off-all"})
VIB_STEPS = frozenset({"install-vib", "remove-vib"})
_NO_SPACE = (vim.fault.NoDiskSpace, vim.fault.InsufficientStorageSpace)
_LATER = (vim.fault.TaskInProgress, vim.fault.InvalidPowerState, vmodl.fault.ManagedObjectNotFound)
"""Somebody else was faster: look again instead of complaining."""


class OvfPropertyError(Exception):
    """The OVF environment lacks a property or gives one a value it must not have."""

    def __init__(self, property_id: str, reason: str) -> None:
        super().__init__(f"property {property_id} {reason}")
        self.property_id = property_id
        self.reason = reason


class VibError(Exception):
    """A VIB could not be installed or removed: ``draft`` is the EsxAgent's issue, ``agency`` one of the agency's."""

    def __init__(self, draft: Draft, *, agency: Draft | None = None) -> None:
        super().__init__(draft.type)
        self.draft = draft
        self.agency = agency


class IpPoolError(Exception):
    """The agency's IP pool gives no address to a virtual machine."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft.type)
        self.draft = draft


def is_stale(error: Exception) -> bool:
    """Whether the step failed because the world had changed, so that the situation must be read again."""
    return isinstance(error, SoapFault) and isinstance(error.fault, _LATER)


def draft_for(operation: Operation, error: Exception) -> Draft:
    """The issue to raise for a step that failed with this error."""
    if isinstance(error, VibError | IpPoolError):
        return error.draft
    if isinstance(error, FetchError):
        if error.reason == "untrusted":
            return Draft("CertificateNotTrusted", {"url": error.url})
        return Draft("CannotAccessAgentOVF", {"downloadUrl": error.url})
    if isinstance(error, PackageError):
        fault = data_object(vim.fault.OvfInvalidPackage, lineNumber=0, msg=error.message)
        return Draft("OvfInvalidFormat", {"error": [fault]})
    if isinstance(error, OvfPropertyError):
        fault = data_object(vim.fault.OvfPropertyValue, lineNumber=0, type="", value=error.property_id, msg=str(error))
        return Draft("OvfInvalidProperty", {"error": [fault]})
    if isinstance(error, SoapFault):
        return _from_vcenter(operation, error.fault)
    raise error


def _from_vcenter(operation: Operation, fault: Any) -> Draft:
    if isinstance(fault, vim.fault.MethodDisabled):  # what HA does to a virtual machine while it recovers it
        return Draft("VmProtected", {"error": fault})
    if operation == "leave-maintenance":
        return Draft("VibCannotPutHostOutOfMaintenanceMode")
    if operation in VIB_STEPS:
        return Draft("VibNotInstalled")
    if operation in DEPLOYMENTS:
        if isinstance(fault, _NO_SPACE):
            return Draft("InsufficientSpace")
        if isinstance(fault, vim.fault.InsufficientResourcesFault):
            return Draft("InsufficientResources")
        if isinstance(fault, vim.fault.OvfProperty):
            return Draft("OvfInvalidProperty", {"error": [fault]})
        if isinstance(fault, vim.fault.OvfFault):
            return Draft("OvfInvalidFormat", {"error": [fault]})
        return Draft("VmNotDeployed")
    if operation in {"power-on", "power-on-new"}:
        if isinstance(fault, vim.fault.FileNotFound):
            return Draft("VmCorrupted", {"missingFile": str(fault.file or "")})
        if isinstance(fault, vim.fault.InsufficientResourcesFault):
            return Draft("InsufficientResources")
        return Draft("InvalidConfig", {"error": fault})
    if operation in REMOVALS:
        return Draft("VmDeployed")
    return Draft("VmPoweredOn") if operation == "power-off" else Draft("InvalidConfig", {"error": fault})
