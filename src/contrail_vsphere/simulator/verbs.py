"""The verbs of a scenario as data: what they are called, what they take, and who wants to know that one was done.

A method of ``Scenario`` marked with ``@verb`` can stand in a scenario file and is told to the recorder, whoever calls
it: Python, the control port, a file being played. Calls in which an object does not exist did nothing and are not told.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from contrail_vsphere.simulator.scenario import Scenario

F = TypeVar("F", bound=Callable[..., Any])

VERBS: dict[str, Verb] = {}
"""By name."""


class Listener(Protocol):
    """Somebody who writes down what is done."""

    def taking(self, verb: str, arguments: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Entered when a verb begins, left when it is done or failed."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb; ``parameters`` are those of the method, without ``self``."""

    name: str
    parameters: Mapping[str, inspect.Parameter]
    keys: frozenset[str] | None = None
    """Names that a verb with open keyword arguments takes."""

    def problems(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is wrong with arguments from a file, a line each."""
        known = self.keys if self.keys is not None else self.parameters.keys()
        found = [f"{self.name} has no argument {name}" for name in arguments if name not in known]
        if self.keys is not None:
            return found
        for name, parameter in self.parameters.items():
            if name not in arguments:
                if parameter.default is inspect.Parameter.empty:
                    found.append(f"{self.name} needs {name}")
            elif not _fits(arguments[name], str(parameter.annotation)):
                found.append(f"{self.name}: {name} must be {_expected(str(parameter.annotation))}")
        return found


def verb(function: F) -> F:
    """Mark a method of Scenario as a verb."""
    parameters = dict(inspect.signature(function).parameters)
    del parameters["self"]
    open_ended = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    VERBS[function.__name__] = Verb(function.__name__, parameters, _fault_fields() if open_ended else None)
    signature = inspect.signature(function)

    def told(self: Scenario, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[None]:
        if self.listener is None:
            return nullcontext()
        given = dict(signature.bind(self, *args, **kwargs).arguments)
        del given["self"]
        return self.listener.taking(function.__name__, given)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(self: Scenario, *args: Any, **kwargs: Any) -> Any:
            with told(self, args, kwargs):
                return await function(self, *args, **kwargs)

        return later  # type: ignore[return-value]

    @functools.wraps(function)
    def at_once(self: Scenario, *args: Any, **kwargs: Any) -> Any:
        with told(self, args, kwargs):
            return function(self, *args, **kwargs)

    return at_once  # type: ignore[return-value]


def _fault_fields() -> frozenset[str]:
    from contrail_vsphere.simulator.core.faults import FaultRule

    return frozenset(FaultRule.__dataclass_fields__)


_KINDS: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def _expected(annotation: str) -> str:
    """In words; objects are given by name or id."""
    words = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    return words.get(annotation, "a string")


def _fits(value: Any, annotation: str) -> bool:
    """Whether a TOML value may stand for a parameter with that annotation."""
    kinds = _KINDS.get(annotation, (str,))
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
