"""ContrailSimulator: a Contrail config API with notifications and Keystone, put together and served.

    async with ContrailSimulator() as contrail:
        contrail.scenario.create_network("blue", "10.1.0.0/16")
        print(contrail.ready["url"])

Everything runs on the caller's event loop, real or virtual. Without a broker's URL notifications go over ``bus``, which
only consumers in the same process can reach.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contrail_vsphere.simulator import tls
from contrail_vsphere.simulator.contrail import defaults
from contrail_vsphere.simulator.contrail.builder import Builder
from contrail_vsphere.simulator.contrail.bus import Broker, Bus, Outbox
from contrail_vsphere.simulator.contrail.context import Site
from contrail_vsphere.simulator.contrail.control_node import ContrailControlNode
from contrail_vsphere.simulator.contrail.door import ApiDoor, ContrailFaults, FaultyService
from contrail_vsphere.simulator.contrail.keystone import Keystone, User
from contrail_vsphere.simulator.contrail.keystone_door import KeystoneDoor
from contrail_vsphere.simulator.contrail.profile import PROFILES, Switches
from contrail_vsphere.simulator.contrail.scenario import Scenario
from contrail_vsphere.simulator.contrail.service import ApiService
from contrail_vsphere.simulator.contrail.store import Committed, Store
from contrail_vsphere.simulator.core.clock import Clock

if TYPE_CHECKING:
    from contrail_vsphere.simulator.contrail.amqp import AmqpBroker
    from contrail_vsphere.simulator.control.server import ControlServer

USERNAME, PASSWORD = "admin", "contrail123"
"""Of a simulator; every ready line shows them."""


class ContrailSimulator:
    """One simulated Contrail.

    ``listen`` is HOST:PORT of the (first) API server, ``servers`` how many addresses lead to it. With ``ca_dir`` it is
    served over TLS, by a CA that is kept there. ``amqp`` is the URL of a RabbitMQ that gets real messages. To be made
    while a loop runs: simulated time is the loop's.
    """

    def __init__(
        self,
        *,
        listen: str = "127.0.0.1:0",
        profile: str = "r1912",
        servers: int = 1,
        amqp: str | None = None,
        auth: Literal["keystone"] | None = None,
        ca_dir: Path | None = None,
        clock: Clock | None = None,
        now: Callable[[], datetime] | None = None,
        seed: int = 0,
        control: bool = False,
        control_port: int = 0,
        password: str = PASSWORD,
    ) -> None:
        self.clock = clock or Clock()
        self._now = now or self.clock.now
        self._seed = seed
        self._amqp_url = amqp
        self._amqp: AmqpBroker | None = None
        self._listen, self._ca_dir, self._password = listen, ca_dir, password
        self._control_port = control_port if control else None
        self._control: ControlServer | None = None
        self.bus = Bus()
        randomness = random.Random(seed)
        self.outbox = Outbox(self._make_broker(), clock=self.clock, randomness=randomness)
        self.faults = ContrailFaults(randomness)
        self.keystone = Keystone(now=self._now) if auth == "keystone" else None
        self._keystone_door: KeystoneDoor | None = None
        self.site = Site(store=self._new_store(), profile=PROFILES[profile])
        self.service = ApiService(self.site, self.outbox, keystone=self.keystone)
        self._faulty = FaultyService(self.service, self.faults, self.clock)
        self.control_node = ContrailControlNode(self.site, self.clock)
        """Give it to a ``VRouterFleet``, and its agents forward only for what this Contrail knows."""
        self.scenario = Scenario(self)
        self.builder = Builder(self.site)
        host = listen.rpartition(":")[0]
        addresses = [listen, *(f"{host}:0" for _ in range(servers - 1))]
        self.doors = [ApiDoor(self._faulty.serve, address) for address in addresses]
        self.ready: dict[str, Any] = {}
        """What the ready line says, once started."""
        self._begin()

    # -- parts --------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """All objects."""
        return self.site.store

    @property
    def switches(self) -> Switches:
        """Behaviour to choose; may be changed while it runs."""
        return self.site.switches

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """(verb, type or empty) -> how often it was called."""
        return self.service.calls

    @property
    def defects(self) -> list[str]:
        """Where the simulator itself stumbled; every request that met one was answered 500."""
        return self._faulty.defects

    @property
    def most_concurrent(self) -> int:
        """The most requests that were ever under way at once."""
        return self._faulty.reached[1]

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ports, be ready. OSError if a port is taken."""
        context, ca_file = self._make_tls()
        scheme = "https" if context is not None else "http"
        for door in self.doors:
            door.tls = context
            await door.open()
        urls = [f"{scheme}://{door.address}" for door in self.doors]
        self.site.base_url = urls[0]
        self.ready = {"url": urls[0], "urls": urls, "amqp_url": self._amqp_url, "ca_file": ca_file}
        self.ready |= {"keystone_url": None, "username": None, "password": None, "control_url": None}
        if self._amqp is not None:
            await self._amqp.start()
        if self.keystone is not None:
            self.keystone.add(User(USERNAME, self._password))
            self._keystone_door = KeystoneDoor(self.keystone)
            host = self._listen.rpartition(":")[0]
            address = await self._keystone_door.open(host, context)
            self.ready |= {"keystone_url": f"{scheme}://{address}/v3", "username": USERNAME, "password": self._password}
        if self._control_port is not None:
            await self._start_control(self._control_port)

    async def stop(self) -> None:
        """Close everything; may be called at any time."""
        if self._control is not None:
            await self._control.stop()
            self._control = None
        if self._keystone_door is not None:
            await self._keystone_door.close()
            self._keystone_door = None
        for door in self.doors:
            await door.close()
        if self._amqp is not None:
            await self._amqp.stop()

    async def __aenter__(self) -> ContrailSimulator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def resync(self, seconds: float) -> None:
        """Be "initializing" for that long."""
        if seconds > 0:
            self.service.state = "starting"
            await self.clock.sleep(seconds)
        self.service.state = "running"

    def forget(self) -> None:
        """Lose the database: nothing but the defaults is there, and nobody was told."""
        fresh = Site(store=self._new_store(), profile=self.site.profile, switches=self.site.switches)
        self.site.store, self.site.ipam = fresh.store, fresh.ipam
        self._begin()

    # -- inside -------------------------------------------------------------------------------------------------

    def _new_store(self) -> Store:
        self._seed += 1
        return Store(now=self._now, seed=self._seed)

    def _begin(self) -> None:
        """A fresh server makes its defaults before anybody listens."""
        defaults.install(self.site)
        self.store.observe(self._committed)

    def _committed(self, committed: Committed) -> None:
        self.control_node.heard(committed)
        for message in committed.notifications:
            self.outbox.send(message)

    def _make_broker(self) -> Broker:
        if self._amqp_url is None:
            return self.bus
        from contrail_vsphere.simulator.contrail.amqp import AmqpBroker

        self._amqp = AmqpBroker(self._amqp_url)
        return self._amqp

    def _make_tls(self) -> tuple[ssl.SSLContext | None, str | None]:
        if self._ca_dir is None:
            return None, None
        identity = tls.make_identity(self._ca_dir, self._listen.rpartition(":")[0])
        return identity.plain, str(identity.ca_file)

    async def _start_control(self, port: int) -> None:
        from contrail_vsphere.simulator.control.contrail import make_app
        from contrail_vsphere.simulator.control.server import ControlServer

        self._control = ControlServer(make_app(self))
        self.ready["control_url"] = await self._control.start(port)
