"""A worker's process: Neutron's settings and plugin loaded as Neutron's own servers do, then our loop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from contrail_vsphere.ml2.options import DriverSettings, WorkerSettings, driver_settings, worker_settings
from contrail_vsphere.ml2.worker.metrics import exposed
from contrail_vsphere.ml2.worker.neutron_store import NeutronStore
from contrail_vsphere.ml2.worker.worker import DvsWorker
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter

log = logging.getLogger(__name__)


def load(config_files: Sequence[Path], *, logs: bool = False) -> tuple[DriverSettings, WorkerSettings]:
    """Read the settings of one vCenter's worker and load Neutron's core plugin. SettingsError for what is wrong.

    ``logs``: write them as Neutron's settings say; a command says warnings on stderr instead.
    """
    settings = load_settings(config_files, logs=logs)
    from neutron import manager
    from neutron.api import extensions
    from neutron_lib.api import attributes
    from oslo_config import cfg

    own = worker_settings(cfg.CONF)
    manager.init()
    extensions.PluginAwareExtensionManager.get_instance().extend_resources("2.0", attributes.RESOURCES)
    return settings, own


def load_settings(config_files: Sequence[Path], *, logs: bool = False) -> DriverSettings:
    """Read Neutron's configuration, so that its database can be asked. SettingsError for what is missing or wrong."""
    for path in config_files:
        if not path.is_file():
            raise SettingsError(f"{path} is not there", hint="pass Neutron's own files with --config-file")
    from neutron.common import config
    from oslo_config import cfg
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)
    config.register_common_config_options()
    arguments = [item for path in config_files for item in ("--config-file", str(path))]
    try:
        config.init(arguments, default_config_files=[])
    except (cfg.Error, cfg.ConfigFileValueError) as error:
        raise SettingsError(str(error)) from error
    if logs:
        config.setup_logging()
    else:
        logging.basicConfig(level=logging.ERROR, stream=sys.stderr, force=True)  # oslo.config has set a level by now
    config.set_config_defaults()
    return driver_settings(cfg.CONF)


def connector(own: WorkerSettings) -> VCenter:
    """A client for the worker's vCenter; not entered yet."""
    endpoint = Endpoint(own.host, own.port, ca_file=own.ca_file, thumbprint=own.thumbprint)
    return VCenter(endpoint, PasswordLogin(own.username, own.password))


async def serve(
    settings: DriverSettings, own: WorkerSettings, *, heartbeat: Path | None = None, metrics: str = ""
) -> None:
    """Work until SIGTERM or SIGINT, then give the lease back. ``metrics``: HOST:PORT to serve them on."""
    store = NeutronStore(settings, own.vcenter)
    holder = f"{socket.gethostname()}:{os.getpid()}"
    worker = DvsWorker(
        store,
        own,
        holder=holder,
        connect=lambda: connector(own),
        now=lambda: datetime.now(UTC),
        heartbeat=heartbeat,
    )
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(worker.run(), name="worker")
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        async with exposed(worker, own.vcenter, metrics):
            await task
    except asyncio.CancelledError:
        log.info("the worker of %s ends", own.vcenter)
