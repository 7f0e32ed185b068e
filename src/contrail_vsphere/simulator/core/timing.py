"""How long things take in the simulated vCenter, in simulated seconds.

Durations are data, so that the same rules serve a unit test (everything at once), a demo that a person watches, and a
scenario with realistic delays on a virtual-time loop. Read it with ``world.service(Timing)``; sleep on ``world.clock``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds; the defaults are in the order of what an idle, healthy vCenter with local disks shows."""

    task_start: float = 0.1
    """From *queued* to *running*, for every task."""

    # virtual machines
    create_vm: float = 2.0
    clone: float = 20.0
    ovf_import: float = 15.0
    reconfigure: float = 1.5
    rename: float = 0.2
    relocate: float = 8.0
    power_on: float = 2.0
    power_off: float = 1.5
    suspend: float = 4.0
    reset: float = 2.0
    snapshot: float = 2.0
    destroy: float = 2.0
    unregister: float = 0.3
    guest_boot: float = 25.0
    """From power-on until VMware Tools run and the first-boot program starts."""
    guest_shutdown: float = 8.0
    guest_step: float = 0.5
    """Between the first-boot program's steps."""
    heartbeat_lost: float = 30.0
    """From the guest's death until VMware Tools are reported as not running."""

    # hosts and clusters
    add_host: float = 6.0
    remove_host: float = 3.0
    enter_maintenance: float = 3.0
    exit_maintenance: float = 2.0
    connect_host: float = 3.0
    disconnect_host: float = 1.0
    host_lost: float = 10.0
    """From a host's crash until vCenter reports it as not responding."""
    host_boot: float = 120.0
    drs: float = 5.0
    """From a change that unbalances a cluster until DRS acts."""
    ha_restart: float = 30.0
    """From a host's failure until HA restarts its VMs elsewhere."""

    # networks
    dvs: float = 1.0
    """Create or reconfigure a distributed switch, a port group, or a batch of DVPorts."""
    host_network: float = 0.5

    # ESX Agent Manager
    eam_start: float = 20.0
    """After a (re)start, how long EAM answers EamServiceNotInitialized."""
    eam_scan: float = 30.0
    """Period of the full evaluation of issues, besides the one after every inventory change."""
    eam_step: float = 0.5
    """Between the steps of one EsxAgent."""
    eam_resolve: float = 1.0
    vib: float = 20.0
    """Install or remove the VIBs of a bundle on a host."""

    # service
    latest_page: float = 1.0
    """Least time between two updates of a history collector's ``latestPage``: bursts in between are merged."""
    session_idle: float = 1800.0
    """A session that made no call for that long is gone."""
    recent_task: float = 600.0
    """How long a finished task stays in ``TaskManager.recentTask``."""

    @classmethod
    def real(cls) -> Timing:
        """What a real vCenter would take; for scenarios in virtual time."""
        return cls()

    @classmethod
    def demo(cls) -> Timing:
        """Fast enough to watch, slow enough to see."""
        fast = cls().scaled(0.15)
        return dataclasses.replace(fast, **{**_PERIODS, "eam_scan": 10.0}, guest_boot=1.2, host_boot=6.0, eam_start=2.0)

    @classmethod
    def instant(cls) -> Timing:
        """Every duration is nothing; periods and idle limits stay (a period of nothing would spin)."""
        return dataclasses.replace(cls().scaled(0.0), **_PERIODS)

    def scaled(self, factor: float) -> Timing:
        """All durations times ``factor``."""
        return Timing(**{item.name: getattr(self, item.name) * factor for item in dataclasses.fields(self)})


_PERIODS = {"eam_scan": 30.0, "session_idle": 1800.0, "recent_task": 600.0, "latest_page": 1.0}
