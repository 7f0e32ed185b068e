"""A supervisor with scripted workers, and requests for it."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from contrail_vsphere.servermanager.ansible_server.run_directory import processes_of
from contrail_vsphere.servermanager.ansible_server.supervisor import Supervisor
from contrail_vsphere.servermanager.runs import (
    ContainerToRun,
    FileToWrite,
    HostToRun,
    RegistryToPull,
    RoleToRun,
    RunRequest,
)

CANARY = "canary-of-the-ansible-server"
SCRIPTED = (sys.executable, str(Path(__file__).parent / "scripted_worker.py"))


def role(name="lb", *, stage=10, action="create", rolling=False, content="[GLOBAL]\n", spec=None, secret=False):
    return RoleToRun(
        role=name, stage=stage, rolling=rolling, directories=["/etc/contrail"],
        files=[FileToWrite(path=f"/etc/contrail/{name}.conf", mode="0640", content=content, secret=secret)],
        container=ContainerToRun(name=name, image="r:1/i", action=action, spec_hash="h", spec=spec or {}),
        health={"kind": "tcp", "port": 1, "path": "/", "timeout": 1},
    )  # fmt: skip


def host(address, *roles, password="", key=""):
    return HostToRun(
        address=address, port=22, user="root", host_key="ssh-ed25519 AAAA", password=password, private_key=key,
        roles=list(roles) or [role()],
    )  # fmt: skip


def request(run_id="r1", how="succeed", hosts=("10.0.0.1",), **more):
    made = {f"s{n}": each if isinstance(each, HostToRun) else host(each) for n, each in enumerate(hosts, 1)}
    registry = RegistryToPull(address="127.0.0.1:5100", username="u", password=CANARY)
    return RunRequest(id=run_id, cluster="c1", plan=how, hosts=made, registry=registry, **more)


@asynccontextmanager
async def supervising(directory, **options):
    options.setdefault("worker", SCRIPTED)
    supervisor = Supervisor(directory, now=lambda: datetime.now(UTC), **options)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        if sys.exc_info()[0] is not None:
            for path in (directory / "runs").iterdir():
                for pid in processes_of(path):
                    os.kill(pid, 9)


async def over(supervisor, run_id, seconds=60):
    """The report, once the run is over."""
    async with asyncio.timeout(seconds):
        async for _ in supervisor.events(run_id):
            pass
    return await supervisor.report(run_id)


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it looks at processes and files
            await asyncio.sleep(0.02)


async def events_of(supervisor, run_id, after=0):
    return [each async for each in supervisor.events(run_id, after=after) if each is not None]
