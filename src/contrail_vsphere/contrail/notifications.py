"""Hearing of changes: over RabbitMQ, or over a bus in the same process.

A notification is a hint to look again, nothing more. What matters is to know when hints may have been missed: a source
says ``connected`` each time its queue is bound anew (whatever was published before may be lost, so everything is read
again), and ``lost`` when it is not bound any more. Our queue is exclusive and goes with its connection: nothing grows
at the broker while we are away, and no message from before a gap is taken for one from after it.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aio_pika
import aiormq.exceptions
import pamqp.exceptions
from aio_pika.abc import AbstractIncomingMessage

from contrail_vsphere.engine.backoff import Backoff
from contrail_vsphere.model.errors import SettingsError
from contrail_vsphere.pki.secrets import Secret
from contrail_vsphere.wire.contrail.messages import EXCHANGE, MAX_MESSAGE, MalformedNotificationError, Notification

log = logging.getLogger(__name__)

PREFETCH: Final = 200
HEARTBEAT: Final = 10
"""Seconds; a broker that is silent twice as long is taken for gone."""
CONNECT_DEADLINE: Final = 15.0
RETRY: Final = Backoff(first=1.0, most=15.0)


class Sink(Protocol):
    """Who hears. All calls come from the loop and return at once."""

    def connected(self) -> None:
        """From now on every change is told; what was before may have been missed."""

    def lost(self, reason: str) -> None:
        """Changes are not told for now."""

    def notified(self, notification: Notification) -> None:
        """An object changed."""


class Notifications(Protocol):
    """A source of notifications."""

    async def run(self, sink: Sink) -> None:
        """Follow until cancelled; gaps are told to the sink, never raised."""
        ...


class Bus(Protocol):
    """A broker in the same process; None in the queue says that it went away."""

    def subscribe(self, queue: asyncio.Queue[bytes | None]) -> Callable[[], None]:
        """Bind a queue; returns the way to unbind it. ConnectionRefusedError while it is down."""
        ...


class BusNotifications:
    """Follows a bus in the same process."""

    def __init__(self, bus: Bus, *, random: random_module.Random | None = None) -> None:
        self._bus = bus
        self._random = random or random_module.Random()

    async def run(self, sink: Sink) -> None:
        """See :class:`Notifications`."""
        failures = 0
        while True:
            queue: asyncio.Queue[bytes | None] = asyncio.Queue()
            try:
                unbind = self._bus.subscribe(queue)
            except ConnectionRefusedError as error:
                failures += 1
                sink.lost(str(error))
                await asyncio.sleep(RETRY.delay(failures, self._random))
                continue
            failures = 0
            sink.connected()
            try:
                while (body := await queue.get()) is not None:
                    _tell(sink, body)
            finally:
                unbind()
            sink.lost("the bus went away")


class AmqpNotifications:
    """Follows RabbitMQ. ``urls`` are tried in turn: ``amqp://HOST:PORT/VHOST`` or ``amqps://``, without credentials.

    SettingsError for an address that is none, or that carries a password.
    """

    def __init__(
        self,
        *urls: str,
        username: str = "guest",
        password: Secret | None = None,
        tls: ssl.SSLContext | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        self._brokers = tuple(_Broker.parse(url) for url in urls)
        if not self._brokers:
            raise SettingsError("no RabbitMQ is given", hint="e.g. amqps://10.0.0.11:5671")
        self._username = username
        self._password = password or Secret("guest")
        self._tls = tls
        self._random = random or random_module.Random()

    async def run(self, sink: Sink) -> None:
        """See :class:`Notifications`."""
        failures = 0
        while True:
            broker = self._brokers[failures % len(self._brokers)]
            bound = False

            def connected() -> None:
                nonlocal bound
                bound = True
                sink.connected()

            try:
                reason = await self._follow(broker, sink, connected)
            except _FAILURES as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            failures = 1 if bound else failures + 1
            sink.lost(f"RabbitMQ at {broker}: {reason}")
            log.info("RabbitMQ at %s: %s; connecting again", broker, reason)
            await asyncio.sleep(RETRY.delay(failures, self._random))

    async def _follow(self, broker: _Broker, sink: Sink, connected: Callable[[], None]) -> str:
        """One connection's life; returns why it ended, or raises what prevented it."""
        connection = await aio_pika.connect(
            host=broker.host,
            port=broker.port,
            virtualhost=broker.vhost,
            login=self._username,
            password=self._password.reveal(),
            ssl=broker.tls,
            ssl_context=self._tls if broker.tls else None,
            timeout=CONNECT_DEADLINE,
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": "contrail-vsphere"},
        )
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            connection.close_callbacks.add(lambda _sender, error: _end(ended, error))
            async with asyncio.timeout(CONNECT_DEADLINE):
                channel = await connection.channel(publisher_confirms=False)
                channel.close_callbacks.add(lambda _sender, error: _end(ended, error))
                await channel.set_qos(prefetch_count=PREFETCH)
                exchange = await channel.declare_exchange(
                    EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=False, auto_delete=False
                )
                queue = await channel.declare_queue(exclusive=True, auto_delete=True)
                await queue.bind(exchange, routing_key="")

            async def take(message: AbstractIncomingMessage) -> None:
                _tell(sink, message.body)
                await message.ack()

            await queue.consume(take)
            connected()
            return await ended
        finally:
            await connection.close()


class _Broker:
    """Where a RabbitMQ is."""

    __slots__ = ("host", "port", "tls", "vhost")

    def __init__(self, *, host: str, port: int, vhost: str, tls: bool) -> None:
        self.host, self.port, self.vhost, self.tls = host, port, vhost, tls

    @classmethod
    def parse(cls, url: str) -> _Broker:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme not in {"amqp", "amqps"} or not host:
            raise SettingsError("a RabbitMQ address is not one", hint="amqp://HOST:PORT/VHOST or amqps://...")
        if parts.username or parts.password:
            raise SettingsError(f"the address of RabbitMQ at {host} carries credentials", hint="give them apart")
        tls = parts.scheme == "amqps"
        return cls(host=host, port=port or (5671 if tls else 5672), vhost=parts.path[1:] or "/", tls=tls)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


_FAILURES: Final = (
    aiormq.exceptions.AMQPError,
    pamqp.exceptions.PAMQPException,
    OSError,
    TimeoutError,
    asyncio.InvalidStateError,
)


def _end(ended: asyncio.Future[str], error: Any) -> None:
    if not ended.done():
        ended.set_result(" ".join(str(error or "closed").split())[:200])


def _tell(sink: Sink, body: bytes) -> None:
    """Pass on what can be read. What cannot is logged and dropped: it is repaired by the next resync."""
    if len(body) > MAX_MESSAGE:
        log.warning("a notification of %d bytes is dropped", len(body))
        return
    try:
        notification = Notification.decode(body)
    except MalformedNotificationError as error:
        log.warning("a notification is dropped: %s", error)
        return
    sink.notified(notification)
