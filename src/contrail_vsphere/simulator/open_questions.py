"""What nobody could tell of the real things, each with the switches that stand for its answers, or why it has none.

The page of the switches is made from this list, and a test holds it against them, so that neither a question nor a
switch is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Subject = Literal["distributed switches and ports", "EAM and System VMs", "vCenter's services", "VRouterAgent"]


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """One thing to find out on a real vCenter; ``instead`` says what holds where no switch does."""

    subject: Subject
    question: str
    switches: tuple[str, ...] = ()
    instead: str = ""


_DVS: Final = "distributed switches and ports"
_EAM: Final = "EAM and System VMs"
_VC: Final = "vCenter's services"

OPEN_QUESTIONS: Final = (
    OpenQuestion(_DVS, "Does a port keep what is written to it while its VM is off?", ("dvs.write_while_off",)),
    OpenQuestion(_DVS, "When does `portConfigResetAtDisconnect` act with early binding?", ("dvs.reset_at",)),
    OpenQuestion(_DVS, "Is `blocked` enforced while a VM moves?", ("dvs.blocked_in_vmotion",)),
    OpenQuestion(_DVS, "How many ports may one ReconfigureDVPort_Task have?", ("dvs.most_ports_per_call",)),
    OpenQuestion(_DVS, "What is kept where some hosts failed (DvsOperationBulkFault)?", ("dvs.bulk_fault_keeps",)),
    OpenQuestion(
        _DVS,
        "When does `proxyHost` change in a vMotion, and what is it while the VM is off?",
        ("dvs.proxy_host_flips", "dvs.proxy_host_lag", "dvs.proxy_host_when_off"),
    ),
    OpenQuestion(_DVS, "How many events do many ports make?", ("dvs.port_events",)),
    OpenQuestion(
        _DVS,
        "What do the criteria `connected` and `active` select when they are false?",
        ("dvs.connected_false", "dvs.active_false"),
    ),
    OpenQuestion(_DVS, "Which fault does a forbidden override get?", ("dvs.override_fault",)),
    OpenQuestion(_DVS, "Does a group give back the ports that it made?", ("dvs.auto_shrink",)),
    OpenQuestion(_DVS, "Who brings a host in line that comes back?", ("dvs.rectify_on_reconnect",)),
    OpenQuestion(_DVS, "How old is the runtime state of a port?", ("dvs.state_is_live",)),
    OpenQuestion(_EAM, "What is `managedBy.type` of an EsxAgent's VM?", ("eam.managed_by_type",)),
    OpenQuestion(_EAM, "What follows when a user moves an EsxAgent's VM?", ("eam.user_migration",)),
    OpenQuestion(
        _EAM,
        "What colour is an agency while a host is in maintenance mode, and is that an issue?",
        ("eam.maintenance_status", "eam.maintenance_issue", "eam.removal_waits_for_maintenance"),
    ),
    OpenQuestion(_EAM, "Does a new OVF environment restart the VM?", ("eam.environment_restarts",)),
    OpenQuestion(_EAM, "How many VMs are deployed at a time?", ("eam.parallel_deployments",)),
    OpenQuestion(_EAM, "Are `.mf` and `.cert` of a package verified?", ("eam.checks_manifest",)),
    OpenQuestion(_EAM, "Is `agentVmNetwork` for all networks of the OVF?", ("eam.maps_all_networks",)),
    OpenQuestion(
        _EAM,
        "Under which ids, and with which arguments, does EAM post its events?",
        ("eam.event_prefix", "eam.event_argument_names"),
    ),
    OpenQuestion(_EAM, "What are EAM's own pool and folder called?", ("eam.pool_name", "eam.folder_name")),
    OpenQuestion(
        _EAM,
        "Which version of EAM's API goes with which release, and what becomes of a request in a newer one?",
        ("eam.api_version", "eam.newer_version"),
    ),
    OpenQuestion(_EAM, "Does a lost heartbeat count?", ("eam.heartbeat_lost",)),
    OpenQuestion(_EAM, "Does an upgrade stop at `prePowerOn`?", ("eam.pre_power_on_hook",)),
    OpenQuestion(_EAM, "What becomes of agencies without their extension?", ("eam.unregistered_extension",)),
    OpenQuestion(_EAM, "How long does EAM wait for maintenance mode?", ("eam.maintenance_deadline",)),
    OpenQuestion(_EAM, "Is the package's URL read when a desired state is set?", ("eam.system_vm_set_checks_url",)),
    OpenQuestion(_EAM, "Does 9.0 have sets of System VMs already?", ("eam.sets_in_9_0",)),
    OpenQuestion(
        _EAM,
        "What does EsxAgentManager.MarkForRemoval do with an inaccessible VM?",
        instead="No switch: no published binding has the method, so it is MethodNotFound here, as for any client.",
    ),
    OpenQuestion(_VC, "May a filter's path name an element of an array?", ("vc.keyed_paths",)),
    OpenQuestion(_VC, "Are pages larger than the server's own honoured?", ("vc.pages_above_policy",)),
    OpenQuestion(_VC, "Does the front proxy compress answers?", ("vc.gzip",)),
    OpenQuestion(
        _VC,
        "Is HTTP/2 offered?",
        instead="No switch: HTTP/1.1 only, ALPN offers nothing; SOAP clients do not ask for more.",
    ),
    OpenQuestion(
        _VC,
        "How fast is VI/JSON (`/sdk/vim25/{release}/...`, since 8.0 U1)?",
        instead="No switch: it is not served, every such path is 404 in every profile, as in releases before.",
    ),
    OpenQuestion(_VC, "What does a user of few rights read of event pages?", ("vc.restricted_event_pages",)),
    OpenQuestion(_VC, "When is a filter on `EventManager.latestEvent` told?", ("vc.latest_event",)),
    OpenQuestion(_VC, "How many sessions may there be?", ("vc.most_sessions",)),
    OpenQuestion(_VC, "Is a filter told of alarms that are triggered?", ("vc.alarm_updates",)),
    OpenQuestion(
        "VRouterAgent",
        "Does `vmware_mode=esxi_neutron` change more than how a frame's sender is known?",
        instead="No switch: an option of the simulated VRouterAgent (`mode`), which changes that and nothing else.",
    ),
)
