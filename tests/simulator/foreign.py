"""pyVmomi's own client, as a stranger would use it: verified TLS, real time, in a thread of its own."""

import asyncio
import contextlib
import gc
import ssl
import warnings
from urllib.parse import urlparse

from pyVim.connect import SmartConnect
from pyVmomi import SoapStubAdapter, vim, vmodl

_stubs = []
PC = vmodl.query.PropertyCollector


def context(ready, cert=None):
    made = ssl.create_default_context(cafile=ready["ca_file"])
    if cert is not None:
        made.load_cert_chain(cert)
    return made


def connect(ready, user=None, password=None):
    url = urlparse(ready["url"])
    made = SmartConnect(
        host=url.hostname,
        port=url.port,
        user=user or ready["username"],
        pwd=password or ready["password"],
        sslContext=context(ready),
    )
    _stubs.append(made._stub)
    return made


def eam_stub(ready, cookie="", version="eam.version.version8_3"):
    url = urlparse(ready["url"])
    stub = SoapStubAdapter(
        host=url.hostname, port=url.port, path="/eam/sdk", version=version, sslContext=context(ready)
    )
    stub.cookie = cookie
    _stubs.append(stub)
    return stub


def tunnel_stub(ready, cert):
    host, _, port = ready["tunnel"].partition(":")
    made = SoapStubAdapter(
        "sdkTunnel",
        8089,
        httpProxyHost=host,
        httpProxyPort=int(port),
        path="/sdk",
        version="vim.version.v8_0_3_0",
        sslContext=context(ready, cert),
    )
    _stubs.append(made)
    return made


def spec_of(root, *, kind, paths, all=False):
    """Over a view (its members) or one object."""
    steps = []
    if isinstance(root, vim.view.View):
        steps = [PC.TraversalSpec(name="members", path="view", skip=False, type=type(root))]
    return PC.FilterSpec(
        propSet=[PC.PropertySpec(type=kind, pathSet=list(paths), all=all)],
        objectSet=[PC.ObjectSpec(obj=root, skip=bool(steps), selectSet=steps)],
    )


def updates(collector, version, wait=5, most=None):
    return collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=wait, maxObjectUpdates=most))


async def run(work, *args):
    """In a thread, with a limit: a foreign client that hangs fails the test instead of stopping it."""

    def tidily():
        try:
            return work(*args)
        finally:
            for stub in _stubs:
                with contextlib.suppress(OSError):
                    stub.DropConnections()
            _stubs.clear()

    try:
        return await asyncio.wait_for(asyncio.to_thread(tidily), 30)
    finally:
        # pyVmomi leaves sockets of refused calls to the garbage collector.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
