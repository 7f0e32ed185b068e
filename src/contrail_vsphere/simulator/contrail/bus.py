"""From a commit to whoever listens: the server's outbox, and a broker inside the process.

Real servers keep what they could not publish in memory and refuse writes when that is too much; a broker that goes away
takes every queue with it, and what was published before a consumer bound its queue again is lost. The same holds here,
so that a consumer in the same process meets the same gaps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from contrail_vsphere.simulator.core.clock import Clock
from contrail_vsphere.wire.contrail.messages import Notification

LATENCY = 0.0005
"""Seconds from the commit until a consumer has the message, as on an idle RabbitMQ."""

Inbox = asyncio.Queue[bytes | None]
"""Bodies of messages; None says that the connection to the broker is gone and the queue with it."""


class Broker(Protocol):
    """Where the outbox publishes."""

    def publish(self, message: Notification) -> None:
        """Send one message; it may wait in the broker's client."""

    @property
    def pending(self) -> int:
        """Messages that wait there."""


class Bus:
    """A broker inside the process: fanout to the queues that are bound."""

    def __init__(self) -> None:
        self._inboxes: list[Inbox] = []
        self._waiting: deque[bytes] = deque()
        self._up = True

    @property
    def pending(self) -> int:
        """Messages that the API server could not publish yet."""
        return len(self._waiting)

    @property
    def consumers(self) -> int:
        """How many queues are bound."""
        return len(self._inboxes)

    def subscribe(self, queue: Inbox) -> Callable[[], None]:
        """Bind a queue: it gets what is published from now on. The returned function unbinds it.

        ConnectionRefusedError while the broker is down.
        """
        if not self._up:
            raise ConnectionRefusedError("the broker is down")
        self._inboxes.append(queue)

        def unbind() -> None:
            if queue in self._inboxes:
                self._inboxes.remove(queue)

        return unbind

    def publish(self, message: Notification) -> None:
        """Give it to every bound queue, or keep it while the broker is down."""
        body = message.encode()
        if not self._up:
            self._waiting.append(body)
            return
        for inbox in self._inboxes:
            inbox.put_nowait(body)

    def stop(self) -> None:
        """The broker goes down: queues are gone, their consumers notice."""
        self._up = False
        inboxes, self._inboxes = self._inboxes, []
        for inbox in inboxes:
            inbox.put_nowait(None)

    def start(self) -> None:
        """It is back, empty; the API server publishes what it kept, to whoever is bound by then."""
        self._up = True
        waiting, self._waiting = self._waiting, deque()
        for body in waiting:
            for inbox in self._inboxes:
                inbox.put_nowait(body)


class Outbox:
    """What the API server has to say, on its way to the broker; tests bend the way."""

    def __init__(self, broker: Broker, *, clock: Clock, randomness: Random) -> None:
        self.broker = broker
        self.delay = LATENCY
        """Seconds that every message takes."""
        self.jitter = 0.0
        """Most seconds it takes longer, at random: later messages overtake earlier ones."""
        self.lose = 0
        """How many of the next messages are lost; -1 for all of them."""
        self.lost = 0
        self.sent = 0
        self._clock = clock
        self._random = randomness
        self._queue: deque[Notification] = deque()
        self._under_way = 0

    @property
    def pending(self) -> int:
        """Messages that are not with the broker yet."""
        return self.broker.pending + self._under_way

    def send(self, message: Notification) -> None:
        """Send one message, now or later, or lose it."""
        if self.lose:
            self.lose -= self.lose > 0
            self.lost += 1
            return
        self.sent += 1
        delay = self.delay + self._random.uniform(0.0, self.jitter)
        if delay <= 0 and not self._queue:
            self.broker.publish(message)
            return
        self._under_way += 1
        loop = asyncio.get_running_loop()
        if self.jitter:
            loop.call_later(delay / self._clock.rate, self._deliver, message)
        else:
            # Timers of one moment fire in any order, so each of them only says that the oldest message is due.
            self._queue.append(message)
            loop.call_later(delay / self._clock.rate, self._deliver_oldest)

    def _deliver_oldest(self) -> None:
        self._deliver(self._queue.popleft())

    def _deliver(self, message: Notification) -> None:
        self._under_way -= 1
        self.broker.publish(message)
