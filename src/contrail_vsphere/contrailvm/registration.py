"""Our vCenter extension: registered once by an administrator, updated, kept alive, and removed only knowingly.

EAM knows us by it (an agency's solutionId is the extension's key), vCenter shows it under its Solution Manager with our
health, and we log in as it by certificate. Unregistering makes EAM destroy every agency of ours and with them every
ContrailVM, so it is never a step of an update, and says beforehand what it would take down.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from contrail_vsphere.contrailvm.doors import EamDoor, VCenterDoor
from contrail_vsphere.contrailvm.notices.alarm_kinds import KINDS
from contrail_vsphere.model.errors import InvalidState, NotFound
from contrail_vsphere.wire.soap.types import vim

EVENTS = ("repaired", "held", "degraded", "healthy", "rolloutBegan", "rolloutStopped", "rolledBack", "rolloutEnded",
          "pluginDegraded", "pluginHealthy",
          *(event for kind in KINDS for event in (kind.raises, kind.calms)))  # fmt: skip
"""Those that begin with ``plugin`` are the vCenter plugin's; the last ones raise and calm our alarms."""
WARNINGS = ("held", "degraded", "rolloutStopped", "rolledBack", "pluginDegraded", *(kind.raises for kind in KINDS))
"""Those of them that tell of trouble."""
ARGUMENTS = ("message", "reason", "deployment", "user", "did")
"""Of our events; not every one has all of them."""
TASKS = ("rollout", "repair")
FAULTS = ("notReady",)
PRIVILEGES = ("Operate", "View")

_LABELS = {
    "task": {"rollout": "Roll out ContrailVMs", "repair": "Repair a ContrailVM"},
    "event": {
        "repaired": "ContrailVM repaired",
        "held": "ContrailVM on hold",
        "degraded": "ContrailVM degraded",
        "healthy": "ContrailVM healthy",
        "rolloutBegan": "Rollout of ContrailVMs began",
        "rolloutStopped": "Rollout of ContrailVMs stopped",
        "rolledBack": "ContrailVMs go back to what they were",
        "rolloutEnded": "Rollout of ContrailVMs is over",
        "pluginDegraded": "Contrail networking needs attention",
        "pluginHealthy": "Contrail networking is well again",
        **{kind.raises: kind.name for kind in KINDS},
        **{kind.calms: f"{kind.name}: over" for kind in KINDS},
    },
    "fault": {"notReady": "The vRouter is not ready"},
    "auth": {"Operate": "Operate ContrailVMs", "View": "View ContrailVMs"},
}


@dataclass(frozen=True, slots=True)
class ExtensionFacts:
    """What is registered. URLs are as vCenter reaches them; ``certificate_pem`` is what we log in with."""

    key: str
    company: str
    certificate_pem: str
    health_url: str
    manager_url: str
    version: str
    """Of this product, dotted."""
    admin_email: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """What ``register`` did."""

    outcome: Literal["registered", "updated", "unchanged"]
    key: str
    version: str
    certificate: str = ""
    """SHA-256 of the certificate that was set; vCenter does not tell which one it had before."""


@dataclass(frozen=True, slots=True)
class Destruction:
    """What ``unregister`` takes down: EAM removes every agency of the extension, and with it its ContrailVMs."""

    key: str
    agencies: tuple[str, ...]
    vms: tuple[str, ...]
    disconnected: int = 0
    """EsxAgents on hosts that EAM cannot reach: their VMs stay behind until the host is back."""


class Registration:
    """The extension of ours in one vCenter. ``extension_manager`` is its reference, ``now`` gives aware UTC times."""

    def __init__(
        self, vcenter: VCenterDoor, *, extension_manager: Any, facts: ExtensionFacts, now: Callable[[], datetime]
    ) -> None:
        self._vcenter = vcenter
        self._manager = extension_manager
        self._facts = facts
        self._now = now

    async def find(self) -> Any | None:
        """The extension as registered; None if there is none."""
        return await self._vcenter.call(self._manager, "FindExtension", extensionKey=self._facts.key)

    async def register(self) -> Registered:
        """Register, or bring the registration up to date, and set the certificate; needs an administrator's session."""
        key, found = self._facts.key, await self.find()
        extension = build_extension(self._facts, now=self._now())
        outcome: Literal["registered", "updated", "unchanged"] = "unchanged"
        if found is None:
            await self._vcenter.call(self._manager, "RegisterExtension", extension=extension)
            outcome = "registered"
        elif not _same(found, extension):
            await self._vcenter.call(self._manager, "UpdateExtension", extension=extension)
            outcome = "updated"
        await self._vcenter.call(
            self._manager,
            "SetExtensionCertificate",
            extensionKey=key,
            certificatePem=_leaf(self._facts.certificate_pem),
        )
        leaf = ssl.PEM_cert_to_DER_cert(_leaf(self._facts.certificate_pem))
        digest = hashlib.sha256(leaf).hexdigest()
        return Registered(outcome=outcome, key=key, version=self._facts.version, certificate=digest)

    async def set_certificate(self, certificate_pem: str) -> None:
        """Have the extension log in with another certificate from now on; its own session may do that."""
        await self._vcenter.call(
            self._manager,
            "SetExtensionCertificate",
            extensionKey=self._facts.key,
            certificatePem=_leaf(certificate_pem),
        )

    async def heartbeat(self) -> None:
        """Tell vCenter that we are alive (``lastHeartbeatTime``); NotFound when somebody unregistered us."""
        if await self.find() is None:
            raise NotFound(
                f"extension {self._facts.key} is not registered any more",
                hint="run `contrail-vsphere contrailvm register` if that was not meant",
            )
        extension = build_extension(self._facts, now=self._now())
        await self._vcenter.call(self._manager, "UpdateExtension", extension=extension)

    async def destruction(self, eam: EamDoor) -> Destruction:
        """What ``unregister`` would take down now."""
        agencies = await eam.query_agencies(self._facts.key)
        agents = [agent for agency in agencies for agent in agency.agents if agent.vm is not None]
        away = {"ManagedHostNotReachable", "HostNotReachable", "HostPoweredOff"}
        return Destruction(
            key=self._facts.key,
            agencies=tuple(sorted(agency.config.name for agency in agencies)),
            vms=tuple(sorted(agent.vm_name or str(agent.vm) for agent in agents)),
            disconnected=sum(any(issue.type in away for issue in agent.issues) for agent in agents),
        )

    async def unregister(self, *, accepted: Destruction, eam: EamDoor) -> None:
        """Unregister; InvalidState if more would go than what was shown and accepted."""
        found = await self.find()
        if found is None:
            raise NotFound(f"extension {self._facts.key} is not registered")
        present = await self.destruction(eam)
        more = set(present.agencies) - set(accepted.agencies) or set(present.vms) - set(accepted.vms)
        if more:
            raise InvalidState(
                f"unregistering would now also remove {', '.join(sorted(more)[:5])}", hint="look again, then repeat"
            )
        await self._vcenter.call(self._manager, "UnregisterExtension", extensionKey=self._facts.key)


def build_extension(facts: ExtensionFacts, *, now: datetime) -> Any:
    """The ``Extension`` data object, complete: labels, health, entity types, Solution Manager."""
    label, key = "ContrailVM Manager", facts.key
    return vim.Extension(
        key=key,
        description=vim.Description(label=label, summary="Runs the Contrail vRouter VM on every ESXi host"),
        company=facts.company,
        type="net.juniper.contrail.vm-manager",
        version=facts.version,
        server=[
            vim.Extension.ServerInfo(
                url=facts.manager_url,
                description=vim.Description(label=label, summary="Enrolment and health"),
                company=facts.company,
                type="HTTPS",
                # Required on the wire even where there is nobody to write to.
                adminEmail=[facts.admin_email],
            )
        ],
        taskList=[vim.Extension.TaskTypeInfo(taskID=f"{key}.{name}") for name in TASKS],
        eventList=[
            vim.Extension.EventTypeInfo(eventID=f"{key}.{name}", eventTypeSchema=_schema(f"{key}.{name}", name))
            for name in EVENTS
        ],
        faultList=[vim.Extension.FaultTypeInfo(faultID=f"{key}.{name}") for name in FAULTS],
        privilegeList=[
            vim.Extension.PrivilegeInfo(privID=f"ContrailVM.{name}", privGroupName="ContrailVM") for name in PRIVILEGES
        ],
        resourceList=_resources(key, label),
        lastHeartbeatTime=now,
        healthInfo=vim.Extension.HealthInfo(url=facts.health_url),
        managedEntityInfo=[vim.ext.ManagedEntityInfo(type="contrail-vm", description="Contrail vRouter VM")],
        shownInSolutionManager=True,
        solutionManagerInfo=vim.ext.SolutionManagerInfo(),
    )


def _resources(key: str, label: str) -> list[Any]:
    def resource(module: str, data: dict[str, str]) -> Any:
        pairs = [vim.KeyValue(key=name, value=value) for name, value in data.items()]
        return vim.Extension.ResourceInfo(locale="en", module=module, data=pairs)

    events: dict[str, str] = {}
    for name, text in _LABELS["event"].items():
        events[f"{key}.{name}.category"] = "warning" if name in WARNINGS else "info"
        events[f"{key}.{name}.description"] = text
        events[f"{key}.{name}.fullFormat"] = f"{text}: {{message}}"
        events[f"{key}.{name}.formatOnHost"] = f"{text}: {{message}}"
        events[f"{key}.{name}.formatOnVm"] = f"{text}: {{message}}"
    return [
        resource("extension", {f"{key}.label": label, f"{key}.summary": "Runs the Contrail vRouter VM on every host"}),
        resource("task", {f"{key}.{name}.label": text for name, text in _LABELS["task"].items()}),
        resource("event", events),
        resource("fault", {f"{key}.{name}.summary": text for name, text in _LABELS["fault"].items()}),
        resource(
            "auth",
            {
                "ContrailVM.label": "ContrailVM",
                **{f"ContrailVM.{name}.label": text for name, text in _LABELS["auth"].items()},
            },
        ),
    ]


def _schema(event_id: str, name: str) -> str:
    """What an alarm on the event may compare; the structure is that of the API reference for ExtensionEventTypeInfo."""
    arguments = "".join(f"<argument><name>{each}</name><type>string</type></argument>" for each in ARGUMENTS)
    return (
        f"<EventType><eventTypeID>{event_id}</eventTypeID><description>{_LABELS['event'][name]}</description>"
        f"<arguments>{arguments}</arguments></EventType>"
    )


def _leaf(pem: str) -> str:
    """The first certificate: vCenter compares ours with what it was given, and takes no chain."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return pem[pem.index(begin) : pem.index(end) + len(end)] + "\n" if begin in pem and end in pem else pem


def _same(found: Any, wanted: Any) -> bool:
    """Equal but for the heartbeat; compared by what we set, since vCenter may add to it."""

    def summary(extension: Any) -> tuple[Any, ...]:
        health, servers = extension.healthInfo, list(extension.server or ())
        return (
            extension.company,
            extension.version,
            extension.description.label if extension.description else "",
            health.url if health else "",
            tuple((each.url, each.type, tuple(each.adminEmail or ())) for each in servers),
            tuple(sorted((each.eventID, each.eventTypeSchema or "") for each in extension.eventList or ())),
            tuple(sorted(each.taskID for each in extension.taskList or ())),
            tuple(sorted(each.privID for each in extension.privilegeList or ())),
            bool(extension.shownInSolutionManager),
        )

    return summary(found) == summary(wanted)
