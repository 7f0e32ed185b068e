"""DRS rules and groups of a cluster: what a client set is what it reads, and what cannot be is refused."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl


@pytest.fixture
def vcenter_options():
    return {"hosts": 2, "vms": 3, "guests": False, "verify_fragments": True}


async def test_rules_and_groups_are_kept_edited_and_removed(vcenter, tmp_path):
    url, ready = urlsplit(vcenter.ready["url"]), vcenter.ready
    moid = vcenter.inventory["C0"].moid

    def rules(cluster, operation, **fields):
        spec = vim.cluster.RuleSpec(operation=operation, **fields)
        WaitForTask(cluster.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(rulesSpec=[spec]), True))
        return cluster.configurationEx.rule

    def client():
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        service = SmartConnect(
            host=url.hostname, port=url.port, user=ready["username"], pwd=ready["password"], sslContext=trust
        )
        cluster = vim.ClusterComputeResource(moid, service._stub)
        vms = list(cluster.host[0].vm) + list(cluster.host[1].vm)
        apart = vim.cluster.AntiAffinityRuleSpec(name="apart", enabled=True, vm=vms[:2])
        (rule,) = rules(cluster, "add", info=apart)
        assert (type(rule), rule.name, rule.vm, rule.enabled) == (type(apart), "apart", vms[:2], True)
        with pytest.raises(vim.fault.DuplicateName):
            rules(cluster, "add", info=apart)
        second = rules(cluster, "add", info=vim.cluster.AffinityRuleSpec(name="near", enabled=True, vm=vms))[1]
        assert second.key != rule.key
        off, _ = rules(
            cluster, "edit", info=vim.cluster.AntiAffinityRuleSpec(key=rule.key, name="apart", enabled=False, vm=vms)
        )
        assert (off.key, off.enabled, off.ruleUuid, off.vm) == (rule.key, False, rule.ruleUuid, vms)
        with pytest.raises(vmodl.fault.InvalidArgument):
            rules(cluster, "remove", removeKey=99)
        assert [each.name for each in rules(cluster, "remove", removeKey=rule.key)] == ["near"]

        group = vim.cluster.GroupSpec(operation="add", info=vim.cluster.VmGroup(name="tier", vm=vms[:1]))
        WaitForTask(cluster.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(groupSpec=[group]), True))
        assert [(each.name, each.vm) for each in cluster.configurationEx.group] == [("tier", vms[:1])]

        usage = vms[0].storage.perDatastoreUsage
        assert [each.datastore for each in usage] == list(vms[0].datastore)
        assert sum(each.committed for each in usage) == vms[0].summary.storage.committed
        Disconnect(service)

    await asyncio.to_thread(client)
    # What is saved comes back.
    vcenter.scenario.save(tmp_path / "inventory.json")
    await vcenter.scenario.load(tmp_path / "inventory.json")
    saved = vcenter.inventory["C0"]
    assert [rule.name for rule in saved.rules] == ["near"] and [group.name for group in saved.groups] == ["tier"]
    assert vcenter.world.defects == []
