"""What happens to one request of the simulated vCenter, whatever HTTP brought it.

It decodes a request, finds session, object and operation, checks the privilege, asks the fault book, runs the operation
and encodes what it returns or raises. Whatever goes wrong, a client gets a typed fault or a closed connection, never a
stack trace; what is our own defect is logged and kept in ``world.defects``.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from pyVmomi import VmomiSupport

from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.simulator.core.calls import Call, Unavailable, current_call
from contrail_vsphere.simulator.core.entity import Entity, Operation
from contrail_vsphere.simulator.core.faults import Effect, FaultBook
from contrail_vsphere.simulator.core.world import World
from contrail_vsphere.simulator.eam.sessions import EamDoor
from contrail_vsphere.simulator.profile import Release
from contrail_vsphere.simulator.vcenter import authorization
from contrail_vsphere.simulator.vcenter.fragments import read
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.simulator.vcenter.session_manager import SessionManager
from contrail_vsphere.wire.soap.decode import Request
from contrail_vsphere.wire.soap.encode import encode_fault, encode_response
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.metadata import EAM, VIM, method_of
from contrail_vsphere.wire.soap.shapes import ManagedObject
from contrail_vsphere.wire.soap.types import eam, managed_class, vmodl
from contrail_vsphere.wire.soap.values import build
from contrail_vsphere.wire.soap.versions import render_versions, version_of

log = logging.getLogger(__name__)

COOKIE = "vmware_soap_session"
VERSIONS = "/sdk/vimServiceVersions.xml"
"""The document by which a client chooses the version that it speaks."""
XML = "text/xml; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
WORTH_PACKING = 1024
"""Bytes of an answer below which it is not compressed."""
PUBLIC_PROPERTIES = frozenset({("ServiceInstance", "content"), ("SessionManager", "currentSession")})
"""Read by clients before they log in."""
WAITING = frozenset({"WaitForUpdatesEx", "WaitForUpdates"})
"""May be abandoned when the client goes away; anything else that was begun is finished."""


class _Dropped(Exception):  # noqa: N818 not an error, a way out
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What HTTP and TLS say of a request."""

    endpoint: str
    action: str = ""
    """The SOAPAction header."""
    cookie: str = field(default="", repr=False)
    """The Cookie header."""
    agent: str = ""
    accepts_gzip: bool = False
    authority: str = ""
    """The Host header."""
    address: str = ""
    certificate: bytes = field(default=b"", repr=False)
    """DER of the client's certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What HTTP is to send back."""

    status: int = 200
    body: bytes = b""
    content_type: str = XML
    gzip: bool = False
    """The body is compressed."""
    session: str = field(default="", repr=False)
    """Key of a session that was opened: its cookie goes out."""
    close: bool = False
    """The connection ends after this answer."""
    cut: int = -1
    """The connection breaks after so many bytes of the body; -1 never."""
    dropped: bool = False
    """The connection breaks instead of an answer."""


DROPPED = Answer(status=500, dropped=True)


@dataclass(slots=True)
class Dispatcher:
    """Answers requests to ``/sdk`` and ``/eam/sdk``."""

    world: World
    release: Release
    calls: Counter[str] = field(default_factory=Counter)
    """Wire name of the method -> how often it was called."""
    thumbprint: str = ""
    """Of the certificate on the ordinary port."""
    background: set[asyncio.Task[Any]] = field(default_factory=set)
    """Operations under way whose client may have gone."""
    _speakable: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        newest = self.release.newest
        self._speakable = frozenset(VmomiSupport.parentMap[newest]) | {newest}

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self.background):
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)

    def versions(self) -> Answer:
        """The versions document."""
        return Answer(body=render_versions(self.release.newest), content_type="text/xml")

    def malformed(self, caller: Caller, error: ProtocolError) -> Answer:
        """The answer to what is no SOAP request."""
        text = f"Unable to parse the request: {error}"
        return self._fault(SoapFault(vmodl.fault.InvalidRequest(), text), self._version(caller), VIM, close=True)

    async def answer(self, caller: Caller, decoded: Request) -> Answer:
        """Do what a request asks for. Only cancellation comes out of it as an exception."""
        answer = self.begin(caller, decoded)
        return answer if isinstance(answer, Answer) else await answer

    def begin(self, caller: Caller, decoded: Request) -> Answer | Coroutine[Any, Any, Answer]:
        """The answer where it can be had at once, as most can; otherwise what is left to do, to be awaited."""
        call = self._call(caller, decoded)
        self.calls[decoded.name] += 1
        try:
            if decoded.namespace == EAM and EamDoor.of(self.world).refuses(caller.action):
                raise _unsupported(caller.action)
            entity, run = self._find(call, decoded)
            effect = self._injected(call, entity)
            if effect is not None or call.method in WAITING:
                return self._wait(call, decoded, run, effect)
            result = self._start(call, run)
            if asyncio.isfuture(result):
                return self._wait(call, decoded, lambda: result, None)
            return self._success(call, decoded, result)
        except Exception as error:  # noqa: BLE001 the client must get an answer, whatever it was
            return self._failure(call, decoded, error)

    def packed(self, caller: Caller, answer: Answer) -> Answer:
        """The answer as it goes out: compressed where that is switched on, accepted and worth it."""
        if not caller.accepts_gzip or len(answer.body) < WORTH_PACKING or not Switches.of(self.world).gzip:
            return answer
        return replace(answer, body=gzip.compress(answer.body, compresslevel=1, mtime=0), gzip=True)

    def _version(self, caller: Caller) -> str:
        """What the client asks for, but nothing newer than the release that is simulated."""
        if caller.endpoint.startswith("/eam"):
            return EamDoor.of(self.world).spoken(version_of(caller.action, EAM))
        asked = version_of(caller.action, VIM)
        return asked if asked in self._speakable else self.release.newest

    def _call(self, caller: Caller, decoded: Request) -> Call:
        session = self.world.service(SessionManager).resume(session_key(caller.cookie))
        return Call(
            world=self.world,
            session=session,
            user=session.user if session is not None else "",
            version=self._version(caller),
            endpoint=caller.endpoint,
            certificate=caller.certificate,
            address=caller.address,
            authority=caller.authority,
            thumbprint=self.thumbprint,
            agent=caller.agent,
            operation_id=decoded.operation_id,
            method=decoded.name,
            args=decoded.args,
        )

    # -- one call -----------------------------------------------------------------------------------------------

    async def _wait(self, call: Call, decoded: Request, run: Callable[[], Any], effect: Effect | None) -> Answer:
        """A call that takes time; its session is not idle meanwhile."""
        session = call.session
        if session is not None:
            session.open_calls += 1
        try:
            disturbed = await self._disturb(effect) if effect is not None else None
            if disturbed is not None:
                return disturbed
            answer = self._success(call, decoded, await self._finish(call, run))
        except Exception as error:  # noqa: BLE001 as in begin
            return self._failure(call, decoded, error)
        finally:
            if session is not None:
                session.open_calls -= 1
                session.last_active = self.world.clock.now()
        if effect is not None and effect.rule.drop_reply:
            return DROPPED
        return replace(answer, cut=effect.rule.truncate) if effect is not None else answer

    def _success(self, call: Call, decoded: Request, result: Any) -> Answer:
        if decoded.method is None:
            raise _no_such_method(decoded)
        body = encode_response(decoded.method, result, version=call.version)
        return Answer(body=body, session=call.opened.key if call.opened is not None else "")

    def _failure(self, call: Call, decoded: Request, error: Exception) -> Answer:
        if isinstance(error, SoapFault):
            return self._fault(error, call.version, decoded.namespace)
        if isinstance(error, _Dropped):
            return DROPPED
        if isinstance(error, Unavailable):
            return Answer(status=503, body=str(error).encode(), content_type=PLAIN)
        log.error("%s failed inside the simulator", decoded.name, exc_info=error)
        self.world.defects.append(error)
        return self._fault(_system_error(), call.version, VIM)

    def _find(self, call: Call, decoded: Request) -> tuple[Entity | None, Callable[[], Any]]:
        """The object and what to do with it; every reason why not is a typed fault, in vCenter's order."""
        if decoded.namespace == EAM and call.session is None:
            EamDoor.of(self.world).refused(call)
            raise SoapFault(build(eam.fault.InvalidLogin), "Invalid login")
        found = self._entity(call, decoded)
        if decoded.name == "Fetch":
            return found, lambda: self._fetch(call, decoded, found)
        operation = found.operations.get(decoded.name) if found is not None else None
        if decoded.method is None or (decoded.namespace == EAM and not EamDoor.of(self.world).has(decoded.method)):
            self._check(call, authorization.VIEW, found)
            raise _no_such_method(decoded)
        privilege = self._privilege(operation, decoded, found)
        if found is None and privilege != authorization.ANONYMOUS:
            privilege = authorization.VIEW  # that an object is gone is said before what is missing to use it
        try:
            self._check(call, privilege, found)
        except SoapFault:
            if decoded.namespace == EAM:
                EamDoor.of(self.world).unauthorized(call)
            raise
        if found is None:
            raise _gone(decoded)
        if operation is None:
            raise self._unserved(found, decoded)
        missing = decoded.missing
        if missing:
            raise SoapFault(
                vmodl.fault.InvalidArgument(invalidProperty=missing[0]), f"Required parameter {missing[0]} is missing"
            )
        return found, lambda: operation.function(found, call, **decoded.args)

    def _entity(self, call: Call, decoded: Request) -> Entity | None:
        """The object of a call; an id with a type that the API does not have is nobody's."""
        if (
            decoded.this_type != "ManagedObject"
            and managed_class(decoded.this_type, decoded.namespace) is ManagedObject
        ):
            return None
        session = call.session
        found: Entity | None = session.objects.get(decoded.this_id) if session is not None else None
        found = found or self.world.get(decoded.this_id)
        return found if found is not None and found.namespace == decoded.namespace else None

    def _check(self, call: Call, privilege: str, entity: Entity | None) -> None:
        authorization.check(call, privilege, entity)

    @staticmethod
    def _privilege(operation: Operation | None, decoded: Request, found: Entity | None) -> str:
        by_type = authorization.BY_TYPE.get(decoded.name, {}).get(found.wsdl if found is not None else "")
        if by_type is not None:
            return by_type
        if operation is not None and operation.privilege:
            return operation.privilege
        return str(getattr(decoded.method.info, "privId", None) or authorization.VIEW) if decoded.method else ""

    @staticmethod
    def _unserved(entity: Entity, decoded: Request) -> SoapFault:
        """A method that the object's type has and we do not serve, or one that it does not have at all."""
        try:
            method_of(entity.ref, decoded.name)
        except KeyError:
            return SoapFault(
                vmodl.fault.MethodNotFound(receiver=entity.ref, method=decoded.name),
                f"{entity.wsdl} has no method {decoded.name}",
            )
        return SoapFault(vmodl.fault.NotSupported(), f"{entity.wsdl}.{decoded.name} is not simulated.")

    def _fetch(self, call: Call, decoded: Request, found: Entity | None) -> Any:
        path = str(decoded.args.get("prop", ""))
        public = found is not None and (found.wsdl, path) in PUBLIC_PROPERTIES
        self._check(call, authorization.ANONYMOUS if public else authorization.VIEW, found)
        if found is None:
            raise _gone(decoded)
        if decoded.method is None:
            raise SoapFault(vmodl.query.InvalidProperty(name=path), f"{found.wsdl} has no property {path}")
        return read(found, path)

    def _start(self, call: Call, run: Callable[[], Any]) -> Any:
        """Run an operation. One that takes time goes on by itself, whether its client stays or not."""
        token = current_call.set(call)
        try:
            result = run()
            if not asyncio.iscoroutine(result) or call.method in WAITING:
                return result
            task = asyncio.ensure_future(result)
        finally:
            current_call.reset(token)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task

    async def _finish(self, call: Call, run: Callable[[], Any]) -> Any:
        """The result of an operation; one that waits for nothing but the client ends with it."""
        result = self._start(call, run)
        if asyncio.isfuture(result):
            return await asyncio.shield(result)
        if not asyncio.iscoroutine(result):
            return result
        token = current_call.set(call)
        try:
            return await result
        finally:
            current_call.reset(token)

    def _fault(self, error: SoapFault, version: str, namespace: str, *, close: bool = False) -> Answer:
        try:
            body = encode_fault(error, version=version, namespace=namespace)
        except TypeError as defect:  # the fault lacks a field that the API requires
            log.exception("%s cannot be sent", error.kind)
            self.world.defects.append(defect)
            body = encode_fault(_system_error(), version=version, namespace=namespace)
        return Answer(status=500, body=body, close=close)

    # -- injected faults ----------------------------------------------------------------------------------------

    def _injected(self, call: Call, entity: Entity | None) -> Effect | None:
        book: FaultBook = self.world.service(FaultBook)
        return book.check(method=call.method, entity=entity, user=call.user, args=call.args)

    async def _disturb(self, effect: Effect) -> Answer | None:
        rule = effect.rule
        if rule.delay:
            await self.world.clock.sleep(rule.delay)
        if rule.drop:
            raise _Dropped
        if rule.http_status:
            return Answer(status=rule.http_status, body=rule.message.encode(), content_type=PLAIN)
        exception = effect.exception()
        if exception is not None:
            raise exception
        return None


def session_key(cookie: str) -> str:
    """The session's key in a Cookie header; clients send it quoted or not. Empty when it is not there."""
    for part in cookie.split(";"):
        name, _, value = part.partition("=")
        if name.strip() == COOKIE:
            return value.strip().strip('"')
    return ""


def _system_error() -> SoapFault:
    return SoapFault(vmodl.fault.SystemError(reason=""), "A general system error occurred.")


def _receiver(decoded: Request) -> Any:
    """The reference that a call was made on, whether the object exists or not."""
    return managed_class(decoded.this_type, decoded.namespace)(decoded.this_id)


def _gone(decoded: Request) -> SoapFault:
    return SoapFault(
        vmodl.fault.ManagedObjectNotFound(obj=_receiver(decoded)),
        f"The object '{decoded.this_type}:{decoded.this_id}' has already been deleted or was not completely created",
    )


def _unsupported(action: str) -> SoapFault:
    version = action.strip().strip('"')
    return SoapFault(vmodl.fault.InvalidRequest(), f'Unsupported version URI "{version}"')


def _no_such_method(decoded: Request) -> SoapFault:
    return SoapFault(
        vmodl.fault.MethodNotFound(receiver=_receiver(decoded), method=decoded.name),
        f"Unable to resolve WSDL method name {decoded.name} in {decoded.namespace}",
    )
