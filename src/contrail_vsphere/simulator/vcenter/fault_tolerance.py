"""Fault tolerance: why a VM cannot have it. There are no secondaries here, so every VM has at least one reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


def issues(vm: VirtualMachine) -> list[SoapFault]:
    """VmFaultToleranceConfigIssue faults, the weightiest first: an EsxAgent's is ``esxAgentVm``."""
    reasons = []
    if vm.esx_agent:
        reasons.append("esxAgentVm")
    if vm.template:
        reasons.append("templateVm")
    if vm.host is None or not vm.host.compute_resource.ha:
        reasons.append("haNotEnabled")
    reasons.append("missingFTLoggingNic")
    return [
        fault(
            vim.fault.VmFaultToleranceConfigIssue,
            f"The virtual machine '{vm.name}' cannot be protected by Fault Tolerance: {reason}.",
            reason=reason,
            entityName=vm.name,
            entity=vm,
        )
        for reason in reasons
    ]
