"""What the tests of races ask of the worlds."""

from __future__ import annotations


async def placed(stand, *names, network="blue"):
    """Running VMs with one card each, by turns on the hosts."""
    if network not in stand.groups():
        stand.network(network)
        await stand.until(lambda: network in stand.groups())
    vms = [await stand.vm(name, network, host=number % 2) for number, name in enumerate(names)]
    await stand.settle()
    return vms


def connected(stand, vm, *, also=()):
    """The one plug of a VM with one card, which must be where the VM is; ``also``: hosts that may have it too."""
    plugs = {
        (host.moid, uuid): port
        for host in stand.vcenter.scenario.hosts()
        for uuid, port in stand.plugged(host).items()
        if port.vm == vm.instance_uuid and host not in also
    }
    assert len(plugs) == 1, plugs
    ((host, _), port) = next(iter(plugs.items()))
    assert host == vm.host.moid
    assert stand.is_open(stand.port(vm))
    assert port.rx_vlan == stand.vlan(stand.port(vm))
    assert port.link_up
    return port
