"""Fixtures for the real parts, for every test: started on first use, once per session, ended with it.

A test that uses one bears ``@pytest.mark.xdist_group("<part>")``, so that only one worker starts it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_mariadb import RealMariaDb
from real_rabbitmq import RealRabbitMq
from real_zookeeper import RealZooKeeper


@pytest.fixture(scope="session")
def real_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRabbitMq]:
    """A RabbitMQ; a test that kills it starts it again."""
    part = RealRabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    try:
        part.start()
        yield part
    finally:
        part.stop()


@pytest.fixture(scope="session")
def real_zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealZooKeeper]:
    """A ZooKeeper; a test that kills it starts it again."""
    part = RealZooKeeper(tmp_path_factory.mktemp("zookeeper"))
    try:
        part.start()
        yield part
    finally:
        part.stop()


@pytest.fixture(scope="session")
def real_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMariaDb]:
    """A MariaDB without databases; a test that kills it starts it again."""
    part = RealMariaDb(tmp_path_factory.mktemp("mariadb"))
    try:
        part.start()
        yield part
    finally:
        part.stop()
