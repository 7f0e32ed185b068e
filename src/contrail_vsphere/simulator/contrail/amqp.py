"""Publishes notifications to a real RabbitMQ, as the API server does: fanout, with confirms, kept while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import AMQPError

from contrail_vsphere.wire.contrail.messages import CONTENT_TYPE, EXCHANGE, Notification

log = logging.getLogger(__name__)

RECONNECT = 1.0
TIMEOUT = 10.0
HEARTBEAT = 10


class AmqpBroker:
    """One connection; messages wait in memory until the broker has confirmed them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    @property
    def pending(self) -> int:
        """Messages that are not confirmed yet."""
        return len(self._waiting)

    def publish(self, message: Notification) -> None:
        """Send, when the broker takes it."""
        self._waiting.append(message.encode())
        self._wake.set()

    async def start(self) -> None:
        """Begin to connect, and go on trying."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="amqp-publisher")

    async def stop(self) -> None:
        """End; what waits is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                connection = await aio_pika.connect(self._url, timeout=TIMEOUT, heartbeat=HEARTBEAT)
                async with connection:
                    channel = await connection.channel(publisher_confirms=True)
                    # The flags must be those of all who declare it: a declaration with others is refused.
                    exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=False)
                    self.connected.set()
                    await self._publish_all(channel, exchange)
            except (AMQPError, OSError, TimeoutError) as error:
                log.debug("the broker is away: %s", error)
            finally:
                self.connected.clear()
            await asyncio.sleep(RECONNECT)

    async def _publish_all(self, channel: AbstractChannel, exchange: AbstractExchange) -> None:
        while True:
            while self._waiting:
                message = aio_pika.Message(
                    self._waiting[0],
                    content_type=CONTENT_TYPE,
                    content_encoding="utf-8",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    priority=0,
                )
                await exchange.publish(message, routing_key="", timeout=TIMEOUT)
                self._waiting.popleft()
            self._wake.clear()
            if not self._waiting:
                await self._wait_or_lost(channel)

    async def _wait_or_lost(self, channel: AbstractChannel) -> None:
        """Until there is something to send; ConnectionError if the connection ends before."""
        woken = asyncio.ensure_future(self._wake.wait())
        closed = asyncio.ensure_future(channel.closed())
        try:
            await asyncio.wait({woken, closed}, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                raise ConnectionError("the broker closed the connection")
        finally:
            woken.cancel()
            await asyncio.gather(woken, return_exceptions=True)
