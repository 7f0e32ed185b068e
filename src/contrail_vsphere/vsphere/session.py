"""One login to one vCenter, kept alive by logging in again whenever the server has forgotten it.

However many calls find the session gone, one login is made and all of them wait for it. A login that was refused is not
repeated for a while: vCenter locks accounts after a few wrong passwords.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from contrail_vsphere.model.errors import (
    AuthenticationFailed,
    ContrailVsphereError,
    NotAuthenticated,
    NotReadyYet,
    ProtocolError,
    Unreachable,
)
from contrail_vsphere.vsphere import tunnel
from contrail_vsphere.vsphere.endpoint import Credentials, ExtensionLogin, TicketLogin
from contrail_vsphere.vsphere.errors import translate
from contrail_vsphere.vsphere.transport import COOKIE, Sink, SoapTransport
from contrail_vsphere.wire.soap.decode import EachDecoder, ResponseDecoder
from contrail_vsphere.wire.soap.encode import encode_request
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import Method, fetch_method, method_of
from contrail_vsphere.wire.soap.types import vim, wsdl_name
from contrail_vsphere.wire.soap.versions import EAM, VERSIONS, VIM, eam_version_for, newest_common, parse_versions

log = logging.getLogger(__name__)
T = TypeVar("T")

SERVICE = vim.ServiceInstance("ServiceInstance")
DEADLINE = 60.0
"""Seconds an ordinary call may take."""
LOGIN_DEADLINE = 30.0
LOCKED_OUT = 30.0
"""Seconds after a refused login in which no other is tried; doubles up to 15 minutes."""
PATHS = {VIM: "/sdk", EAM: "/eam/sdk"}
cause: ContextVar[str] = ContextVar("cause", default="")
"""Who asked for the calls that follow, such as a request id: begins their operation ids, which vCenter logs."""


class Session:
    """Calls under one login. ``epoch`` grows with every new login: what lived in the old session is then gone."""

    def __init__(self, transport: SoapTransport, credentials: Credentials) -> None:
        self.transport = transport
        self.credentials = credentials
        self.epoch = 0
        self.content: Any = None
        """ServiceContent of the present login."""
        self.versions: dict[str, str] = {}
        """Namespace -> version spoken."""
        self.calls: Counter[str] = Counter()
        self._cookie = ""
        self._login: asyncio.Task[None] | None = None
        self._closed = False
        self._refused: tuple[float, float, str] | None = None
        """Until when, for how long, and why no login is tried."""
        self._operations = (f"cv-{secrets.token_hex(4)}-{number:x}" for number in itertools.count(1))

    async def ensure(self) -> None:
        """Log in unless that was done."""
        if not self._cookie:
            await self.renew(self.epoch)

    async def renew(self, seen: int) -> None:
        """Log in again unless somebody did so after the caller had seen that epoch."""
        if self.epoch != seen and self._cookie:
            return
        if self._closed:
            raise Unreachable(f"the session with {self.transport.endpoint.name} was closed")
        if self._login is None:
            self._login = asyncio.create_task(self._log_in(), name=f"login {self.transport.endpoint.name}")
            self._login.add_done_callback(self._login_ended)
        # The login serves everyone who waits: one of them being cancelled must not end it.
        await asyncio.shield(self._login)

    async def invoke(
        self,
        this: Any,
        method: Method,
        args: Mapping[str, Any],
        *,
        deadline: float = DEADLINE,
        sink: Sink | None = None,
    ) -> Any:
        """Call a method, logging in (again) when needed. Raises SoapFault as it came, and transport errors."""
        await self.ensure()
        seen = self.epoch
        try:
            return await self._spoken(this, method, args, deadline=deadline, sink=sink)
        except SoapFault as fault:
            if not isinstance(translate(fault), NotAuthenticated):
                raise
            if method.namespace == EAM and self.epoch == seen and await self._alive():
                raise NotReadyYet(
                    "EAM does not accept a session that vCenter does",
                    hint="EAM has lost vCenter; if this stays, restart its service",
                ) from fault
        log.info("%s has forgotten the session; logging in again", self.transport.endpoint.name)
        await self.renew(seen)
        return await self._spoken(this, method, args, deadline=deadline, sink=sink)

    async def call(self, this: Any, name: str, /, *, deadline: float = DEADLINE, **args: Any) -> Any:
        """Call by the method's name; faults come as errors of ``model.errors``."""
        return await self._called(this, method_of(this, name), args, deadline=deadline, sink=None)

    async def call_each(
        self, this: Any, name: str, each: Callable[[Any], T], /, *, deadline: float = DEADLINE, **args: Any
    ) -> list[T]:
        """A call whose answer is an array: what ``each`` makes of every element, made while the answer arrives."""
        method = method_of(this, name)
        found = await self._called(this, method, args, deadline=deadline, sink=EachDecoder(method, each))
        return cast("list[T]", found or [])

    async def _called(
        self, this: Any, method: Method, args: Mapping[str, Any], *, deadline: float, sink: Sink | None
    ) -> Any:
        try:
            return await self.invoke(this, method, args, deadline=deadline, sink=sink)
        except SoapFault as fault:
            raise translate(fault, what=f"{method.name} of {wsdl_name(this)} {this._moId}") from fault

    async def close(self) -> None:
        """Log out, if there is anybody to hear it; who still calls is refused and opens no connection anew."""
        self._closed = True
        if self._login is not None:
            self._login.cancel()
            await asyncio.gather(self._login, return_exceptions=True)
        if self._cookie and self.content is not None:
            cookie = self._cookie
            self._cookie = ""
            try:
                await self._send(self.content.sessionManager, "Logout", {}, cookie=cookie, deadline=5.0)
            except (SoapFault, ContrailVsphereError) as error:
                log.debug("logout from %s: %s", self.transport.endpoint.name, error)

    async def _spoken(
        self, this: Any, method: Method, args: Mapping[str, Any], *, deadline: float, sink: Sink | None
    ) -> Any:
        """In an older version where EAM refuses the one we expect of its release: it publishes none."""
        while True:
            try:
                return await self._invoke(this, method, args, deadline=deadline, sink=sink)
            except SoapFault as fault:
                refused = method.namespace == EAM and fault.kind == "InvalidRequest" and "version" in fault.message
                older = VERSIONS[EAM].prior(self.versions[EAM]) if refused else ()
                if not older:
                    raise
                self.versions[EAM] = VERSIONS[EAM].by_id[older[0]]
                log.info("EAM of %s speaks an older version; trying %s", self.transport.endpoint.name, older[0])

    async def _invoke(
        self, this: Any, method: Method, args: Mapping[str, Any], *, deadline: float, sink: Sink | None
    ) -> Any:
        version = self.versions[method.namespace]
        operation, epoch = next(self._operations), self.epoch
        if cause.get():
            operation = f"{cause.get()}-{operation}"
        self.calls[method.name] += 1
        body = encode_request(method, this, args, version=version, operation_id=operation)
        log.debug("%s %s %s", operation, method.name, this._moId)
        result, cookie = await self.transport.post(
            PATHS[method.namespace],
            body,
            method=method,
            version=version,
            cookie=self._cookie,
            deadline=deadline,
            sink=sink,
        )
        if cookie and epoch == self.epoch:
            self._cookie = cookie
        return result

    async def _alive(self) -> bool:
        """Whether vCenter itself still knows the session: a new login would not help EAM then."""
        manager: Any = self.content.sessionManager
        method = fetch_method(vim.SessionManager, "currentSession")
        try:
            current = await self._invoke(manager, method, {"prop": "currentSession"}, deadline=DEADLINE, sink=None)
        except SoapFault:
            return False
        return current is not None

    # -- logging in ---------------------------------------------------------------------------------------------

    def _login_ended(self, task: asyncio.Task[None]) -> None:
        self._login = None
        if not task.cancelled():
            task.exception()  # whoever waits gets it; with nobody waiting it must not be reported as lost

    async def _log_in(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._refused is not None and now < self._refused[0]:
            raise AuthenticationFailed(
                f"{self._refused[2].rstrip('.')}; not tried again for {self._refused[0] - now:.0f} s",
                hint="repeated wrong logins lock the account",
            )
        try:
            await self._negotiate()
        except AuthenticationFailed as error:
            pause = min(2 * self._refused[1], 900.0) if self._refused is not None else LOCKED_OUT
            self._refused = (now + pause, pause, error.message)
            raise
        self._refused = None
        self.epoch += 1

    async def _negotiate(self) -> None:
        """Agree on a version, read what the service has, and log in."""
        offered = parse_versions(await self.transport.get("/sdk/vimServiceVersions.xml", deadline=LOGIN_DEADLINE))
        self.versions = {VIM: newest_common(offered.get(VIM, ()))}
        self._cookie = ""
        try:
            content, cookie = await self._send(SERVICE, "RetrieveServiceContent", {}, cookie="")
            self.versions[EAM] = eam_version_for(content.about.apiVersion)
            if isinstance(self.credentials, ExtensionLogin):
                cookie = await self._by_certificate(content, self.credentials)
            elif isinstance(self.credentials, TicketLogin):
                clone = {"cloneTicket": (await self.credentials.ticket()).reveal()}
                _, changed = await self._send(content.sessionManager, "CloneSession", clone, cookie=cookie)
                cookie = changed or cookie
            else:
                login = {"userName": self.credentials.username, "password": self.credentials.reveal()}
                _, changed = await self._send(content.sessionManager, "Login", login, cookie=cookie)
                cookie = changed or cookie
        except SoapFault as fault:
            raise translate(fault, what=f"login to {self.transport.endpoint.name} as {self._who()}") from fault
        if not cookie:
            raise ProtocolError(f"{self.transport.endpoint.name} gave no session cookie")
        self.content, self._cookie = content, cookie

    async def _by_certificate(self, content: Any, login: ExtensionLogin) -> str:
        method = method_of(vim.SessionManager, "LoginExtensionByCertificate")
        version = self.versions[VIM]
        self.calls[method.name] += 1
        body = encode_request(
            method,
            content.sessionManager,
            {"extensionKey": login.key},
            version=version,
            operation_id=next(self._operations),
        )
        answer, cookie = await tunnel.exchange(
            self.transport.endpoint,
            login.identity,
            body,
            version=version,
            cookie_name=COOKIE,
            deadline=LOGIN_DEADLINE,
        )
        decoder = ResponseDecoder(method)
        decoder.feed(answer)
        decoder.close()
        return cookie

    async def _send(
        self, this: Any, name: str, args: Mapping[str, Any], *, cookie: str, deadline: float = LOGIN_DEADLINE
    ) -> tuple[Any, str]:
        """One call outside of any session keeping."""
        method = method_of(this, name)
        version = self.versions[VIM]
        self.calls[method.name] += 1
        body = encode_request(method, this, args, version=version, operation_id=next(self._operations))
        return await self.transport.post(
            PATHS[VIM], body, method=method, version=version, cookie=cookie, deadline=deadline
        )

    def _who(self) -> str:
        match self.credentials:
            case ExtensionLogin(key=key):
                return f"extension {key}"
            case TicketLogin(name=name):
                return f"the guest of {name}"
            case login:
                return login.username
