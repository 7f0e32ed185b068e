"""What several test modules of Server Manager need: who acts, when, and how real parts are found and waited for."""

import os
import socket
import time
from datetime import UTC, datetime

import pytest

from contrail_vsphere.servermanager.records import Actor


def now():
    return datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


ACTOR = Actor("alice", now())


def missing(part):
    """A real part is not installed: skip on a desk, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{part} is not installed")
    pytest.skip(f"{part} is not installed")


def free_port(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_for(answers, *, seconds, process):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        if answers():
            return
        time.sleep(0.05)
    raise TimeoutError(process.args[0])
