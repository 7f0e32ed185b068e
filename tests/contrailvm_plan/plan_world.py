"""A converged world of plain values, from which each test takes one step away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from contrail_vsphere.contrailvm.desired import (
    Desired,
    Key,
    NicRole,
    OverlayTrunk,
    PackageRef,
    PoolSpec,
    Reservation,
)
from contrail_vsphere.contrailvm.networks import trunk_mark
from contrail_vsphere.contrailvm.observed import Memory, Observed, PackageOffer, VRouterFact, observe
from contrail_vsphere.contrailvm.plan.agency import wanted_config
from contrail_vsphere.contrailvm.plan.cluster import plan
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.records import HostRecord
from contrail_vsphere.contrailvm.rollout.turns import Rollout, RolloutView
from contrail_vsphere.contrailvm.rollout.view import standings
from contrail_vsphere.model.eam import Agency, EsxAgent, Issue, VmHook
from contrail_vsphere.model.ids import (
    AgencyId,
    ClusterId,
    DatacenterId,
    DatastoreId,
    DvsId,
    EsxAgentId,
    HostId,
    NetworkId,
    ResourcePoolId,
    VmId,
)
from contrail_vsphere.model.inventory import Cluster, Datastore, Dvs, Host, Network, Nic, VirtualMachine

SOLUTION = "net.example.contrail"
KEY = Key("dc1", ClusterId("domain-c8"))
T0 = 1_800_000_000.0
OFFER = PackageOffer(
    "1.0.0", "sha256:aa", "https://127.0.0.1:8443/ovf/aa/1.0.0/contrailvm.ovf", "PEM", (("manager_url", "u"),)
)
DESIRED = Desired(
    key=KEY,
    cluster_name="C0",
    package=PackageRef("1.0.0", "sha256:aa"),
    nics=(NicRole("management", NetworkId("network-1")), NicRole("overlay")),
    trunk=OverlayTrunk(DvsId("dvs-1"), "contrailvm-overlay"),
    datastores=(DatastoreId("datastore-1"),),
    datacenter=DatacenterId("datacenter-1"),
    pool=PoolSpec("ContrailVM"),
    reservation=Reservation(cpu_mhz=1000, memory_mb=4096),
)


@dataclass
class Inventory:
    hosts: dict[HostId, Host] = field(default_factory=dict)
    clusters: dict[ClusterId, Cluster] = field(default_factory=dict)
    vms: dict[VmId, VirtualMachine] = field(default_factory=dict)
    datastores: dict[DatastoreId, Datastore] = field(default_factory=dict)
    networks: dict[NetworkId, Network] = field(default_factory=dict)
    dvss: dict[DvsId, Dvs] = field(default_factory=dict)


class World:
    """Mutable on the outside, plain values inside; ``plan()`` judges it as it stands."""

    def __init__(self, hosts: int = 3) -> None:
        self.now = T0
        self.desired: Desired | None = DESIRED
        self.inventory = Inventory()
        self.readings = Readings()
        self.rollout: Rollout | None = None
        self.memory = Memory(pool=ResourcePoolId("resgroup-2"), offer=OFFER)
        names = [f"host-{n}" for n in range(1, hosts + 1)]
        inv = self.inventory
        inv.clusters[KEY.cluster] = Cluster(
            KEY.cluster,
            "C0",
            tuple(HostId(n) for n in names),
            ResourcePoolId("resgroup-1"),
            DatacenterId("datacenter-1"),
        )
        inv.datastores[DatastoreId("datastore-1")] = Datastore(DatastoreId("datastore-1"), "nfs", 10**12, 10**12)
        inv.networks[NetworkId("network-1")] = Network(NetworkId("network-1"), "mgmt")
        inv.dvss[DvsId("dvs-1")] = Dvs(DvsId("dvs-1"), "dvs0", "50 2a", tuple(HostId(n) for n in names))
        inv.networks[NetworkId("dvportgroup-9")] = Network(
            NetworkId("dvportgroup-9"),
            "contrailvm-overlay",
            DvsId("dvs-1"),
            trunk_mark(SOLUTION),
            "1-4094",
            True,
            True,
            False,
            "1",
        )
        agents = []
        vrouters = {}
        for n, name in enumerate(names, 1):
            host = HostId(name)
            inv.hosts[host] = Host(
                host,
                f"esx-{n:02}",
                KEY.cluster,
                "connected",
                "poweredOn",
                False,
                "8.0.3",
                "embeddedEsx",
                (DatastoreId("datastore-1"),),
                (NetworkId("network-1"), NetworkId("dvportgroup-9")),
            )
            self._vm(VmId(f"vm-{n}"), host, on=True)
            agents.append(
                EsxAgent(
                    EsxAgentId(f"agent-{n}"),
                    AgencyId("agency-1"),
                    "green",
                    "enabled",
                    host,
                    VmId(f"vm-{n}"),
                    "poweredOn",
                    True,
                )
            )
            vrouters[host] = VRouterFact(True, True, "", T0 - 5, T0 - 500)
        self.memory = replace(self.memory, vrouters=vrouters)
        config = wanted_config(DESIRED, self.observed(), OFFER)
        self.agency: Agency | None = Agency(
            AgencyId("agency-1"), SOLUTION, config, "green", "enabled", (), tuple(agents)
        )
        self.read(times=3)

    def _vm(self, vm: VmId, host: HostId, *, on: bool) -> None:
        self.inventory.vms[vm] = VirtualMachine(
            vm,
            f"ContrailVM ({vm[3:]})",
            host,
            "poweredOn" if on else "poweredOff",
            "connected",
            f"uuid-{vm}",
            False,
            "green",
            "127.1.0.1",
            (
                Nic(4000, "00:50:56:00:00:01", "VirtualVmxnet3", 7, True, NetworkId("network-1")),
                Nic(4001, "00:50:56:00:00:02", "VirtualVmxnet3", 8, True, NetworkId("dvportgroup-9")),
            ),
            "com.vmware.vim.eam",
            ResourcePoolId("resgroup-2"),
            1000,
            8192,
            4096,
        )

    # -- steps away ---------------------------------------------------------------------------------------------

    def read(self, *, times: int = 1) -> None:
        """EAM is read again, a second apart each time."""
        for _ in range(times):
            self.now += 1
            if self.agency is not None:
                self.readings.read(self.agency, at=self.now)

    def later(self, seconds: float) -> None:
        self.now += seconds

    def host(self, number: int, **changes: Any) -> None:
        host = HostId(f"host-{number}")
        self.inventory.hosts[host] = replace(self.inventory.hosts[host], **changes)

    def vm(self, number: int, **changes: Any) -> None:
        vm = VmId(f"vm-{number}")
        self.inventory.vms[vm] = replace(self.inventory.vms[vm], **changes)

    def agent(self, number: int, **changes: Any) -> None:
        assert self.agency is not None
        agents = list(self.agency.agents)
        agents[number - 1] = replace(agents[number - 1], **changes)
        self.agency = replace(self.agency, agents=tuple(agents))

    def issue(self, number: int, *types: str, reads: int = 2) -> None:
        """The EsxAgent is red with these issues, seen so many times."""
        host = HostId(f"host-{number}")
        issues = tuple(
            Issue(each, 100 + n, agent=EsxAgentId(f"agent-{number}"), host=host) for n, each in enumerate(types)
        )
        self.agent(number, status="red", issues=issues)
        self.read(times=reads)

    def hook(self, number: int, state: Any, *, vm: str = "", reads: int = 1) -> None:
        """EAM waits there; the VM runs or not as it does in that hook."""
        waiting = VmId(vm or f"vm-{number}")
        if waiting in self.inventory.vms:
            power = "poweredOn" if state == "poweredOn" else "poweredOff"
            self.inventory.vms[waiting] = replace(self.inventory.vms[waiting], power=power)
        self.agent(number, status="yellow", hook=VmHook(waiting, state))
        self.read(times=reads)

    def record(self, number: int, **changes: Any) -> None:
        host = HostId(f"host-{number}")
        record = replace(self.memory.hosts.get(host, HostRecord()), **changes)
        self.memory = replace(self.memory, hosts={**self.memory.hosts, host: record})

    def vrouter(self, number: int, *, forwards: bool, synced: bool = True, since: float | None = None) -> None:
        fact = VRouterFact(
            forwards, synced, "" if forwards else "no controller", self.now, since if since else self.now
        )
        self.memory = replace(self.memory, vrouters={**self.memory.vrouters, HostId(f"host-{number}"): fact})

    def desire(self, **changes: Any) -> None:
        assert self.desired is not None
        self.desired = replace(self.desired, **changes)

    # -- judgement ----------------------------------------------------------------------------------------------

    def observed(self) -> Observed:
        found = self._observed()
        if self.rollout is None or self.desired is None:
            return found
        hosts = standings(self.rollout, self.desired, found)
        return replace(found, rollout=RolloutView(self.rollout, hosts, self.now))

    def _observed(self) -> Observed:
        return observe(
            KEY,
            solution_id=SOLUTION,
            now=self.now,
            inventory=self.inventory,
            readings=self.readings.by_id,
            memory=self.memory,
        )

    def plan(self) -> tuple[Any, ...]:
        return plan(self.desired, self.observed())

    def only(self, *kinds: type) -> list[Any]:
        return [action for action in self.plan() if isinstance(action, kinds)]
