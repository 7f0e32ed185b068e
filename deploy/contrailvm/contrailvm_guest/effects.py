"""What the first-boot program may ask of the world, as values; and how a program of such requests is driven.

A program is a generator: it yields an :class:`Effect`, and is sent the answer or thrown an :class:`EffectFailed`.
Whoever drives it decides what performing means, so the same program runs on Linux and in a simulated guest, and a test
can stop it between any two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Effect(Generic[T]):
    """A request to the world whose answer is a ``T``."""

    __slots__ = ()


Program = Generator[Effect[Any], Any, R]


class EffectFailed(Exception):  # noqa: N818 - reads as what happened, like the built-in KeyboardInterrupt
    """The effect could not be performed; the message is one line for the journal, free of secrets."""


class Unreachable(EffectFailed):
    """No connection, no answer in time, or it was cut off. Worth another try."""


class Untrusted(EffectFailed):
    """The server's certificate does not hold, or it does not take ours."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; its body is not longer than the request allowed."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LinuxNic:
    """An ethernet interface as the guest's kernel knows it."""

    name: str
    mac: str
    """Lower case, with colons."""


@dataclass(frozen=True, slots=True)
class ReadOvfEnvironment(Effect["bytes | None"]):
    """The OVF environment that vSphere wrote at power-on; None while VMware Tools cannot tell."""


@dataclass(frozen=True, slots=True)
class ReadFile(Effect["bytes | None"]):
    """A file's content; None when there is none."""

    path: str


@dataclass(frozen=True, slots=True)
class WriteFile(Effect[None]):
    """Replace a file at once (never half of it, also across a power failure); directories are made as needed."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class RemoveFile(Effect[None]):
    """Delete a file; it may be gone already."""

    path: str


@dataclass(frozen=True, slots=True)
class GenerateKey(Effect[bytes]):
    """A new private key (EC P-256, PEM)."""


@dataclass(frozen=True, slots=True)
class CreateRequest(Effect[bytes]):
    """A certificate signing request (PEM) for the key in a file."""

    key_path: str
    common_name: str


@dataclass(frozen=True, slots=True)
class CertificateSpent(Effect["float | None"]):
    """How much of a certificate's life is over: 0 when it begins, 1 when it has expired; None when there is none."""

    path: str


@dataclass(frozen=True, slots=True)
class Http(Effect[Reply]):
    """A request over verified TLS: the server must chain to ``authority`` (PEM) and to nothing else."""

    method: Literal["GET", "POST"]
    url: str
    authority: bytes = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    certificate_path: str = ""
    """Client certificate, with its key in ``key_path``; none when empty."""
    key_path: str = ""
    most: int = 256 * 1024
    """Longest body that is taken, in bytes."""


@dataclass(frozen=True, slots=True)
class FetchAuthority(Effect[Reply]):
    """Get a public certificate whose digest is known already; nothing else may be asked without verified TLS."""

    url: str
    most: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class ListNics(Effect["tuple[LinuxNic, ...]"]):
    """All ethernet interfaces with a device behind them."""


@dataclass(frozen=True, slots=True)
class SetOffload(Effect[None]):
    """Turn a NIC feature off (``rx``, ``tx``: checksums; ``lro``: large receive)."""

    interface: str
    feature: Literal["rx", "tx", "lro"]


@dataclass(frozen=True, slots=True)
class RunService(Effect[None]):
    """``systemctl start|restart|stop`` of a unit."""

    verb: Literal["start", "restart", "stop"]
    unit: str


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait that many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Log(Effect[None]):
    """One line for the journal."""

    text: str


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try and how long to wait, as data; each pause is ``factor`` times longer, up to ``most`` seconds."""

    attempts: int
    first: float = 1.0
    factor: float = 2.0
    most: float = 60.0

    def pauses(self) -> tuple[float, ...]:
        """Seconds to wait after each failed attempt but the last."""
        return tuple(min(self.most, self.first * self.factor**n) for n in range(self.attempts - 1))


def ask(effect: Effect[T]) -> Generator[Effect[Any], Any, T]:
    """Yield one effect and return its answer with its type; called with ``yield from``."""
    answer: T = yield effect
    return answer


def drive(program: Program[R], perform: Callable[[Effect[Any]], Any]) -> R:
    """Run a program to its end with a synchronous performer."""
    answer: Any = None
    failure: EffectFailed | None = None
    while True:
        try:
            effect = program.send(answer) if failure is None else program.throw(failure)
        except StopIteration as done:
            result: R = done.value
            return result
        answer, failure = None, None
        try:
            answer = perform(effect)
        except EffectFailed as failed:
            failure = failed
