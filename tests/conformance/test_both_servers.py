"""The same checks against our vCenter and, where it is found, vcsim; where they may differ is written down here."""

import asyncio
import random
from urllib.parse import urlparse

import pytest
from checks import CHECKS

from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter

DIFFERENCES = {
    "an_unknown_property_faults_the_call": ("DID NOT RAISE", "vcsim reports it per object, in missingSet"),
    "a_version_nobody_gave_is_refused": ("DID NOT RAISE", "vcsim knows no versions and accepts any"),
    "machines_can_be_migrated": ("MethodNotFound", "vcsim has no MigrateVM_Task"),
    "maintenance_is_followed": ("TimeoutError", "vcsim changes the field without an update"),
    "a_new_host_enters_the_views": ("TimeoutError", "vcsim's views do not take in a cluster's new host"),
    "a_new_host_is_told_of": ("AssertionError", "vcsim posts no HostAddedEvent"),
    "a_port_group_has_a_config_version": ("KeyError", "vcsim leaves it unset"),
    "a_reconfiguration_leaves_the_rest_alone": ("AssertionError", "vcsim replaces the whole configuration"),
    "a_stale_config_version_is_refused": ("DID NOT RAISE", "vcsim does not compare it"),
    "a_card_gets_a_port": ("AssertionError", "vcsim's cards have no portKey"),
    "ports_have_keys_of_their_own_in_the_switch": ("AssertionError", "vcsim numbers every port group's ports from 0"),
    "a_port_gets_a_vlan_of_its_own": ("MethodNotFound", "vcsim has no ReconfigureDVPort_Task"),
    "a_switch_is_made_with_its_hosts": ("AssertionError", "vcsim ignores the hosts of a CreateSpec"),
    "a_move_tells_where_from_and_where_to": ("AssertionError", "vcsim posts the event before the move"),
    "a_failed_change_is_no_event": ("AssertionError", "vcsim posts VmReconfiguredEvent before it validates"),
}
"""Check -> (what its failure says, why vcsim fails it). One that passes after all fails its test: the line must go."""


async def passes(check, ready):
    """Run a check against the server; what it raises is the verdict."""
    url = urlparse(ready["url"])
    endpoint = Endpoint(url.hostname, url.port, ca_file=ready["ca_file"])
    login = PasswordLogin(ready["username"], ready["password"])
    async with VCenter(endpoint, login, random=random.Random(7)) as client:
        client.inventory.start()
        await asyncio.wait_for(client.inventory.ready(), 20)
        await asyncio.wait_for(CHECKS[check](client), 20)


@pytest.mark.parametrize("check", CHECKS)
async def test_ours(vcenter, check):
    await passes(check, vcenter.ready)


@pytest.mark.parametrize("check", CHECKS)
async def test_vcsim(vcsim, check):
    says, why = DIFFERENCES.get(check, ("", ""))
    try:
        await passes(check, vcsim)
    except (Exception, pytest.fail.Exception) as error:
        if not says or says not in f"{type(error).__name__}: {error}":
            raise
    else:
        assert not says, f"vcsim passes now; this no longer holds: {why}"


def test_every_difference_is_about_a_check():
    assert set(DIFFERENCES) <= set(CHECKS)
