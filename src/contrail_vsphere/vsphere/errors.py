"""Faults of vCenter and EAM, translated once into our own exceptions.

The table goes by the fault type's name on the wire and by its bases, so that a fault nobody listed is still judged by
what it is derived from. The original stays reachable as ``__cause__``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from contrail_vsphere.model import errors
from contrail_vsphere.wire.soap.fault import SoapFault


class Rule(NamedTuple):
    """What becomes of a fault type."""

    error: type[errors.ContrailVsphereError]
    hint: str = ""


RULES: dict[str, Rule] = {
    # Who we are, and what we may.
    "NotAuthenticated": Rule(errors.NotAuthenticated, "the session is gone; a new login follows"),
    "SessionNotFound": Rule(errors.NotAuthenticated, "the session is gone; a new login follows"),
    "EamInvalidLogin": Rule(errors.NotAuthenticated, "EAM does not know the session; a new login follows"),
    "InvalidLogin": Rule(errors.AuthenticationFailed, "check user name and password, or the extension's certificate"),
    "NoClientCertificate": Rule(errors.AuthenticationFailed, "the client certificate did not reach vCenter"),
    "InvalidToken": Rule(errors.AuthenticationFailed),
    "NoPermission": Rule(errors.NoPermission, "grant the account this privilege"),
    "NotAuthorized": Rule(errors.NoPermission, "EAM wants EAM.View or EAM.Modify, or the extension's own session"),
    "SecurityError": Rule(errors.NoPermission),
    # What is there, and what is not.
    "ManagedObjectNotFound": Rule(errors.NotFound),
    "NotFound": Rule(errors.NotFound),
    "FileNotFound": Rule(errors.NotFound),
    "AlreadyExists": Rule(errors.AlreadyExists),
    "DuplicateName": Rule(errors.AlreadyExists),
    "FileAlreadyExists": Rule(errors.AlreadyExists),
    # Not now.
    "ConcurrentAccess": Rule(errors.Conflict, "somebody else changed it first; read again, then retry"),
    "TaskInProgress": Rule(errors.Busy, "another task holds the object"),
    "ResourceInUse": Rule(errors.Busy),
    "LimitExceeded": Rule(errors.Busy),
    "RequestCanceled": Rule(errors.TransientError),
    "Timedout": Rule(errors.TransientError),
    "EamServiceNotInitialized": Rule(errors.NotReadyYet, "EAM is loading its database"),
    "NoConnectionToVCenter": Rule(errors.NotReadyYet, "EAM has lost its connection to vCenter"),
    "HostCommunication": Rule(errors.Unreachable, "vCenter does not reach the ESXi host"),
    "HostConnectFault": Rule(errors.Unreachable, "vCenter does not reach the ESXi host"),
    "SystemError": Rule(errors.TransientError),
    "EamSystemFault": Rule(errors.TransientError),
    "EamIOFault": Rule(errors.TransientError),
    # Never like this.
    "InvalidArgument": Rule(errors.InvalidArgument),
    "InvalidName": Rule(errors.InvalidArgument),
    "InvalidProperty": Rule(errors.InvalidArgument),
    "InvalidRequest": Rule(errors.InvalidArgument),
    "InvalidVmConfig": Rule(errors.InvalidArgument),
    "InvalidAgentConfiguration": Rule(errors.InvalidArgument),
    "InvalidAgencyScope": Rule(errors.InvalidArgument, "a cluster of the scope does not exist"),
    "InvalidDatastore": Rule(errors.InvalidArgument),
    "MethodNotFound": Rule(errors.RefusedError, "this vCenter is too old for that"),
    "NotSupported": Rule(errors.RefusedError),
    "NotImplemented": Rule(errors.RefusedError),
    "InvalidState": Rule(errors.InvalidState),
    "EamInvalidState": Rule(errors.InvalidState),
    "DisabledClusterFault": Rule(errors.InvalidState, "the cluster is disabled; wait until it is enabled again"),
    "HostConfigFault": Rule(errors.InvalidState),
    "MigrationFault": Rule(errors.InvalidState),
    "InvalidUrl": Rule(errors.UrlRefused, "EAM fetches the package while it answers: the publisher must be reachable"),
    "CertificateNotTrustedFault": Rule(errors.UrlRefused, "pin the publisher's certificate, or use a trusted one"),
    "InsufficientResourcesFault": Rule(errors.OutOfResources),
    "NoDiskSpace": Rule(errors.OutOfResources),
    "NotEnoughLicenses": Rule(errors.OutOfResources),
    # What only its base tells.
    "EamRuntimeFault": Rule(errors.TransientError),
    "RuntimeFault": Rule(errors.TransientError),
    "MethodFault": Rule(errors.RefusedError),
}


def rule_for(fault: Any) -> Rule:
    """The rule of the nearest listed base; a fault of unknown type goes by the type it was declared with."""
    name = fault.__dict__.get("_unknown_type")
    if name in RULES:
        return RULES[name]
    for base in type(fault).__mro__:
        rule = RULES.get(getattr(base, "_wsdlName", ""))
        if rule is not None:
            return rule
    return RULES["MethodFault"]


def translate(fault: SoapFault, *, what: str = "") -> errors.ContrailVsphereError:
    """Our exception for a fault; ``what`` says what was asked ("PowerOnVM_Task of VirtualMachine vm-12")."""
    rule = rule_for(fault.fault)
    said = " ".join(fault.message.split())
    kind = fault.kind
    text = f"{kind}: {said}" if said and said != kind else kind
    details = _details(fault.fault)
    if details:
        text = f"{text} [{details}]"
    error = rule.error(f"{what}: {text}" if what else text, hint=rule.hint)
    error.__cause__ = fault
    return error


_TELLING = (
    "privilegeId",
    "obj",
    "object",
    "name",
    "invalidProperty",
    "invalidField",
    "url",
    "responseCode",
    "unknownComputeResource",
    "disabledComputeResource",
    "existingState",
    "requestedState",
    "hostName",
    "requiredNumAgentVms",
    "currentNumAgentVms",
    "datastore",
    "reason",
)


def _details(fault: Any) -> str:
    """The properties of a fault that tell an operator something, as text."""
    parts = []
    for name in _TELLING:
        value = fault.__dict__.get(name)
        if value is None or (isinstance(value, str | list) and not value):
            continue
        parts.append(f"{name} {_plain(value)}")
    return ", ".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_plain(item) for item in value)
    return str(getattr(value, "_moId", value))
