"""EsxAgent (``eam.Agent``): EAM's record of the one virtual machine of an agency on one host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.eam import config as rules
from contrail_vsphere.simulator.eam.access import eam_operation, eam_property
from contrail_vsphere.simulator.eam.config import Deployed
from contrail_vsphere.simulator.eam.eam_object import EamObject
from contrail_vsphere.simulator.eam.issues import IssueRecord
from contrail_vsphere.simulator.eam.situation import HOOKS, Phase
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import eam

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
    from contrail_vsphere.wire.vib.bundle import Vib


@dataclass(slots=True, eq=False, kw_only=True)
class EsxAgent(EamObject):
    """State of one EsxAgent. ``host`` stays set when the host has left the inventory."""

    wsdl: ClassVar[str] = "Agent"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "phase": ("runtime",),
        "vm": ("runtime",),
        "new_vm": ("runtime",),
        "issues": ("runtime",),
        "orphans": ("runtime",),
        "marked": ("runtime",),
        "status": ("runtime",),
        "deployed": ("config",),
        "vibs": ("runtime",),
        "vib_submitted": ("runtime",),
    }

    agency: Agency
    host: HostSystem
    phase: Phase = Phase.PRECHECK
    vm: VirtualMachine | None = None
    new_vm: VirtualMachine | None = None
    """The one that is to replace ``vm``, during an upgrade."""
    deployed: Deployed | None = None
    new_deployed: Deployed | None = None
    issues: tuple[IssueRecord, ...] = ()
    orphans: tuple[VirtualMachine, ...] = ()
    """Virtual machines of this EsxAgent that somebody moved to another host."""
    marked: bool = False
    """Available to DRS as far as MarkAsAvailable goes."""
    status: str = "yellow"
    applied: Any = None
    """AgencyConfigInfo that was last applied to this host, where an apply decides (System VMs)."""
    applied_revision: int = 0
    """Which desired state of the solution that was; 0: none of vLCM's."""
    dismissed: bool = False
    """The solution is deleted, and that was applied here."""
    blocked: bool = False
    """Waits for its turn in an apply that takes one after the other."""
    hook_since: datetime | None = None
    hook_updated: bool = False
    """A dynamic update was processed in the hook (9.1)."""
    vibs: tuple[Vib, ...] = ()
    """Brought by this EsxAgent and there (some only from the next boot on)."""
    vib_url: str = ""
    """The bundle they came from."""
    bulletins: tuple[str, ...] = ()
    vib_staged: bool = False
    """The last change of them waits for the host's next boot."""
    vib_submitted: str = ""
    """Handed to the cluster's image, which was not remediated since."""
    vib_pending: tuple[Vib, ...] = ()
    """What a remediation of the cluster would bring."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held during each step."""

    @property
    def subject(self) -> VirtualMachine | None:
        """The virtual machine that is to run."""
        return self.vm if self.vm is not None else self.new_vm

    @property
    def name(self) -> str:
        """As events and issues call it: its virtual machine's name, before there is one the agency's."""
        return self.subject.name if self.subject is not None else self.agency.agent_name

    @property
    def entry(self) -> Any:
        """The AgentConfigInfo that fits the host, or None."""
        return rules.entry_for(self.config, self.host)

    @property
    def config(self) -> Any:
        """The AgencyConfigInfo in force on this host."""
        return self.applied if self.applied is not None else self.agency.config

    @property
    def held(self) -> bool:
        """Nothing is to be done here before an apply."""
        return self.agency.needs_apply and self.applied is None

    @property
    def leaving(self) -> bool:
        """Not wanted on this host any more."""
        agency = self.agency
        wanted = agency.goal != "uninstalled" and not agency.destroying and not self.dismissed
        return not wanted or not agency.has_in_scope(self.host)

    @property
    def available(self) -> bool:
        """Counts for DRS: runs on its host, and has been marked where it must be."""
        vm = self.subject
        if self.agency.is_set:
            return False
        return vm is not None and vm.power_state == "poweredOn" and vm.host is self.host and self.marked

    @property
    def hook(self) -> str:
        """State of the hook that EAM waits in, or empty."""
        return HOOKS.get(self.phase, "")

    @property
    def hook_vm(self) -> VirtualMachine | None:
        """The virtual machine of the hook: during an upgrade the new one."""
        return self.new_vm if self.new_vm is not None else self.vm

    def found_issues(self) -> Iterable[tuple[EsxAgent | None, IssueRecord]]:
        return ((self, record) for record in self.issues)

    def _agency(self) -> Agency:
        return self.agency

    # -- API ----------------------------------------------------------------------------------------------------

    @eam_operation("AgentQueryRuntime")
    def AgentQueryRuntime(self, call: Any) -> Any:
        return self._runtime()

    @eam_operation("AgentQueryConfig")
    def AgentQueryConfig(self, call: Any) -> Any:
        return self._config()

    @eam_operation("MarkAsAvailable", modifies=True)
    def MarkAsAvailable(self, call: Any) -> None:
        """Let EAM go on from the hook; without an active hook nothing happens, so that it is safe to repeat."""
        self.service.worker.release_hook(self, user=call.user)

    @eam_property("runtime")
    def _runtime(self) -> Any:
        vm, host = self.vm, self.host
        hook_vm = self.hook_vm
        hook = None
        if self.hook and hook_vm is not None and self.service.profile.shows_hook:
            hook = data_object(eam.Agent.VmHook, vm=hook_vm, vmState=self.hook)
        return data_object(
            eam.Agent.RuntimeInfo,
            status=self.status,
            issue=self.project_issues(),
            goalState="uninstalled" if self.leaving else self.agency.goal,
            entity=self,
            vmPowerState=vm.power_state if vm is not None else "poweredOff",
            receivingHeartBeat=vm is not None and vm.heartbeat in {"green", "yellow"},
            host=host if self.world.get(host.moid) is host else None,
            vm=vm,
            vmIp=(vm.guest_ip or None) if vm is not None else None,
            vmName=vm.name if vm is not None else "",
            esxAgentResourcePool=vm.resource_pool if vm is not None else None,
            esxAgentFolder=vm.parent if vm is not None else None,
            installedBulletin=list(self.bulletins),
            installedVibs=[_vib_info(vib) for vib in self.vibs],
            agency=self.agency,
            vmHook=hook,
        )

    @eam_property("config")
    def _config(self) -> Any:
        entry = self.entry
        return entry if entry is not None else data_object(eam.Agent.ConfigInfo)


def _vib_info(vib: Vib) -> Any:
    try:
        released = datetime.fromisoformat(vib.release_date)
    except ValueError:
        released = datetime.fromtimestamp(0, UTC)  # the field is required
    return data_object(
        eam.vib.VibInfo,
        id=vib.id,
        name=vib.name,
        version=vib.version,
        vendor=vib.vendor,
        summary=vib.summary,
        softwareTags=data_object(eam.vib.VibInfo.SoftwareTags, tags=list(vib.tags)) if vib.tags else None,
        releaseDate=released if released.tzinfo else released.replace(tzinfo=UTC),
    )
