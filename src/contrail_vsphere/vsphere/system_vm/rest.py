"""vCenter's REST API: one session, calls with a deadline, tasks, and errors of ours.

An extension cannot log in here by its certificate, so the session is an account's. One that the server has forgotten is
opened again, once for everybody who waits; a refused login is not repeated for a while, for it would lock the account.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from contrail_vsphere.engine.breaker import CircuitBreaker, Health
from contrail_vsphere.model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    Busy,
    ContrailVsphereError,
    InvalidArgument,
    InvalidState,
    NoPermission,
    NotAuthenticated,
    NotFound,
    NotReadyYet,
    OutOfResources,
    ProtocolError,
    RefusedError,
    TransientError,
    Unreachable,
    Untrusted,
)
from contrail_vsphere.vsphere.endpoint import Endpoint, PasswordLogin
from contrail_vsphere.vsphere.transport import CONNECT_DEADLINE, KEEP_ALIVE, connection_error
from contrail_vsphere.wire.system_vm import codec, paths
from contrail_vsphere.wire.system_vm.state import ApiError, TaskInfo, TaskStatus

DEADLINE = 60.0
"""Seconds an ordinary call may take."""
LOCKED_OUT = 30.0
"""Seconds after a refused login in which no other is tried; doubles up to 15 minutes."""
LARGEST_ANSWER = 64 << 20
PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two looks at a task; the last one repeats."""

_LOG = logging.getLogger(__name__)

ERRORS: Mapping[str, tuple[type[ContrailVsphereError], str]] = {
    "UNAUTHENTICATED": (NotAuthenticated, "the session is gone; a new login follows"),
    "UNAUTHORIZED": (NoPermission, "grant the account VcIntegrity.systemVM.Read and .Write"),
    "NOT_FOUND": (NotFound, ""),
    "ALREADY_EXISTS": (AlreadyExists, ""),
    "INVALID_ARGUMENT": (InvalidArgument, ""),
    "NOT_ALLOWED_IN_CURRENT_STATE": (Busy, "it is tried again when the other operation is over"),
    "RESOURCE_BUSY": (Busy, ""),
    "CONCURRENT_CHANGE": (Busy, ""),
    "UNSUPPORTED": (InvalidState, "the cluster must be managed by an image of vSphere Lifecycle Manager"),
    "SERVICE_UNAVAILABLE": (NotReadyYet, ""),
    "TIMED_OUT": (TransientError, ""),
    "CANCELED": (TransientError, ""),
    "UNABLE_TO_ALLOCATE_RESOURCE": (OutOfResources, ""),
    "INTERNAL_SERVER_ERROR": (TransientError, ""),
}
"""``error_type`` of an answer -> error of ours, and what to do; others are RefusedError."""

T = TypeVar("T")


class RestSession:
    """Calls under one login; ``calls`` counts them by the name the caller gives."""

    def __init__(self, endpoint: Endpoint, login: PasswordLogin, *, breaker: CircuitBreaker | None = None) -> None:
        self.endpoint = endpoint
        self.calls: Counter[str] = Counter()
        self._login = login
        self._breaker = breaker or CircuitBreaker()
        self._base = f"https://{endpoint.name}"
        self._http: aiohttp.ClientSession | None = None
        self._token = ""
        self._entry = asyncio.Lock()
        self._refused: tuple[float, float, str] | None = None
        """Until when, for how long, and why no login is tried."""

    @property
    def health(self) -> Health:
        """Whether it answers."""
        return self._breaker.health

    async def close(self) -> None:
        """Log out and close all connections."""
        try:
            if self._token:
                await self._send("DELETE", paths.SESSION, {}, None, what="log out", deadline=10.0)
        except ContrailVsphereError as error:
            _LOG.debug("log out of %s: %s", self.endpoint.name, error)
        finally:
            self._token = ""
            if self._http is not None:
                await self._http.close()
                self._http = None

    # -- calling ------------------------------------------------------------------------------------------------

    async def get(self, kind: type[T], path: str, *, what: str) -> T:
        """A value; ``what`` names the call in errors and counts."""
        return codec.decode(kind, await self.call("GET", path, what=what))

    async def call(
        self, method: str, path: str, *, what: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a good answer. Raises errors of ``model.errors``."""
        for last in (False, True):
            token = await self._ensure()
            try:
                return await self._send(method, path, query or {}, body, what=what, token=token)
            except NotAuthenticated:
                if token == self._token:
                    self._token = ""
                if last:
                    raise
        raise AssertionError("unreachable")

    async def start(
        self, method: str, path: str, *, what: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> str:
        """Begin an operation that is a task; its id."""
        answer = await self.call(
            method, path, what=what, body=body, query={**(query or {}), paths.TASK_PARAMETER: "true"}
        )
        return codec.decode(str, answer)

    async def result(self, task: str, *, what: str, deadline: float) -> Any:
        """What a task came to: its result in Python's own objects, or its error as one of ours.

        Busy when it goes on after ``deadline`` seconds.
        """
        loop = asyncio.get_running_loop()
        end, looks = loop.time() + deadline, 0
        while True:
            info = await self.get(TaskInfo, paths.task(task), what="task")
            if info.status is TaskStatus.SUCCEEDED:
                return info.result
            if info.status is TaskStatus.FAILED:
                raise _refusal(codec.convert(ApiError, info.error), what=what)
            pause = PAUSES[min(looks, len(PAUSES) - 1)]
            if loop.time() + pause > end:
                raise Busy(f"{what} goes on after {deadline:g} s", hint="it is looked at again")
            looks += 1
            await asyncio.sleep(pause)

    async def run(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> Any:
        """Start a task and wait for what it comes to."""
        return await self.result(
            await self.start(method, path, what=what, body=body, query=query), what=what, deadline=deadline
        )

    # -- inside -------------------------------------------------------------------------------------------------

    async def _ensure(self) -> str:
        if self._token:
            return self._token
        async with self._entry:
            if not self._token:
                await self._log_in()
            return self._token

    async def _log_in(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._refused is not None and now < self._refused[0]:
            raise AuthenticationFailed(
                f"{self._refused[2]}; not tried again for {self._refused[0] - now:.0f} s",
                hint="repeated wrong logins lock the account",
            )
        user = self._login.username
        try:
            answer = await self._send("POST", paths.SESSION, {}, None, what="log in")
        except NotAuthenticated as error:
            pause = min(2 * self._refused[1], 900.0) if self._refused is not None else LOCKED_OUT
            told = f"vCenter's REST API does not let {user} in"
            self._refused = (now + pause, pause, told)
            raise AuthenticationFailed(told, hint="check the account's name and password in the settings") from error
        self._refused = None
        self._token = codec.decode(str, answer)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        *,
        what: str,
        token: str = "",
        deadline: float = DEADLINE,
    ) -> bytes:
        """One exchange, under the breaker and the deadline; without a token it presents the password."""
        self.calls[what] += 1
        name = self.endpoint.name
        self._breaker.admit(name)
        headers = {"Content-Type": "application/json"}
        present = token or self._token
        if present:
            headers[paths.SESSION_HEADER] = present
        else:
            headers["Authorization"] = aiohttp.encode_basic_auth(self._login.username, self._login.reveal())
        try:
            async with (
                asyncio.timeout(deadline),
                self._session().request(
                    method,
                    self._base + path,
                    params=query,
                    data=codec.encode(body) if body is not None else None,
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                data = await _read(response)
        except (ContrailVsphereError, aiohttp.ClientError, OSError, TimeoutError) as error:
            translated = connection_error(error, name=name, what=what, deadline=deadline)
            if isinstance(translated, Unreachable | Untrusted):
                self._breaker.failed(translated.message)
            raise translated from error
        self._breaker.succeeded()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _answered(response.status, data, what=what)
        return data

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(
                ssl=self.endpoint.context(), limit=16, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=60
            )
            self._http = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE),
                headers={"User-Agent": "contrail-vsphere"},
            )
        return self._http


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, up to what is believable."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > LARGEST_ANSWER:
            raise ProtocolError(f"the answer of {response.url.path} has no end")
    return bytes(data)


def _answered(status: int, data: bytes, *, what: str) -> ContrailVsphereError:
    try:
        return _refusal(codec.decode(ApiError, data), what=what)
    except ProtocolError:
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
            return NotReadyYet(f"{what}: vCenter's REST API answers {status}", hint="it is not up yet")
        if status == HTTPStatus.UNAUTHORIZED:
            return NotAuthenticated(f"{what}: {status}")
        if status == HTTPStatus.NOT_FOUND:
            return NotFound(f"{what}: this vCenter does not have that API")
        return ProtocolError(f"{what}: vCenter's REST API answers {status} without saying why")


def _refusal(error: ApiError, *, what: str) -> ContrailVsphereError:
    kind, hint = ERRORS.get(error.error_type, (RefusedError, ""))
    told = "; ".join(each.default_message.rstrip(".") for each in error.messages) or error.error_type
    return kind(f"{what}: {told}", hint=hint)
