"""What the config API's errors mean: a closed list of kinds, told apart by status *and* text.

The status alone misleads: back-pressure and many mistakes of the client are 500, a missing parent is 404, "in use" and
"already there" are both 409. The texts are Python representations with ``'x'`` or ``u'x'`` quoting, depending on the
server's Python. Texts were observed on R1912 and on 2024 master, which agree; the simulator speaks them by the
functions at the end of this module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_TEXT = 256 * 1024
"""An in-use answer lists every referrer, 80 characters each; what is longer is cut before it is looked at."""


class Kind(Enum):
    """What went wrong, and so what may be done about it."""

    NAME_TAKEN = "name taken"
    """Another object of the type has the fully qualified name; ``uuid`` says which."""
    UUID_TAKEN = "uuid taken"
    """``fq_name`` says by whom."""
    IN_USE = "in use"
    """Cannot be deleted: ``uuids`` refer to it."""
    CHILDREN = "children present"
    """Cannot be deleted: ``uuids`` are its children."""
    ADDRESS_IN_USE = "address in use"
    SUBNET_IN_USE = "subnet in use"
    """A subnet cannot be taken away: an address of it is in use."""
    CONFLICT = "conflict"
    """Another 409: gateway or pool out of the subnet, an equal rule, a bad subnet uuid."""
    NOT_FOUND = "not found"
    """The object, or the parent it should get."""
    NO_SUCH_TYPE = "no such type"
    NO_SUCH_ROUTE = "no such route"
    """404 or 405: the server does not have this call."""
    UNKNOWN_REFERENCE = "unknown reference"
    """An object that is referred to does not exist (yet, or any more)."""
    EXHAUSTED = "subnet exhausted"
    """No address left, or the asked one is in none of the network's subnets."""
    SUBNET_EDIT = "subnet edit forbidden"
    """Gateway and pools of a subnet that stays cannot be changed."""
    INVALID = "invalid"
    """Another 400; the same request fails again."""
    SERVER_BUG = "server bug"
    """500 for a request the server stumbled over; it will again."""
    BACK_PRESSURE = "back-pressure"
    """Too many notifications wait for RabbitMQ; nothing was done, try again later."""
    STARTING = "starting"
    UNAVAILABLE = "unavailable"
    """502, 503, 504 or 429. A write may have been done."""
    OVER_QUOTA = "over quota"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too large"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ApiError:
    """One error answer, understood as far as it can be."""

    status: int
    kind: Kind
    text: str
    uuid: str = ""
    """The object the text names, if it names one."""
    fq_name: tuple[str, ...] = ()
    uuids: tuple[str, ...] = ()
    """Referrers or children, of ``IN_USE`` and ``CHILDREN``."""


UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_ANY_UUID = re.compile(UUID)
_NAME = r"(?P<fq_name>\[.*?\])"

_TABLE: tuple[tuple[int, re.Pattern[str], Kind], ...] = tuple(
    (status, re.compile(pattern, re.DOTALL), kind)
    for status, pattern, kind in (
        (409, rf"{_NAME} already exists with uuid: (?P<uuid>{UUID})", Kind.NAME_TAKEN),
        (409, rf"(?P<uuid>{UUID}) already exists with fq_name: {_NAME}", Kind.UUID_TAKEN),
        (409, r"Delete when resource still referred: ", Kind.IN_USE),
        (409, r"Delete when children still present: ", Kind.CHILDREN),
        (409, r"IP address already in use", Kind.ADDRESS_IN_USE),
        (409, r"Cannot Delete IP Block", Kind.SUBNET_IN_USE),
        (409, r"", Kind.CONFLICT),
        (404, r"Not found: '/", Kind.NO_SUCH_ROUTE),
        (404, r"Resource type '[^']*' not found", Kind.NO_SUCH_TYPE),
        (404, rf"Name ?{_NAME} not found", Kind.NOT_FOUND),
        (404, rf"(Unknown id: |ID |UUID |Object Not Found: )(?P<uuid>{UUID})?", Kind.NOT_FOUND),
        (404, r"", Kind.NOT_FOUND),
        (405, r"", Kind.NO_SUCH_ROUTE),
        (400, r"Unknown reference in resource (create|update)", Kind.UNKNOWN_REFERENCE),
        (400, r"has exhausted subnet|has no defined subnets", Kind.EXHAUSTED),
        (400, r"", Kind.INVALID),
        (500, r"Too many pending updates to RabbitMQ", Kind.BACK_PRESSURE),
        (500, rf"NoIdError: Unknown id: (?P<type>\S+) ?(?P<uuid>{UUID})?", Kind.UNKNOWN_REFERENCE),
        (500, r"has invalid subnet\(", Kind.SUBNET_EDIT),
        (500, r"", Kind.SERVER_BUG),
        (503, r"Initializing", Kind.STARTING),
        (502, r"", Kind.UNAVAILABLE),
        (503, r"", Kind.UNAVAILABLE),
        (504, r"", Kind.UNAVAILABLE),
        (429, r"", Kind.UNAVAILABLE),
        (412, r"", Kind.OVER_QUOTA),
        (413, r"", Kind.TOO_LARGE),
        (401, r"", Kind.UNAUTHENTICATED),
        (403, r"", Kind.FORBIDDEN),
    )
)


def classify(status: int, text: str) -> ApiError:
    """Understand an error answer. Any status and any text give an answer; ``Kind.UNKNOWN`` if nothing fits."""
    text = text[:MAX_TEXT]
    for wanted, pattern, kind in _TABLE:
        match = pattern.search(text) if status == wanted else None
        if match is None:
            continue
        found = match.groupdict()
        uuids: tuple[str, ...] = ()
        if kind in {Kind.IN_USE, Kind.CHILDREN}:
            uuids = tuple(dict.fromkeys(_ANY_UUID.findall(text)))
        return ApiError(
            status=status,
            kind=kind,
            text=text,
            uuid=found.get("uuid") or "",
            fq_name=_parse_name(found.get("fq_name") or ""),
            uuids=uuids,
        )
    return ApiError(status=status, kind=Kind.UNKNOWN, text=text)


def _parse_name(text: str) -> tuple[str, ...]:
    """A list as Python writes it; empty for what is none (it only serves to explain)."""
    try:
        value = ast.literal_eval(text) if text else ()
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


# -- the texts, as the server says them -----------------------------------------------------------------------------


def name_taken(fq_name: Sequence[str], uuid: str) -> str:
    """409 of a create."""
    return f"{list(fq_name)} already exists with uuid: {uuid}"


def uuid_taken(uuid: str, fq_name: Sequence[str]) -> str:
    """409 of a create."""
    return f"{uuid} already exists with fq_name: {list(fq_name)}"


def still_referred(urls: Iterable[str], *, python2: bool) -> str:
    """409 of a delete."""
    return f"Delete when resource still referred: {_listed(urls, python2=python2)}"


def still_children(urls: Iterable[str], *, python2: bool) -> str:
    """409 of a delete."""
    return f"Delete when children still present: {_listed(urls, python2=python2)}"


def unknown_id(uuid: str) -> str:
    """404 of read, update and ref-update."""
    return f"Unknown id: {uuid}"


def unknown_type(name: Any) -> str:
    """404 of actions."""
    return f"Resource type '{name}' not found"


def exhausted(network: Sequence[str], subnets: Sequence[str] = ()) -> str:
    """400 of an instance-ip; also when the asked address is in none of the subnets."""
    return f"Virtual-Network({list(network)}) has exhausted subnet({list(subnets)})"


def invalid_subnet(network: Sequence[str], subnet: str, reason: str = "") -> str:
    """400 of an instance-ip with a wrong ``subnet_uuid``; 500 of a network whose subnet is edited."""
    return f"Virtual-Network({list(network)}) has invalid subnet({subnet}{':' + reason if reason else ''})"


def back_pressure(pending: int) -> str:
    """500 of any write."""
    return f"Too many pending updates to RabbitMQ: {pending}"


ADDRESS_IN_USE = "IP address already in use"
STARTING = "Api server is Initializing:DB Resync in progress"


def subnet_in_use(address: str) -> str:
    """409 of a network that loses a subnet."""
    return f"Cannot Delete IP Block, IP({address}) is in use"


def _listed(urls: Iterable[str], *, python2: bool) -> str:
    mark = "u" if python2 else ""
    return "[" + ", ".join(f"{mark}{url!r}" for url in urls) + "]"
