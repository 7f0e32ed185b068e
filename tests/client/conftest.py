"""A client for the simulated vCenter of the ``vcenter`` fixture."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter


def endpoint_of(simulator: VCenterSimulator, **changes: Any) -> Endpoint:
    """Where the simulator is, trusted by its CA."""
    ready = simulator.ready
    host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
    tunnel_host, _, tunnel_port = ready["tunnel"].rpartition(":")
    options = {"ca_file": ready["ca_file"], "tunnel": (tunnel_host, int(tunnel_port)), **changes}
    return Endpoint(host, int(port), **options)


def login_of(simulator: VCenterSimulator) -> PasswordLogin:
    return PasswordLogin(simulator.ready["username"], simulator.ready["password"])


@pytest.fixture
def connect_to() -> Callable[[VCenterSimulator], VCenter]:
    """Makes clients for simulators of the test's own."""
    return lambda simulator: VCenter(endpoint_of(simulator), login_of(simulator), random=random.Random(7))


@pytest.fixture
def connect(vcenter: VCenterSimulator) -> Callable[..., VCenter]:
    """Makes clients; not entered yet."""

    def make(credentials: Any = None, **changes: Any) -> VCenter:
        return VCenter(endpoint_of(vcenter, **changes), credentials or login_of(vcenter), random=random.Random(7))

    return make


@pytest_asyncio.fixture
async def client(connect: Callable[..., VCenter]) -> AsyncIterator[VCenter]:
    """A logged-in client."""
    async with connect() as entered:
        yield entered
