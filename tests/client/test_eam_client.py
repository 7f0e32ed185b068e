"""EAM through our client: values both ways, what it does not understand, and the cache's economy."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrail_vsphere.model.eam import Agency, AgencyConfig, EsxAgentConfig, Trust
from contrail_vsphere.model.errors import InvalidArgument, NotFound, ProtocolError, Unreachable
from contrail_vsphere.model.ids import (
    AgencyId,
    ClusterId,
    DatacenterId,
    DatastoreId,
    FolderId,
    NetworkId,
    ResourcePoolId,
)
from contrail_vsphere.vsphere.eam import values
from contrail_vsphere.vsphere.eam.client import EamClient
from contrail_vsphere.wire.soap.decode import RequestDecoder
from contrail_vsphere.wire.soap.encode import encode_request
from contrail_vsphere.wire.soap.metadata import method_of
from contrail_vsphere.wire.soap.types import eam, vim, vmodl
from contrail_vsphere.wire.soap.values import build
from contrail_vsphere.wire.soap.versions import EAM, VERSIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EAM83 = VERSIONS[EAM].by_id["8.3"]
WORD = st.text("abcdefgh-", min_size=1, max_size=6)

CONFIGS = st.builds(
    AgencyConfig,
    name=WORD,
    agent_name=WORD,
    agents=st.lists(
        st.builds(
            EsxAgentConfig,
            ovf_url=WORD.map(lambda word: f"https://127.0.0.1/{word}.ovf"),
            properties=st.lists(st.tuples(WORD, st.text("<&>x", max_size=3)), max_size=2).map(tuple),
            trust=st.sampled_from([None, Trust("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")]),
            host_version=st.sampled_from(["", "8.*"]),
            deployment_option=st.sampled_from(["", "small"]),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    scope=st.lists(st.sampled_from([ClusterId("domain-c8"), ClusterId("domain-s9")]), unique=True).map(tuple),
    networks=st.sampled_from([(), (NetworkId("network-1"), NetworkId("dvportgroup-2"))]),
    datastores=st.sampled_from([(), (DatastoreId("datastore-3"),)]),
    resource_pools=st.sampled_from([(), ((ClusterId("domain-c8"), ResourcePoolId("resgroup-1")),)]),
    folders=st.sampled_from([(), ((DatacenterId("datacenter-2"), FolderId("group-v3")),)]),
    linked_clones=st.booleans(),
    hook_after_power_on=st.booleans(),
)


@given(config=CONFIGS)
def test_a_configuration_arrives_as_it_was_meant(config: AgencyConfig) -> None:
    method = method_of(eam.Agency, "Update")
    wire = values.apply_config(config, eam.Agency.ConfigInfo())
    decoder = RequestDecoder()
    decoder.feed(encode_request(method, eam.Agency("agency-1"), {"config": wire}, version=EAM83))
    assert values.agency_config(decoder.close().args["config"]) == config


def test_an_update_keeps_what_we_do_not_speak_of() -> None:
    present = eam.Agency.ConfigInfo(agencyName="old", bypassVumEnabled=True)
    config = AgencyConfig(name="new", agent_name="a", agents=(EsxAgentConfig("u"),), scope=())
    wire = values.apply_config(config, present)
    assert (wire.agencyName, wire.bypassVumEnabled) == ("new", True)


@pytest.mark.parametrize(
    ("config", "version", "word"),
    [
        (AgencyConfig("n", "a", (EsxAgentConfig("u", deployment_option="big"),), ()), "8.2", "vmResourceConfiguration"),
        (AgencyConfig("n", "a", (), (), folders=((DatacenterId("d"), FolderId("f")),)), "6.8", "folders"),
    ],
)
def test_what_the_version_cannot_carry_is_refused_not_dropped(config: AgencyConfig, version: str, word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        values.check_version(config, VERSIONS[EAM].by_id[version])
    values.check_version(config, EAM83)


def test_issues_keep_what_they_say() -> None:
    base: dict[str, Any] = {
        "key": 4,
        "description": "d",
        "time": NOW,
        "agency": eam.Agency("agency-1"),
        "agencyName": "n",
        "solutionId": "s",
        "solutionName": "s",
        "agent": eam.Agent("agent-1"),
        "agentName": "a",
        "host": vim.HostSystem("host-1"),
        "hostName": "h",
    }
    ovf = values.issues([build(eam.issue.CannotAccessAgentOVF, downloadUrl="https://x", **base)])[0]
    assert (ovf.type, ovf.key, ovf.host, ovf.agent) == ("CannotAccessAgentOVF", 4, "host-1", "agent-1")
    assert ovf.details == (("downloadUrl", "https://x"),)
    networks = [vim.Network("network-1"), vim.Network("network-2")]
    custom = build(
        eam.issue.NoCustomAgentVmNetwork, customAgentVmNetwork=networks, customAgentVmNetworkName=["a", "b"], **base
    )
    assert ("customAgentVmNetwork", "network-1; network-2") in values.issues([custom])[0].details
    cause = build(vim.fault.FileNotFound, file="[nfs] a.vmdk", msg="")
    fault = build(
        vim.fault.GenericVmConfigFault,
        reason="PCI device 0000:3b:02.1 is missing",
        msg="Cannot power on",
        faultCause=build(vmodl.LocalizedMethodFault, fault=cause, localizedMessage="No such file"),
    )
    told = "GenericVmConfigFault: Cannot power on, PCI device 0000:3b:02.1 is missing"
    told += " (caused by FileNotFound: No such file, file [nfs] a.vmdk)"
    vm = vim.VirtualMachine("vm-1")
    for error in (fault, build(vmodl.LocalizedMethodFault, fault=fault, localizedMessage="")):
        broken = build(eam.issue.InvalidConfig, error=error, vm=vm, **base)
        assert values.issues([broken])[0].details == (("error", told),)
    long = build(vim.fault.GenericVmConfigFault, reason="x" * 10_000)
    assert len(values.issues([build(eam.issue.InvalidConfig, error=long, vm=vm, **base)])[0].details[0][1]) == 500
    unknown = build(eam.issue.Issue, key=5, description="x", time=NOW)
    unknown.__dict__["_unknown_type"] = "VmOnFire"
    assert values.issues([unknown])[0].type == "VmOnFire"


class FakeEam:
    """Two agencies, each with two EsxAgents; answers can be made to fail."""

    def __init__(self) -> None:
        self.versions = {EAM: EAM83}
        self.calls: Counter[str] = Counter()
        self.agencies = {"agency-1": "mine", "agency-2": "theirs"}
        self.status = "green"
        self.fails: dict[tuple[str, str], Exception] = {}

    async def call(self, ref: Any, method: str, **arguments: Any) -> Any:
        self.calls[method] += 1
        arguments.pop("deadline", None)
        await asyncio.sleep(0.01)
        failure = self.fails.get((method, ref._moId))
        if failure is not None:
            raise failure
        if ref._moId != "EsxAgentManager" and ref._moId.startswith("agency") and ref._moId not in self.agencies:
            raise NotFound(ref._moId)
        return getattr(self, method)(ref, **arguments)

    def QueryAgency(self, ref: Any) -> Any:
        return [eam.Agency(moid) for moid in self.agencies]

    def QuerySolutionId(self, ref: Any) -> str:
        return self.agencies[ref._moId]

    def QueryConfig(self, ref: Any) -> Any:
        return eam.Agency.ConfigInfo(agencyName=ref._moId)

    def AgencyQueryRuntime(self, ref: Any) -> Any:
        return eam.EamObject.RuntimeInfo(status=self.status, goalState="enabled", entity=ref)

    def QueryAgent(self, ref: Any) -> Any:
        return [eam.Agent(f"agent-{ref._moId[-1]}{number}") for number in (1, 2)]

    def AgentQueryRuntime(self, ref: Any) -> Any:
        return eam.Agent.RuntimeInfo(
            status=self.status, goalState="enabled", entity=ref, vmPowerState="poweredOn", vmName="x"
        )

    def Resolve(self, ref: Any, issueKey: list[int]) -> list[int]:
        return issueKey[1:]


async def test_only_agencies_of_the_solution_are_given() -> None:
    client = EamClient(FakeEam())
    assert [agency.id for agency in await client.query_agencies("mine")] == ["agency-1"]
    both = await client.query_agencies()
    assert [len(agency.agents) for agency in both] == [2, 2]
    assert await client.resolve(AgencyId("agency-1"), (1, 2)) == (2,)


async def test_an_answer_that_cannot_be_read_is_an_issue_of_its_own() -> None:
    fake = FakeEam()
    fake.fails["AgentQueryRuntime", "agent-12"] = ProtocolError("odd")
    fake.fails["AgencyQueryRuntime", "agency-2"] = ProtocolError("odder")
    first, second = await EamClient(fake).query_agencies()
    assert [agent.status for agent in first.agents] == ["green", "red"]
    assert first.agents[1].issues[0].type == "Unreadable"
    assert (second.status, second.issues[0].type) == ("red", "Unreadable")
    fake.fails["QueryConfig", "agency-1"] = ProtocolError("no configuration")
    with pytest.raises(ProtocolError):
        await EamClient(fake).query_agencies("mine")


async def test_what_vanishes_while_reading_is_left_out() -> None:
    fake = FakeEam()
    fake.fails["QueryConfig", "agency-2"] = NotFound("gone")
    fake.fails["AgentQueryRuntime", "agent-11"] = NotFound("gone")
    (agency,) = await EamClient(fake).query_agencies()
    assert [agent.id for agent in agency.agents] == ["agent-12"]


@pytest.mark.looptime
async def test_a_quiet_estate_costs_one_cheap_call_per_agency() -> None:
    fake = FakeEam()
    client = EamClient(fake, solution_id="mine")
    told: list[tuple[AgencyId, Agency | None, Agency | None]] = []
    client.cache.subscribe(lambda *change: told.append(change))
    client.cache.start()
    await client.cache.ready()
    assert client.cache.healthy
    assert list(client.cache.agencies) == ["agency-1"]
    fake.calls.clear()
    await asyncio.sleep(301)
    once = {"QuerySolutionId": 1, "QueryConfig": 1, "QueryAgent": 1, "AgentQueryRuntime": 2}
    assert fake.calls == {"QueryAgency": 10, "AgencyQueryRuntime": 10, **once}, "one of the ten reads it whole"
    assert client.cache.reads(AgencyId("agency-1")) >= 10, "repetition is evidence"
    assert len(told) >= 11
    await client.cache.stop()


@pytest.mark.looptime
async def test_nudges_and_trouble() -> None:
    fake = FakeEam()
    client = EamClient(fake, solution_id="mine")
    client.cache.start()
    await client.cache.ready()
    fake.calls.clear()
    for _ in range(20):
        client.cache.nudge(AgencyId("agency-1"))
    await asyncio.sleep(2)
    assert fake.calls["QueryConfig"] == 1
    fake.fails["AgencyQueryRuntime", "agency-1"] = Unreachable("EAM is away")
    client.cache.nudge()
    await asyncio.sleep(2)
    assert not client.cache.healthy
    assert "EAM is away" in client.cache.error
    assert client.cache.agencies, "what was read stays"
    fake.fails.clear()
    await asyncio.sleep(60)
    assert client.cache.healthy
    gone: list[Any] = []
    client.cache.subscribe(lambda moid, before, after: gone.append(moid) if after is None else None)
    del fake.agencies["agency-1"]
    client.cache.nudge()
    await asyncio.sleep(2)
    assert gone == ["agency-1"]
    assert not client.cache.agencies
    await client.cache.stop()
