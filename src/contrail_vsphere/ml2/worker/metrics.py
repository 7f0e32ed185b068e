"""What a worker counts, for Prometheus: ``/metrics`` on an address of one's own, without a token, off by default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from contrail_vsphere.ml2.worker.worker import DvsWorker
from contrail_vsphere.model.errors import SettingsError

COUNTERS = {
    "passes": "Looks at journal, vCenter or everything.",
    "created": "Port groups made.",
    "repaired": "Port groups put right.",
    "destroyed": "Port groups removed.",
    "edited": "DVPorts written.",
    "closed": "DVPorts given back to their group's settings.",
    "failed": "Objects that a pass could not bring about.",
}
GAUGES = {
    "working": "1 while this worker holds its vCenter's lease.",
    "vcenter_reached": "1 while vCenter answers.",
    "pending": "Journal rows due at the last look.",
    "orphans": "Port groups of ours without a network of Neutron's.",
}
PREFIX = "vmware_dvs_"


class WorkerMetrics:
    """A collector over a worker's own state."""

    def __init__(self, worker: DvsWorker, vcenter: str) -> None:
        self._worker, self._vcenter = worker, vcenter

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for them."""
        state = self._worker.state.described()
        for name, words in COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + name, words, labels=["vcenter"])
            counter.add_metric([self._vcenter], state[name])
            yield counter
        for name, words in GAUGES.items():
            value = state[name]
            gauge = GaugeMetricFamily(PREFIX + name, words, labels=["vcenter"])
            gauge.add_metric([self._vcenter], float(len(value) if isinstance(value, tuple) else value))
            yield gauge


@asynccontextmanager
async def exposed(worker: DvsWorker, vcenter: str, listen: str) -> AsyncIterator[None]:
    """Serve while the context lasts; nothing where ``listen`` is empty."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"metrics cannot be served on '{listen}'", hint="write HOST:PORT")
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(worker, vcenter))

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, int(port)).start()
        yield
    finally:
        await runner.cleanup()
