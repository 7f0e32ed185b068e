"""The seed era's flags: a path per field."""

import pytest

from contrail_vsphere.cli.server_manager.fields import document
from contrail_vsphere.model.errors import UsageError

pytestmark = pytest.mark.xdist_group("server-manager-cli")


def test_flags_spell_a_document():
    words = ("--id s1 --ip_address=10.0.0.1 --roles lb,agent --network.interfaces[1].name eth1 --tags tag1=dc,tag2=f "
             "--network.interfaces[0].dhcp false --parameters.provision.contrail_4.ctrl_data_ip 10.1.0.1")  # fmt: skip
    assert document(words.split()) == {
        "id": "s1", "ip_address": "10.0.0.1", "roles": ["lb", "agent"], "tag": {"tag1": "dc", "tag2": "f"},
        "network": {"interfaces": [{"dhcp": False}, {"name": "eth1"}]},
        "parameters": {"provision": {"contrail_4": {"ctrl_data_ip": "10.1.0.1"}}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    ["", "--ip_address 10.0.0.1", "--id", "--id s1 stray", "--id s1 --a..b 1", "--id s1 --a[99999] 1",
     "--id s1 --a[64] 1", "--id s1 --id.x 1", "--id s1 --a.b 1 --a[0] 2",
     "--id s1 --tags tag1", "--id s1 --network {wrong"],
)  # fmt: skip
def test_what_spells_none_is_wrong_use(words):
    with pytest.raises(UsageError):
        document(words.split())


def test_a_server_is_added_and_changed_by_flags(shared_manager):
    manager = shared_manager
    manager.run("add", "server", "--id", "s9", "--ip_address", "127.61.0.9", "--roles", "lb", "--ssh_port", "9")
    manager.run("update", "server", "--id", "s9", "--email", "a@example.com,b@example.com")
    found = manager.json("display", "server", "--server_id", "s9")["items"][0]
    assert (found["ip_address"], found["roles"]) == ("127.61.0.9", ["lb"])
    assert found["email"] in ("a@example.com,b@example.com", ["a@example.com", "b@example.com"])
    assert "no server" in manager.run("update", "server", "--id", "s8", "--email", "a@example.com", code=1).stderr
    manager.run("add", "server", "--id", "s7", "--file", "x.json", code=2)
