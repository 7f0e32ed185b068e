"""``run`` ends on SIGTERM, also while it waits for a world that does not answer yet."""

import asyncio
import os
import signal

import pytest

from contrail_vsphere.cli.run import _serve


class Service:
    """Starts at once, or waits for somebody for ever."""

    def __init__(self, *, waits):
        self.ready = {"role": "test"}
        self.waits = waits
        self.stopped = False

    async def __aenter__(self):
        try:
            if self.waits:
                await asyncio.Event().wait()
        finally:
            self.stopped = self.waits
        return self

    async def __aexit__(self, *_):
        self.stopped = True


@pytest.mark.parametrize("waits", [False, True])
async def test_a_signal_ends_it(waits, capsys):
    service, other = Service(waits=False), Service(waits=waits)
    serving = asyncio.create_task(_serve([service, other]))
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)
    assert service.stopped
    assert other.stopped
    assert capsys.readouterr().out.count("role") == (1 if waits else 2)
