"""Writes down every verb that is done, as a scenario file that does the same again.

A step is written when it is done and all before it are, so the file is whole whenever the simulator dies. A verb during
which another one began is written as ``background``; one that was refused with the fault it was refused with. Objects
go by name where the name means them at that moment, else by id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.faults import FaultRule
from contrail_vsphere.simulator.story import Step, render
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.clock import Clock
    from contrail_vsphere.simulator.simulator import VCenterSimulator


@dataclasses.dataclass(slots=True)
class _Taken:
    step: Step
    state: str = "running"
    """``running``, ``done``, or ``void`` for what did nothing."""


class Recorder:
    """Records what ``simulator.scenario`` does from ``start`` to ``stop``."""

    def __init__(self, simulator: VCenterSimulator, path: Path) -> None:
        self._simulator = simulator
        self._path = path
        self._begin = 0.0
        self._open: list[_Taken] = []

    @property
    def _clock(self) -> Clock:
        return self._simulator.world.clock

    def start(self) -> None:
        """Begin a new file; times in it count from now."""
        options = self._simulator.options
        size = f"--hosts {options.hosts} --clusters {options.clusters} --vms {options.vms}"
        self._path.write_text(f"# Recorded; began with: {size} --profile {options.profile} --seed {options.seed}\n\n")
        self._begin = self._clock.time()
        self._simulator.scenario.listener = self

    def stop(self) -> None:
        """Write what is still running, too; idempotent."""
        if self._simulator.scenario.listener is self:
            self._simulator.scenario.listener = None
        for taken in self._open:
            if taken.state == "running":
                taken.step = dataclasses.replace(taken.step, background=True)
                taken.state = "done"
        self._flush()

    @contextmanager
    def taking(self, verb: str, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Called around every verb."""
        for before in self._open:
            if before.state == "running":
                before.step = dataclasses.replace(before.step, background=True)
        taken = _Taken(self._step(verb, arguments))
        self._open.append(taken)
        try:
            yield
        except SoapFault as error:
            if taken.step.do:
                taken.step = dataclasses.replace(taken.step, fails=error.kind)
            taken.state = "done"
            raise
        except BaseException:
            taken.state = "void"
            raise
        else:
            taken.state = "done"
        finally:
            self._flush()

    def _step(self, verb: str, arguments: Mapping[str, Any]) -> Step:
        at = self._clock.time() - self._begin
        if verb == "add_fault":
            rule = arguments.get("rule")
            return Step(at=at, fault=rule if rule is not None else FaultRule(**arguments.get("fields", {})))
        return Step(at=at, do=verb, arguments={name: self._written(value) for name, value in arguments.items()})

    def _written(self, value: Any) -> Any:
        if not isinstance(value, Entity):
            return value
        name = getattr(value, "name", "")
        try:
            meant = self._simulator.scenario.find(type(value), name)
        except LookupError:
            return value.moid
        return name if meant is value and self._simulator.world.get(name) is None else value.moid

    def _flush(self) -> None:
        ready = 0
        while ready < len(self._open) and self._open[ready].state != "running":
            ready += 1
        text = "".join(render(taken.step) for taken in self._open[:ready] if taken.state == "done")
        del self._open[:ready]
        if text:
            with self._path.open("a") as file:
                file.write(text)
