"""Sessions: how clients get in, stay in and are thrown out."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.calls import Call, Unavailable, current_call
from contrail_vsphere.simulator.core.entity import Entity, managed_property, operation
from contrail_vsphere.simulator.core.session import Session, session_of
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.authorization import Accounts
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.service_switches import Switches
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl
from contrail_vsphere.wire.soap.values import build

LOCALES = ("en", "en_US")


@dataclass(slots=True, eq=False, kw_only=True)
class SessionManager(Entity):
    """All sessions, by the key in their cookie."""

    wsdl: ClassVar[str] = "SessionManager"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"message": ("message",)}
    volatile: ClassVar[frozenset[str]] = frozenset({"sessionList", "currentSession"})

    sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    tickets: dict[str, Session] = field(default_factory=dict, repr=False)
    message: str = ""

    # -- for the server -----------------------------------------------------------------------------------------

    def resume(self, key: str) -> Session | None:
        """The live session of that cookie, marked active; None when it is unknown, ended or was idle too long."""
        session = self.sessions.get(key)
        if session is None:
            return None
        now = self.world.clock.now()
        if self._idle_too_long(session):
            self._end(session)
            return None
        session.last_active = now
        session.calls += 1
        return session

    def expire_all(self) -> int:
        """End every session at once, as a restart of the service does; returns how many there were."""
        live = list(self.sessions.values())
        for session in live:
            self._end(session)
        return len(live)

    def _idle_too_long(self, session: Session) -> bool:
        idle = timedelta(seconds=self.world.service(Timing).session_idle)
        return session.open_calls == 0 and self.world.clock.now() - session.last_active > idle

    def _sweep(self) -> None:
        for session in list(self.sessions.values()):
            if self._idle_too_long(session):
                self._end(session)

    def _open(self, call: Call, *, user: str, full_name: str, extension: bool, locale: str | None) -> Any:
        if locale is not None and locale not in LOCALES:
            raise SoapFault(vim.fault.InvalidLocale(), "The locale is not supported.")
        self._sweep()
        most = Switches.of(self.world).most_sessions
        if most and len(self.sessions) >= most:
            raise Unavailable("The maximum number of sessions has been reached.")
        now = self.world.clock.now()
        session = Session(
            key=str(uuid.uuid4()),
            user=user,
            full_name=full_name,
            extension=extension,
            login_time=now,
            last_active=now,
            locale=locale or "en_US",
            address=call.address,
            agent=call.agent,
            calls=1,
        )
        self.sessions[session.key] = session
        call.opened = session
        with self.world.commit(user) as tx:
            tx.touch(self, "sessionList")
            tx.event(
                build(
                    vim.event.UserLoginSessionEvent,
                    ipAddress=call.address,
                    userAgent=call.agent,
                    locale=session.locale,
                    sessionId=_shown(session),
                    fullFormattedMessage=f"User {user}@{call.address} logged in as {call.agent}",
                )
            )
        return self._describe(session)

    def _end(self, session: Session, *, event: Any = None) -> None:
        if session.over:
            return
        self.sessions.pop(session.key, None)
        session.end()
        with self.world.commit(session.user) as tx:
            tx.touch(self, "sessionList")
            if event is not None:
                tx.event(event)

    def _describe(self, session: Session) -> Any:
        return build(
            vim.UserSession,
            key=session.key,
            userName=session.user,
            fullName=session.full_name,
            loginTime=session.login_time,
            lastActiveTime=session.last_active,
            locale=session.locale,
            messageLocale="en",
            extensionSession=session.extension,
            ipAddress=session.address,
            userAgent=session.agent,
            callCount=session.calls,
        )

    def _refuse(self, call: Call, user: str) -> SoapFault:
        with self.world.commit(user) as tx:
            tx.event(
                build(
                    vim.event.BadUsernameSessionEvent,
                    ipAddress=call.address,
                    userName=user,
                    fullFormattedMessage=f"Cannot login {user}@{call.address}",
                )
            )
        return SoapFault(vim.fault.InvalidLogin(), "Cannot complete login due to an incorrect user name or password.")

    # -- API ----------------------------------------------------------------------------------------------------

    @managed_property("sessionList")
    def session_list(self) -> list[Any]:
        """All live sessions."""
        return [self._describe(session) for session in self.sessions.values() if not self._idle_too_long(session)]

    @managed_property("currentSession")
    def current_session(self) -> Any:
        """Of whoever asks; unset before login."""
        call = current_call.get()
        return self._describe(call.session) if call is not None and call.session is not None else None

    @managed_property("message")
    def _message(self) -> str:
        return self.message

    @managed_property("messageLocaleList")
    def message_locale_list(self) -> list[str]:
        return ["en"]

    @managed_property("supportedLocaleList")
    def supported_locale_list(self) -> list[str]:
        return list(LOCALES)

    @managed_property("defaultLocale")
    def default_locale(self) -> str:
        return "en"

    @operation("Login")
    def login(self, call: Call, userName: str, password: str, locale: str | None = None) -> Any:
        """Open a session with a name and password."""
        account = call.world.service(Accounts).find(userName)
        known = account.password if account is not None else secrets.token_hex()
        if not hmac.compare_digest(known.encode(), (password or "").encode()) or account is None:
            raise self._refuse(call, userName)
        return self._open(call, user=account.name, full_name=account.full_name, extension=False, locale=locale)

    @operation("LoginExtensionByCertificate")
    def login_extension(self, call: Call, extensionKey: str, locale: str | None = None) -> Any:
        """Open a session as an extension: the TLS client certificate must equal the registered one."""
        if not call.certificate:
            raise SoapFault(vim.fault.NoClientCertificate(), "The client did not present a certificate.")
        extensions: ExtensionManager = call.world.service(ExtensionManager)
        registered = extensions.certificates.get(extensionKey, b"")
        if not registered or not hmac.compare_digest(registered, call.certificate):
            raise self._refuse(call, extensionKey)
        return self._open(call, user=extensionKey, full_name=extensionKey, extension=True, locale=locale)

    @operation("Logout")
    def logout(self, call: Call) -> None:
        """End the caller's session."""
        session = session_of(call)
        event = build(
            vim.event.UserLogoutSessionEvent,
            ipAddress=call.address,
            userAgent=call.agent,
            callCount=session.calls,
            sessionId=_shown(session),
            loginTime=session.login_time,
            fullFormattedMessage=f"User {session.user}@{call.address} logged out",
        )
        self._end(session, event=event)

    @operation("TerminateSession")
    def terminate(self, call: Call, sessionId: list[str]) -> None:
        """End other sessions; the caller's own is refused."""
        found = [self.sessions.get(key) for key in sessionId]
        if any(session is call.session for session in found):
            raise SoapFault(vmodl.fault.InvalidArgument(invalidProperty="sessionId"), "Use Logout for this session.")
        if any(session is None for session in found):
            raise SoapFault(vim.fault.NotFound(), "The session does not exist.")
        for session in found:
            if session is not None:
                event = build(
                    vim.event.SessionTerminatedEvent,
                    sessionId=_shown(session),
                    terminatedUsername=session.user,
                    fullFormattedMessage=f"A session of user {session.user} was terminated",
                )
                self._end(session, event=event)

    @operation("SessionIsActive")
    def session_is_active(self, call: Call, sessionID: str, userName: str) -> bool:
        """Whether that session exists and belongs to that user."""
        session = self.sessions.get(sessionID)
        return session is not None and session.user == userName and not self._idle_too_long(session)

    @operation("AcquireCloneTicket")
    def acquire_clone_ticket(self, call: Call) -> str:
        """A ticket for one CloneSession by somebody else."""
        ticket = f"cst-VCT-{uuid.uuid4()}"
        self.tickets[ticket] = session_of(call)
        return ticket

    @operation("CloneSession")
    def clone_session(self, call: Call, cloneTicket: str) -> Any:
        """Open a session of the same user as the one that gave the ticket."""
        giver = self.tickets.pop(cloneTicket, None)
        if giver is None or giver.over:
            raise SoapFault(vim.fault.InvalidLogin(), "The ticket is not valid.")
        return self._open(
            call, user=giver.user, full_name=giver.full_name, extension=giver.extension, locale=giver.locale
        )

    @operation("SetLocale")
    def set_locale(self, call: Call, locale: str) -> None:
        """Texts are English in every locale."""
        if locale not in LOCALES:
            raise SoapFault(vim.fault.InvalidLocale(), "The locale is not supported.")
        session_of(call).locale = locale

    @operation("UpdateServiceMessage")
    def update_message(self, call: Call, message: str) -> None:
        """The message of the day."""
        with self.world.commit(call.user) as tx:
            tx.set(self, message=message)


def _shown(session: Session) -> str:
    """What events may say of a session: enough to tell two apart, nothing to resume one with."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, session.key))
