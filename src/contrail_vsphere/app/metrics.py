"""Metrics in Prometheus's text form, read at the moment they are asked for from what the parts count anyway.

A registry of its own: nothing global, so that several managers and tests live side by side in one process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.reconcile import Controller

PREFIX: Final = "contrail_vsphere_"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

L = TypeVar("L", bound=tuple[str, ...])
"""A combination of label values."""


class Metrics:
    """What ``/metrics`` serves. Names get the prefix ``contrail_vsphere_``, counters the suffix ``_total``."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._controllers: list[Controller[Any]] = []
        self._batchers: dict[str, Batcher[Any, Any, Any]] = {}
        self._brakes: list[DeletionBrake] = []
        self._registry.register(_Collector(self._engine))

    def watch_controller(self, controller: Controller[Any]) -> None:
        """Passes by outcome, time spent, keys due and running; takes the place of an earlier one of that name."""
        self._controllers = [each for each in self._controllers if each.name != controller.name]
        self._controllers.append(controller)

    def watch_batcher(self, name: str, batcher: Batcher[Any, Any, Any]) -> None:
        """Items, flushes and failures."""
        self._batchers[name] = batcher

    def watch_brake(self, brake: DeletionBrake) -> None:
        """Whether it is engaged; takes the place of an earlier one of that name."""
        self._brakes = [each for each in self._brakes if each.name != brake.name]
        self._brakes.append(brake)

    def watch_health(self, book: HealthBook) -> None:
        """Keys by state, and the failures in a row of every key that is not well."""

        def read() -> Iterable[Metric]:
            states = Counter((entry.source, entry.state) for entry in book.items())
            yield _gauge("keys", "Keys by state.", ("source", "state"), dict(states))
            bad = {(entry.source, entry.key, entry.state): float(entry.attempts) for entry in book.bad()}
            yield _gauge(
                "key_failures", "Failures in a row of keys that are not well.", ("source", "key", "state"), bad
            )

        self._registry.register(_Collector(read))

    def counter(self, name: str, about: str, labels: Sequence[str], read: Callable[[], Mapping[L, float]]) -> None:
        """A total that only grows, read when asked for."""
        self._registry.register(_Collector(lambda: [_counter(name, about, labels, read())]))

    def gauge(self, name: str, about: str, labels: Sequence[str], read: Callable[[], Mapping[L, float]]) -> None:
        """A value of now, read when asked for."""
        self._registry.register(_Collector(lambda: [_gauge(name, about, labels, read())]))

    def render(self) -> bytes:
        """The text, in the form ``CONTENT_TYPE`` names."""
        return generate_latest(self._registry)

    def _engine(self) -> Iterable[Metric]:
        outcomes: dict[tuple[str, ...], float] = {}
        for each in self._controllers:
            counters = each.counters
            for outcome in ("done", "requeued", "transient", "refused", "unknown", "cut_off"):
                outcomes[each.name, outcome] = getattr(counters, outcome)
        yield _counter("reconcile_passes", "Reconcile passes by outcome.", ("controller", "outcome"), outcomes)
        coalesced = {(each.name,): float(each.counters.coalesced) for each in self._controllers}
        yield _counter("reconcile_coalesced", "Marks that cost no pass of their own.", ("controller",), coalesced)
        busy = {(each.name,): each.counters.busy_seconds for each in self._controllers}
        yield _counter("reconcile_seconds", "Seconds that passes took, summed.", ("controller",), busy)
        due = {(each.name,): float(each.depth) for each in self._controllers}
        yield _gauge("reconcile_due", "Keys that wait for a pass, now or later.", ("controller",), due)
        running = {(each.name,): float(len(each.running)) for each in self._controllers}
        yield _gauge("reconcile_running", "Keys whose pass runs.", ("controller",), running)
        batches: dict[tuple[str, ...], float] = {}
        for name, batcher in self._batchers.items():
            for what in ("items", "flushes", "failures"):
                batches[name, what] = getattr(batcher.counters, what)
        yield _counter("batches", "What went through batchers.", ("batcher", "what"), batches)
        engaged = {(brake.name,): float(brake.state.engaged) for brake in self._brakes}
        yield _gauge("brake_engaged", "1 while a deletion brake waits for a person.", ("brake",), engaged)


class _Collector(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def _counter(name: str, about: str, labels: Sequence[str], samples: Mapping[L, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, about, labels=list(labels))
    for values, number in sorted(samples.items()):
        family.add_metric(list(values), number)
    return family


def _gauge(name: str, about: str, labels: Sequence[str], samples: Mapping[L, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, about, labels=list(labels))
    for values, number in sorted(samples.items()):
        family.add_metric(list(values), number)
    return family
