"""What can be decided about one EsxAgent: the words that ``machine`` speaks and ``worker`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from contrail_vsphere.simulator.eam.situation import Phase

Operation = Literal[
    "deploy",
    "deploy-new",
    "power-on",
    "power-on-new",
    "power-off",
    "reconfigure",
    "delete-new",
    "power-off-old",
    "delete-old",
    "discard",
    "power-off-all",
    "delete-all",
    "install-vib",
    "remove-vib",
    "leave-maintenance",
    "forget",
]


@dataclass(frozen=True, slots=True)
class Go:
    """Move on at once."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Raise:
    """Something is wrong; once it is resolved, go on in ``phase``."""

    types: tuple[str, ...]
    phase: Phase


@dataclass(frozen=True, slots=True)
class Do:
    """Run the operation; ``then`` follows its success, ``retry`` is where a failure leaves the EsxAgent."""

    operation: Operation
    then: Phase
    retry: Phase


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes."""


Outcome = Go | Raise | Do | Wait
WAIT: Final = Wait()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to commit (phase, issues) and what to run after that."""

    phase: Phase
    raised: tuple[str, ...] = ()
    cleared: frozenset[str] = frozenset()
    do: Do | None = None
