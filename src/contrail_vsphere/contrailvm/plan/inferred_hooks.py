"""Which hook EAM 6.5 waits in: it has hooks, but ``vmHook``, which names them, came with 6.7.

What shows is that the EsxAgent is at work (yellow, no issue; red with an orphan beside it, which does not stop EAM)
and how its VM stands. A VM that is off and was never released waits in ``provisioned``; one that runs waits in
``poweredOn``, or just for its heartbeat. Wrong guesses are harmless: the work of a hook fits a VM in that state anyway,
and MarkAsAvailable without a hook does nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from contrail_vsphere.contrailvm.records import HostRecord
from contrail_vsphere.model.eam import EAM_KEY, EsxAgent, VmHook
from contrail_vsphere.model.ids import VmId
from contrail_vsphere.model.inventory import VirtualMachine


def infer_hook(
    agent: EsxAgent, record: HostRecord, *, agent_name: str, vms: Iterable[VirtualMachine], taken: Collection[VmId]
) -> VmHook | None:
    """The hook that an EsxAgent waits in by all that shows, or None.

    ``vms`` are those of the host, ``taken`` the VMs of all EsxAgents of ours; during an upgrade the new VM is none of
    them yet, and EAM names it after ``agent_name``.
    """
    beside = {each.type for each in agent.issues} == {"VmOrphaned"}
    if agent.goal != "enabled" or not (beside or (agent.status == "yellow" and not agent.issues)):
        return None
    here = {vm.id: vm for vm in vms if vm.managed_by == EAM_KEY and vm.connection in (None, "connected")}
    current = here.get(agent.vm) if agent.vm is not None else None
    worked = {work.vm for work in (record.prepared, record.released) if work is not None}
    fresh = [
        vm
        for vm in here.values()
        if vm.id not in taken and vm.name.startswith(f"{agent_name} (")
        # One that is older was left behind by something else.
        if vm.id in worked or (current is not None and _number(vm.id) > _number(current.id))
    ]
    # While the old VM still runs it is the new one that waits; afterwards EAM may show either.
    vm = max(fresh, key=lambda each: _number(each.id), default=current)
    if vm is None:
        return None
    released = record.released
    opened = released is not None and released.vm == vm.id and released.hook == "poweredOn"
    if beside and opened:
        # It serves; what is left is the orphan.
        return None
    beside = current is not None and current.id != vm.id and current.power == "poweredOn"
    if vm.power == "poweredOn":
        # EAM powers it on once the old one is gone: beside that it was somebody else.
        return VmHook(vm=vm.id, state="provisioned" if beside else "poweredOn")
    if vm.power != "poweredOff" or opened:
        # One that was up before is being powered on, or its host is in maintenance.
        return None
    return VmHook(vm=vm.id, state="provisioned")


def _number(vm: VmId) -> tuple[int, str]:
    """Managed object ids count upwards (``vm-12``)."""
    digits = vm.rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, vm)
