"""A ZooKeeper session for asyncio: kazoo's threads stay behind this door, and its errors become ours.

Requests are sent by kazoo's own thread and their results handed to the loop; nothing blocks it. The state of the
session is told to listeners in the loop: ``connected``, ``suspended`` (no answer; the session may still live) and
``lost`` (the session is over, and with it everything ephemeral). TLS verifies the server, always.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from kazoo import exceptions as kz
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

from contrail_vsphere.model.errors import (
    AlreadyExists,
    AuthenticationFailed,
    Conflict,
    ContrailVsphereError,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    Unreachable,
)

log = logging.getLogger(__name__)

State = Literal["connected", "suspended", "lost"]
_STATES: dict[str, State] = {
    KazooState.CONNECTED: "connected",
    KazooState.SUSPENDED: "suspended",
    KazooState.LOST: "lost",
}


@dataclass(frozen=True, slots=True)
class ZooKeeperServers:
    """Where ZooKeeper is: ``HOST:PORT,HOST:PORT``; ``session``: seconds after which a silent client is given up."""

    hosts: str
    session: float = 10.0
    ca_file: Path | None = None
    """Set: TLS."""
    cert_file: Path | None = None
    key_file: Path | None = None


class ZooKeeper:
    """An async context manager; connects in the background and for ever. ``deadline``: seconds for a request."""

    def __init__(self, servers: ZooKeeperServers, *, deadline: float = 15.0) -> None:
        self.servers = servers
        self.identity = str(uuid.uuid4())
        """Of this client, whatever sessions it has one after the other."""
        self._deadline = deadline
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Callable[[State], None]] = []
        self.state: State = "lost"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        servers = self.servers
        self._client = KazooClient(
            hosts=servers.hosts,
            timeout=servers.session,
            use_ssl=servers.ca_file is not None,
            verify_certs=True,
            check_hostname=True,
            ca=str(servers.ca_file) if servers.ca_file else None,
            certfile=str(servers.cert_file) if servers.cert_file else None,
            keyfile=str(servers.key_file) if servers.key_file else None,
            connection_retry={"max_tries": -1, "delay": 0.2, "max_delay": 5.0},
            logger=logging.getLogger("contrail_vsphere.zookeeper"),
        )
        self._client.add_listener(self._heard)
        self._client.start_async()
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.remove_listener(self._heard)
            await asyncio.to_thread(_close, client)

    def listen(self, listener: Callable[[State], None]) -> Callable[[], None]:
        """Call ``listener`` in the loop at every change of state; returns the way to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def connected(self) -> None:
        """Return when there is a session."""
        changed = asyncio.Event()
        stop = self.listen(lambda _state: changed.set())
        try:
            while self.state != "connected":
                changed.clear()
                await changed.wait()
        finally:
            stop()

    async def create(self, path: str, value: bytes = b"", *, ephemeral: bool = False, sequence: bool = False) -> str:
        """Make a node and its parents; returns its path. Raises AlreadyExists."""
        made = await self._do("create", path, value, ephemeral=ephemeral, sequence=sequence, makepath=True)
        return str(made)

    async def get(self, path: str) -> tuple[bytes, int]:
        """Value and version. Raises NotFound."""
        value, stat = await self._do("get", path)
        return bytes(value), int(stat.version)

    async def set(self, path: str, value: bytes, *, version: int = -1) -> int:
        """Write and return the new version. Raises NotFound, and Conflict when it has another version than given."""
        stat = await self._do("set", path, value, version=version)
        return int(stat.version)

    async def delete(self, path: str, *, version: int = -1) -> None:
        """Remove a node. Raises NotFound and Conflict."""
        await self._do("delete", path, version=version)

    async def children(self, path: str) -> list[str]:
        """Names of the nodes below; empty also when there is no such node."""
        try:
            found = await self._do("get_children", path)
        except NotFound:
            return []
        return [str(name) for name in found]

    async def exists(self, path: str, *, changed: Callable[[], None] | None = None) -> bool:
        """Whether there is such a node; ``changed`` is called once in the loop when that, or its value, changes."""
        loop = asyncio.get_running_loop()

        def watch(_event: object) -> None:
            if changed is not None and not loop.is_closed():
                loop.call_soon_threadsafe(changed)

        return await self._do("exists", path, watch=watch if changed is not None else None) is not None

    async def commit(self, operations: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Several of ``create``, ``set_data``, ``delete`` and ``check``, all or none.

        Raises AlreadyExists, NotFound or Conflict of the first that does not hold.
        """
        transaction = self._client.transaction()
        for verb, arguments in operations:
            getattr(transaction, verb)(*arguments)
        results = await self._wait(transaction.commit_async(), "a transaction")
        for result in results:
            if isinstance(result, kz.KazooException) and not isinstance(result, kz.RolledBackError):
                raise _translate(result, "a transaction")
        if any(isinstance(result, kz.RuntimeInconsistency | kz.RolledBackError) for result in results):
            raise Conflict("a ZooKeeper transaction was rolled back")

    async def _do(self, verb: str, path: str, *arguments: Any, **options: Any) -> Any:
        if self._client is None:
            raise RuntimeError("the ZooKeeper is not entered")
        return await self._wait(getattr(self._client, f"{verb}_async")(path, *arguments, **options), f"{verb} {path}")

    async def _wait(self, pending: Any, what: str) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            if not done.done():
                done.set_result(result)

        def finished(result: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result)

        pending.rawlink(finished)
        try:
            async with asyncio.timeout(self._deadline):
                await done
            return pending.get(block=False)
        except TimeoutError:
            raise OutcomeUnknown(f"ZooKeeper at {self.servers.hosts} does not answer {what}") from None
        except (kz.KazooException, KazooTimeoutError) as error:
            raise _translate(error, what) from error

    def _heard(self, state: str) -> None:
        """In kazoo's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, _STATES[state])

    def _tell(self, state: State) -> None:
        if state == self.state:
            return
        log.info("ZooKeeper at %s: %s", self.servers.hosts, state)
        self.state = state
        for listener in tuple(self._listeners):
            listener(state)


def _close(client: Any) -> None:
    client.stop()
    client.close()


def _translate(error: Exception, what: str) -> ContrailVsphereError:
    text = f"ZooKeeper: {what}: {type(error).__name__}"
    match error:
        case kz.NoNodeError():
            return NotFound(text)
        case kz.NodeExistsError():
            return AlreadyExists(text)
        case kz.BadVersionError() | kz.NotEmptyError():
            return Conflict(text)
        case kz.NoAuthError() | kz.AuthFailedError():
            return AuthenticationFailed(text, hint="check the node's access list")
        case kz.SessionExpiredError() | kz.ConnectionClosedError():
            return Unreachable(text)
        case kz.ConnectionLoss() | KazooTimeoutError() | kz.OperationTimeoutError():
            return OutcomeUnknown(text)
        case _:
            return ProtocolError(f"{text} {error}")
