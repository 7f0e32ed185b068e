"""Independent referees: govc as a client of ours, vcsim as a second server for the same checks."""

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from contrail_vsphere.simulator import tls

sys.path.insert(0, str(Path(__file__).parent))

TOOLS = Path(__file__).parents[2] / ".tools"
LIMIT = 40
"""Seconds for one command or for vcsim to be there."""


def find(name):
    """From the environment (GOVC_BIN, VCSIM_BIN), where ``make tools`` puts it, or from PATH; else the test skips."""
    named = os.environ.get(f"{name.upper()}_BIN")
    built = TOOLS / "bin" / name
    found = named or (str(built) if built.exists() else shutil.which(name))
    if not found:
        why = TOOLS / "why-not"
        reason = why.read_text().strip() if why.exists() else "`make tools` builds it"
        pytest.skip(f"{name} was not found: {reason}")
    return found


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def lines(self):
        return [line.strip() for line in self.out.splitlines() if line.strip()]

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def vcenter_options():
    return {"hosts": 3, "vms": 4, "guests": False, "verify_fragments": True}


@pytest_asyncio.fixture
async def govc(vcenter, tmp_path):
    """Runs a command against the simulator and returns what it said; anything but exit code 0 fails the test."""
    binary = find("govc")
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "GOVC_URL": vcenter.ready["url"],
        "GOVC_USERNAME": vcenter.ready["username"],
        "GOVC_PASSWORD": vcenter.ready["password"],
        "GOVC_TLS_CA_CERTS": vcenter.ready["ca_file"],
        "GOVC_PERSIST_SESSION": "false",
        "GOVMOMI_HOME": str(tmp_path),
    }

    async def run(*words, code=0, **more):
        process = await asyncio.create_subprocess_exec(
            binary,
            *map(str, words),
            env={**environment, **more},
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), LIMIT)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = Said(process.returncode, out.decode(), err.decode())
        assert said.code == code, f"govc {' '.join(map(str, words))}: {said}"
        return said

    return run


@pytest_asyncio.fixture
async def vcsim(tmp_path):
    """A running vcsim with three hosts and four VMs: url, CA file, user and password."""
    binary = find("vcsim")
    identity = tls.make_identity(tmp_path, "127.0.0.1")
    chain = tmp_path / "server.pem"
    process = await asyncio.create_subprocess_exec(
        binary,
        *("-cert", str(chain), "-key", str(chain)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), LIMIT)
        yield {
            "url": json.loads(line)["url"],
            "ca_file": str(identity.ca_file),
            "username": "user",
            "password": "pass",
        }
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
