"""Every fault becomes one of our errors, once, with a line an operator can use."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import VmomiSupport, eam, vim, vmodl

from contrail_vsphere.model import errors
from contrail_vsphere.vsphere.errors import RULES, translate
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.values import new


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (vmodl.fault.ManagedObjectNotFound, errors.NotFound),
        (vim.fault.NotAuthenticated, errors.NotAuthenticated),
        (vim.fault.InvalidLogin, errors.AuthenticationFailed),
        (vim.fault.NoPermission, errors.NoPermission),
        (vim.fault.ConcurrentAccess, errors.Conflict),
        (vim.fault.TaskInProgress, errors.Busy),
        (vim.fault.DuplicateName, errors.AlreadyExists),
        (vim.fault.InvalidPowerState, errors.InvalidState),
        (vim.fault.InsufficientAgentVmsDeployed, errors.OutOfResources),
        (vim.fault.InsufficientMemoryResourcesFault, errors.OutOfResources),
        (vim.fault.NoDiskSpaceOnDatastore if hasattr(vim.fault, "NoDiskSpaceOnDatastore") else vim.fault.NoDiskSpace,
         errors.OutOfResources),
        (vmodl.fault.HostNotConnected, errors.Unreachable),
        (vmodl.fault.InvalidArgument, errors.InvalidArgument),
        (vmodl.fault.SystemError, errors.TransientError),
        (eam.fault.InvalidLogin, errors.NotAuthenticated),
        (eam.fault.EamServiceNotInitialized, errors.NotReadyYet),
        (eam.fault.InvalidUrl, errors.UrlRefused),
        (eam.fault.CertificateNotTrustedFault, errors.UrlRefused),
        (eam.fault.InvalidAgencyScope, errors.InvalidArgument),
        (eam.fault.DisabledClusterFault, errors.InvalidState),
        (eam.fault.NotAuthorized, errors.NoPermission),
        (vim.fault.HostConfigFault, errors.InvalidState),
    ],
)  # fmt: skip
def test_known_faults(fault: Any, error: type[Exception]) -> None:
    translated = translate(SoapFault(new(fault), "because"), what="Doing it")
    assert type(translated) is error
    assert str(translated).startswith("Doing it: ")
    assert "because" in str(translated)
    assert "\n" not in str(translated)
    assert isinstance(translated.__cause__, SoapFault)


def test_every_fault_of_the_api_has_a_place() -> None:
    for name in VmomiSupport.ListDataTypes():
        kind = VmomiSupport.GetVmodlType(name)
        if issubclass(kind, vmodl.MethodFault) and kind is not vmodl.LocalizedMethodFault:
            assert isinstance(translate(SoapFault(new(kind), "x")), errors.ContrailVsphereError)


def test_rules_name_faults_that_exist() -> None:
    known = set()
    for name in VmomiSupport.ListDataTypes():
        known.add(VmomiSupport.GetVmodlType(name)._wsdlName)
    assert set(RULES) - known == set()


def test_a_fault_of_unknown_type_goes_by_its_base() -> None:
    fault = new(vim.fault.InsufficientResourcesFault)
    fault.__dict__["_unknown_type"] = "InsufficientPatience"
    translated = translate(SoapFault(fault, "no"))
    assert type(translated) is errors.OutOfResources
    assert "InsufficientPatience" in str(translated)


def test_details_that_tell_something_are_told() -> None:
    fault = vim.fault.NoPermission(object=vim.Folder("group-v3"), privilegeId="VApp.Import")
    text = str(translate(SoapFault(fault, "Permission to perform\n this operation was denied.")))
    assert "VApp.Import" in text
    assert "group-v3" in text
    assert "grant the account" in text
