"""Client of Contrail's config API: the generic verbs, with pages, deadlines, retries and failover.

Nothing here knows what a virtual network is for; ``inventory`` and ``writer`` do. A call is repeated when the answer
says nothing about the request (the server starts, its queue is full, it cannot be reached), at the next server first.
A create whose answer was lost is *not* repeated: OutcomeUnknown says that somebody has to look.

The API's habits that show here: lists are asked through ``list-bulk-collection`` (one shape for all selectors, as long
as they may be; selectors are comma-separated text), a page only comes when a marker is given, unset properties are
absent, and a null in a create can do harm (``"uuid": null`` makes an owner called "None"), so nulls are left out there.
"""

from __future__ import annotations

import asyncio
import builtins
import itertools
import logging
import random as random_module
import ssl
import uuid as uuid_module
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import aiohttp
import msgspec

from contrail_vsphere.contrail.errors import PASSING, kind_of, raise_for
from contrail_vsphere.contrail.http import acknowledge_now, bounded_read, door
from contrail_vsphere.contrail.keystone import Auth, NoAuth
from contrail_vsphere.contrail.pace import WritePace
from contrail_vsphere.contrail.servers import ApiServer, ApiServers
from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.engine.breaker import Health
from contrail_vsphere.model.errors import (
    ContrailVsphereError,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    Unreachable,
)
from contrail_vsphere.wire.contrail.errors import Kind, classify
from contrail_vsphere.wire.contrail.names import dashed, plural

log = logging.getLogger(__name__)

PAGE = 1000
FIRST_PAGE = "00000000-0000-0000-0000-000000000000"
MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR = 256 * 1024
KEEP_ALIVE = 20.0
"""Seconds an idle connection is kept."""
Filter = str | bool | int


@dataclass(frozen=True, slots=True)
class Retry:
    """When a call is sent again."""

    attempts: int
    """In all, counted over all servers."""
    unknown: bool
    """Also when it may have been carried out, because twice is the same as once."""


READ: Final = Retry(attempts=5, unknown=True)
REPEATABLE: Final = Retry(attempts=5, unknown=True)
CREATE: Final = Retry(attempts=5, unknown=False)
PAUSE: Final = Backoff(first=0.2, most=5.0)
"""Between two tries at the same server."""


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was carried out."""

    uuid: UUID
    request_id: str
    """Also in the notifications that the write causes."""


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    """As it is counted: list, read, create, update, delete, ref-update, prop-update, fq-name-to-id, ..."""
    type: str
    method: str
    path: str
    retry: Retry
    body: Any = None
    params: Mapping[str, str] | None = None
    write: bool = False
    request_id: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.type}".strip()


class ConfigApi:
    """An async context manager. Every method raises Unreachable, NotReadyYet, Busy, NoPermission, AuthenticationFailed,
    Untrusted and ProtocolError; others are named where they can happen.

    ``concurrency``: requests at a time. ``timeout``: seconds for one try. ``deadline``: seconds for a call with all its
    tries. ``rate``: writes per second.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        auth: Auth | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "contrail-vsphere",
        concurrency: int = 16,
        timeout: float = 30.0,
        deadline: float = 90.0,
        rate: float = 150.0,
        page: int = PAGE,
        random: random_module.Random | None = None,
    ) -> None:
        self._servers = ApiServers(servers)
        self._auth: Auth = auth or NoAuth()
        self._tls = tls
        self._user_agent = user_agent
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(5.0, timeout))
        self._deadline = deadline
        self._page = page
        self._random = random or random_module.Random()
        self._prefix = f"req-{uuid_module.uuid4()}"
        self._numbers = itertools.count(1)
        self._http: aiohttp.ClientSession | None = None
        self.pace = WritePace(rate=rate)
        self.calls: Counter[tuple[str, str]] = Counter()
        """Requests sent, by (verb, dashed type)."""

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers={"User-Agent": self._user_agent, "X-Contrail-Useragent": self._user_agent},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @property
    def health(self) -> Health:
        """Of the server we stay with."""
        return self._servers.current.breaker.health

    @property
    def servers(self) -> Mapping[str, Health]:
        """Of each server, by URL."""
        return self._servers.health

    def ours(self, request_id: str) -> bool:
        """Whether a notification's request id is of a request of this client."""
        return request_id.startswith(self._prefix)

    # -- reading ------------------------------------------------------------------------------------------------

    async def list(
        self,
        kind: str,
        *,
        fields: Iterable[str] = (),
        parent_ids: Iterable[UUID] = (),
        back_ref_ids: Iterable[UUID] = (),
        uuids: Iterable[UUID] | None = None,
        filters: Mapping[str, Filter] | None = None,
    ) -> AsyncIterator[builtins.list[dict[str, Any]]]:
        """Pages of objects of a type, each with ``uuid``, ``fq_name``, parent and the ``fields`` that are set.

        ``uuids``: these only, unknown ones are left out. ``back_ref_ids``: those that refer to one of these.
        ``filters``: equality; an unset property equals nothing.
        """
        body: dict[str, Any] = {"type": dashed(kind), "exclude_hrefs": True, "page_limit": self._page}
        body["fields"] = ",".join(fields)
        if filters:
            body["filters"] = ",".join(f"{name}=={_json(value)}" for name, value in filters.items())
        for name, ids in (("parent_id", parent_ids), ("back_ref_id", back_ref_ids), ("obj_uuids", uuids)):
            if text := ",".join(str(one) for one in ids or ()):
                body[name] = text
        if uuids is not None and "obj_uuids" not in body:
            return
        marker: str | None = FIRST_PAGE
        while marker is not None:
            answer = await self._ask(_list_call(kind, {**body, "page_marker": marker}))
            rows, following = _page(answer, kind)
            if following == marker:
                raise ProtocolError(f"the config API repeats the page marker {marker!r} of {plural(dashed(kind))}")
            marker = following
            yield rows

    async def collect(self, kind: str, **selectors: Any) -> builtins.list[dict[str, Any]]:
        """All pages of :meth:`list` in one list."""
        return [row async for page in self.list(kind, **selectors) for row in page]

    async def read(self, kind: str, uuid: UUID, *, fields: Iterable[str] = ()) -> dict[str, Any]:
        """One object, without children and back references unless ``fields`` names them. Raises NotFound."""
        params = {"exclude_hrefs": "true", "exclude_back_refs": "true", "exclude_children": "true"}
        if names := ",".join(fields):
            params = {"exclude_hrefs": "true", "fields": names}
        answer = await self._ask(_Call("read", dashed(kind), "GET", f"/{dashed(kind)}/{uuid}", READ, params=params))
        return _inner(answer, kind)

    async def fq_name_to_id(self, kind: str, fq_name: Sequence[str]) -> UUID | None:
        """The object of that name, or None."""
        body = {"type": dashed(kind), "fq_name": [*fq_name]}
        call = _Call("fq-name-to-id", dashed(kind), "POST", "/fqname-to-id", READ, body)
        try:
            answer = await self._ask(call)
        except NotFound:
            return None
        return _uuid(answer.get("uuid") if isinstance(answer, dict) else None)

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, kind: str, body: Mapping[str, Any]) -> Written:
        """Create an object under a uuid of our choice; properties that are None are left out.

        Raises AlreadyExists, NotFound (its parent), Conflict (a reference to what is not there), InvalidArgument,
        OutOfResources (no address, no quota), and OutcomeUnknown when it may have been created.
        """
        given = {name: value for name, value in body.items() if value is not None}
        for name in ("uuid", "fq_name"):
            if name not in given:
                raise InvalidArgument(f"a {kind} is not created without its {name}")
        call = _Call("create", dashed(kind), "POST", f"/{plural(dashed(kind))}", CREATE, {dashed(kind): given})
        return await self._write(call, UUID(str(given["uuid"])))

    async def update(self, kind: str, uuid: UUID, changes: Mapping[str, Any]) -> Written:
        """Change the named properties; None unsets one, a list of references replaces all of their type."""
        call = _Call("update", dashed(kind), "PUT", f"/{dashed(kind)}/{uuid}", REPEATABLE, {dashed(kind): {**changes}})
        return await self._write(call, uuid)

    async def delete(self, kind: str, uuid: UUID) -> Written:
        """Delete an object. Raises NotFound, and Busy while others refer to it."""
        return await self._write(_Call("delete", dashed(kind), "DELETE", f"/{dashed(kind)}/{uuid}", REPEATABLE), uuid)

    async def ref_update(
        self,
        kind: str,
        uuid: UUID,
        *,
        to_type: str,
        to: UUID,
        operation: str = "ADD",
        attr: Mapping[str, Any] | None = None,
    ) -> Written:
        """Add (or change) or ``DELETE`` one reference and leave all others as they are; both can be repeated."""
        body = {"type": dashed(kind), "uuid": str(uuid), "ref-type": dashed(to_type), "ref-uuid": str(to)}
        body["operation"] = operation
        call = _Call(
            "ref-update", dashed(kind), "POST", "/ref-update", REPEATABLE, {**body, "attr": attr} if attr else body
        )
        return await self._write(call, uuid)

    async def prop_update(
        self, kind: str, uuid: UUID, *, field: str, put: Mapping[str, Any] | None = None, drop: Iterable[str] = ()
    ) -> Written:
        """Set or delete elements of a map property (``annotations``) by their keys and leave all others as they are."""
        updates: builtins.list[dict[str, Any]] = [
            {"field": field, "operation": "set", "position": key, "value": value} for key, value in (put or {}).items()
        ]
        updates += [{"field": field, "operation": "delete", "position": key} for key in drop]
        body = {"uuid": str(uuid), "updates": updates}
        call = _Call("prop-update", dashed(kind), "POST", "/prop-collection-update", REPEATABLE, body)
        return await self._write(call, uuid)

    # -- one call -----------------------------------------------------------------------------------------------

    async def _write(self, call: _Call, uuid: UUID) -> Written:
        request_id = f"{self._prefix}.{next(self._numbers)}"
        await self._ask(
            _Call(call.verb, call.type, call.method, call.path, call.retry, call.body, None, True, request_id)
        )
        return Written(uuid, request_id)

    async def _ask(self, call: _Call) -> Any:
        """Send a call until it is answered; the last error if it is not."""
        last: ContrailVsphereError | None = None
        try:
            async with asyncio.timeout(self._deadline):
                for attempt in range(1, call.retry.attempts + 1):
                    server = self._servers.pick()
                    try:
                        return await self._try(server, call)
                    except ContrailVsphereError as error:
                        if attempt == call.retry.attempts or not _worth_repeating(error, call):
                            raise
                        last = error
                        await self._before_next(server, error, attempt)
        except TimeoutError:
            if last is not None:
                raise last from None
            raise OutcomeUnknown(f"{call} was not answered within {self._deadline:g} s") from None
        raise Unreachable(f"{call} was never tried")

    async def _before_next(self, server: ApiServer, error: ContrailVsphereError, attempt: int) -> None:
        """Choose the next server, or wait if there is none left to try at once."""
        log.info("%s; it is tried again", error.message)
        if kind_of(error) is Kind.BACK_PRESSURE:
            self.pace.refused()  # all servers share RabbitMQ
        else:
            self._servers.leave(server)
            if attempt < len(self._servers):
                return
        await asyncio.sleep(PAUSE.delay(attempt, self._random))

    async def _try(self, server: ApiServer, call: _Call) -> Any:
        """One exchange with one server; a token that has ended is renewed once."""
        if call.write:
            await self.pace.admit()
        async with self._slots:
            for last in (False, True):
                headers = await self._auth.headers(self._session)
                try:
                    status, raw = await self._exchange(server, call, headers)
                except Unreachable as error:
                    server.breaker.failed(error.message)
                    raise
                server.breaker.succeeded()
                if status != 401 or last or not self._auth.rejected(headers):
                    break
        if status != 200:
            raise_for(classify(status, raw.decode(errors="replace")), server=server.name, what=str(call))
        if call.write:
            self.pace.taken()
        return _decode(raw, server, call)

    async def _exchange(self, server: ApiServer, call: _Call, auth: Mapping[str, str]) -> tuple[int, bytes]:
        headers = {**auth, "Content-Type": "application/json"}
        if call.request_id:
            headers["X-Request-Id"] = call.request_id
        body = msgspec.json.encode(call.body) if call.body is not None else None
        self.calls[call.verb, call.type] += 1
        log.debug("%s to %s %s", call, server.base, call.request_id)
        with door(server.name):
            async with self._session.request(
                call.method,
                server.base + call.path,
                params=call.params,
                data=body,
                headers=headers,
                ssl=self._tls or True,
                allow_redirects=False,
            ) as reply:
                acknowledge_now(reply)
                if reply.status == 200:
                    return 200, await bounded_read(reply, most=MAX_ANSWER)
                return reply.status, await _error_text(reply)

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the ConfigApi is not entered")
        return self._http


async def _error_text(reply: aiohttp.ClientResponse) -> bytes:
    """The text of an error; the status is answer enough where it does not come (R2011's 403 has no body)."""
    try:
        return await reply.content.read(MAX_ERROR)
    except (aiohttp.ClientError, TimeoutError):
        return b""


def _worth_repeating(error: ContrailVsphereError, call: _Call) -> bool:
    if isinstance(error, OutcomeUnknown) and not call.retry.unknown:
        return False
    return isinstance(error, Unreachable) or kind_of(error) in PASSING


def _list_call(kind: str, body: Mapping[str, Any]) -> _Call:
    return _Call("list", dashed(kind), "POST", "/list-bulk-collection", READ, body)


def _decode(raw: bytes, server: ApiServer, call: _Call) -> Any:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"{call}: {server.name} sent no JSON: {error}", hint="is this a config API?") from None


def _page(answer: Any, kind: str) -> tuple[builtins.list[dict[str, Any]], str | None]:
    rows = answer.get(plural(dashed(kind))) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProtocolError(f"the config API's list of {plural(dashed(kind))} is none")
    marker = answer.get("marker")
    return rows, marker if isinstance(marker, str) and marker else None


def _inner(answer: Any, kind: str) -> dict[str, Any]:
    found = answer.get(dashed(kind)) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise ProtocolError(f"the config API answers without a {kind}")
    return found


def _uuid(text: Any) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise ProtocolError(f"the config API answers with {text!r:.60} for a uuid") from None


def _json(value: Filter) -> str:
    return msgspec.json.encode(value).decode()
