"""Real Neutron on real MariaDB, a simulated vCenter over TLS in the test's own loop, and workers as processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import openstack
from pyVmomi import vim
from real_neutron import RealNeutron

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.oracle import Frame, Verdict, VmNic, verdict
from contrail_vsphere.simulator.simulator import VCenterSimulator
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.dvs_ports import in_force
from contrail_vsphere.simulator.vcenter.dvs_settings import rules
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.vsphere.vcenter import Endpoint, PasswordLogin, VCenter
from contrail_vsphere.wire.soap.types import vim as wire_vim
from contrail_vsphere.wire.soap.values import reference

HOST, OTHER, BOOKED = "compute-a", "compute-b", "compute-k"
SETTINGS = {
    "DEFAULT": {"service_plugins": "router,qos,trunk"},
    "ml2": {"extension_drivers": "port_security,qos"},
    "vmware_dvs": {"vcenters": "vC1,vC2", "cloud_id": "test-cloud"},
    "vmware_dvs:vC1": {"host_map": f"{HOST}:cluster-0,{OTHER}:cluster-1", "switch_map": "physnet1:dvs0"},
    "vmware_dvs:vC2": {"host_map": f"{BOOKED}:cluster-0", "switch_map": "physnet1:dvs0", "binding_mode": "key"},
}
"""Ports of vC2 are booked by key."""
TCP = 6


class NeutronStand:
    """``async with`` it. Calls to Neutron run in threads, so that the simulated vCenter goes on meanwhile."""

    def __init__(
        self, directory: Path, neutron: RealNeutron, *, vms: int = 40, vcenter: str = "vC1", connected: bool = True
    ):
        self._connected = connected
        self.directory, self.neutron, self.name = directory, neutron, vcenter
        self.vcenter = VCenterSimulator(hosts=2, vms=vms, timing=Timing.instant(), guests=False)
        self.workers: list[asyncio.subprocess.Process] = []
        self.network_api: Any = None
        self._free: list[VirtualMachine] = []

    async def __aenter__(self) -> NeutronStand:
        await self.vcenter.start()
        ready = self.vcenter.ready
        host, _, port = ready["url"].removeprefix("https://").removesuffix("/sdk").rpartition(":")
        secret = self.directory / "password"
        secret.write_text(ready["password"] + "\n")
        self.ini = self.directory / f"{self.name}.ini"
        self.ini.write_text(
            f"[ml2_vmware]\nvcenter = {self.name}\nvsphere_hostname = {host}\nhost_port = {port}\n"
            f"vsphere_login = {ready['username']}\nvsphere_password_file = {secret}\nca_file = {ready['ca_file']}\n"
            "lease_seconds = 4\n"
        )
        self.client = VCenter(
            Endpoint(host, int(port), ca_file=ready["ca_file"]), PasswordLogin(ready["username"], ready["password"])
        )
        await self.client.__aenter__()
        await self._cable()
        self._free = list(self.vcenter.scenario.vms())
        if self._connected:
            await self.connect()
        return self

    async def connect(self) -> None:
        """Neutron answers by now."""
        await asyncio.to_thread(self._connect)

    async def _cable(self) -> None:
        """Give every host an uplink: frames between hosts need one."""
        member = vim.dvs.HostMember
        backing = member.PnicBacking(pnicSpec=[member.PnicSpec(pnicDevice="vmnic1")])
        edits = [
            member.ConfigSpec(operation="edit", host=vim.HostSystem(moid), backing=backing) for moid in self.dvs.members
        ]
        spec = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(configVersion=str(self.dvs.config_version), host=edits)
        await self.client.run_task(
            reference(wire_vim.dvs.VmwareDistributedVirtualSwitch, self.dvs.moid), "ReconfigureDvs_Task", spec=spec
        )

    def _connect(self) -> None:
        cloud = openstack.connection.Connection(
            auth_type="none", auth={"endpoint": self.neutron.url}, network_endpoint_override=self.neutron.url
        )
        self.network_api = cloud.network

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.returncode is None:
                worker.terminate()
                try:
                    await asyncio.wait_for(worker.wait(), 15)
                except TimeoutError:
                    worker.kill()
                    await worker.wait()
        await self.client.close()
        await self.vcenter.stop()

    # -- Neutron ------------------------------------------------------------------------------------------------

    async def api(self, method: str, *args: Any, **fields: Any) -> Any:
        return await asyncio.to_thread(getattr(self.network_api, method), *args, **fields)

    async def network(self, name: str, cidr: str = "10.0.0.0/24", **fields: Any) -> Any:
        made = await self.api("create_network", name=name, project_id="tenant", **fields)
        version = 6 if ":" in cidr else 4
        await self.api("create_subnet", network_id=made.id, cidr=cidr, ip_version=version, project_id="tenant")
        return made

    async def port(self, network: Any, *, host: str = HOST, **fields: Any) -> Any:
        return await self.api(
            "create_port", network_id=network.id, project_id="tenant", device_owner="compute:nova",
            binding_host_id=host, **fields,
        )  # fmt: skip

    async def group(self, name: str) -> Any:
        return await self.api("create_security_group", name=name, project_id="tenant")

    async def allow(self, group: Any, **fields: Any) -> Any:
        rule = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", **fields}
        return await self.api("create_security_group_rule", security_group_id=group.id, project_id="tenant", **rule)

    async def status(self, port: Any) -> str:
        return (await self.api("get_port", port.id)).status

    async def api_list(self, what: str, *arguments: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(getattr(self.network_api, what)(*arguments)))

    @property
    def free_vms(self) -> list[VirtualMachine]:
        return self._free

    # -- workers ------------------------------------------------------------------------------------------------

    async def start_worker(self, *more: str) -> asyncio.subprocess.Process:
        log = (self.directory / f"worker-{len(self.workers)}.log").open("wb")
        with log:
            worker = await asyncio.create_subprocess_exec(
                str(Path(sys.prefix) / "bin/contrail-vsphere"), "neutron", "worker",
                *self.settings_files, "--heartbeat", str(self.heartbeat), *more,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    @property
    def heartbeat(self) -> Path:
        return self.directory / "heartbeat"

    def state(self) -> dict[str, Any]:
        """What the worker last said of itself."""
        return json.loads(self.heartbeat.read_text()) if self.heartbeat.exists() else {}

    async def look_again(self) -> None:
        """What ``neutron resync`` writes, without the seconds that loading Neutron takes a command."""
        await asyncio.to_thread(self.neutron.execute, f"""
            INSERT INTO vmware_dvs_journal (vcenter, kind, object_id, request_id, state, attempts, reason, created_at)
            VALUES ('{self.name}', 'everything', '', '', 'pending', 0, '', UTC_TIMESTAMP())
        """)  # fmt: skip

    async def looked_again(self) -> None:
        """The worker has read everything anew and knows it; it has nothing to do after that."""
        await self.look_again()
        statement = f"SELECT COUNT(*) FROM vmware_dvs_journal WHERE vcenter = '{self.name}' AND kind = 'everything'"

        async def done() -> bool:
            return await asyncio.to_thread(self.neutron.execute, statement) == [(0,)]

        await self.until(done, "the worker has looked at everything")

    async def kill(self, worker: asyncio.subprocess.Process) -> None:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()

    async def command(self, verb: str, *arguments: str) -> Any:
        """``contrail-vsphere neutron VERB ... --json``, as an operator types it."""
        program = str(Path(sys.prefix) / "bin/contrail-vsphere")
        process = await asyncio.create_subprocess_exec(
            program, "neutron", verb, *self.settings_files, *arguments, "--json", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, words = await process.communicate()
        assert process.returncode == 0, words.decode()
        assert not words, words.decode()  # an operator is told nothing but what the command has to say
        return json.loads(said)

    @property
    def settings_files(self) -> list[str]:
        return ["--config-file", str(self.neutron.config), "--config-file", str(self.ini)]

    def log(self, number: int = -1) -> str:
        """What a worker said of its own work."""
        names = sorted(self.directory.glob("worker-*.log"))
        lines = names[number].read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if " INFO neutron." not in line)[-4000:]

    def log_about(self, ids: list[str]) -> str:
        """What all workers said of these objects."""
        names = sorted(self.directory.glob("worker-*.log"))
        lines = [line for name in names for line in name.read_text(errors="replace").splitlines()]
        return "\n".join(line for line in lines if any(each in line for each in ids))[-8000:]

    async def until(self, holds: Any, what: str, seconds: float = 90.0) -> Any:
        """What ``holds`` gives, once it gives something."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = holds()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return found
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not in {seconds:g} s: {what}\n{self.log() if self.workers else ''}") from None

    async def active(self, port: Any) -> None:
        async def is_active() -> bool:
            return await self.status(port) == "ACTIVE"

        await self.until(is_active, f"port {port.id} is ACTIVE")

    # -- vCenter ------------------------------------------------------------------------------------------------

    @property
    def dvs(self) -> DistributedVirtualSwitch:
        return next(each for each in self.vcenter.world.objects.values() if isinstance(each, DistributedVirtualSwitch))

    def port_group(self, network: Any) -> DistributedVirtualPortgroup | None:
        return next((group for group in self.dvs.portgroups if network.id in group.name), None)

    async def port_group_of(self, network: Any) -> DistributedVirtualPortgroup:
        return await self.until(lambda: self.port_group(network), f"port group of {network.name}")

    async def boot(self, port: Any) -> VmNic:
        """Plug the port into a VM as nova does: backing from ``vif_details``, the port's MAC address."""

        async def backing_of() -> Any:
            # A port that was bound before its port group was known gets its keys a moment later.
            found = (await self.api("get_port", port.id)).binding_vif_details or {}
            return found if {"dvs_id", "pg_id"} <= found.keys() else None

        details = port.binding_vif_details or {}
        if not {"dvs_id", "pg_id"} <= details.keys():
            details = await self.until(backing_of, f"port {port.id} names its port group")
        connection = vim.dvs.PortConnection(
            switchUuid=details["dvs_id"], portgroupKey=details["pg_id"], portKey=details.get("dvs_port_key")
        )
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=-1, addressType="manual", macAddress=port.mac_address, backing=backing)
        vm = self._free.pop()
        await self.reconfigure(vm, vim.vm.device.VirtualDeviceSpec(operation="add", device=card))
        return VmNic(vm, vm.nics[-1].key)

    async def unplug(self, nic: VmNic) -> None:
        card = vim.vm.device.VirtualVmxnet3(key=nic.key)
        await self.reconfigure(nic.vm, vim.vm.device.VirtualDeviceSpec(operation="remove", device=card))
        self._free.append(nic.vm)

    async def replug(self, nic: VmNic) -> None:
        """To another free DVPort of the same port group; nothing happens where there is none."""
        group = nic.state.network
        free = [port.key for port in self.dvs.ports.ports.values() if port.group is group and port.vm is None]
        if not free:
            return
        connection = vim.dvs.PortConnection(switchUuid=self.dvs.uuid, portgroupKey=group.moid, portKey=free[-1])
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        card = vim.vm.device.VirtualVmxnet3(key=nic.key, backing=backing)
        await self.reconfigure(nic.vm, vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))

    async def reconfigure(self, vm: VirtualMachine, change: Any) -> None:
        spec = vim.vm.ConfigSpec(deviceChange=[change])
        await self.client.run_task(reference(wire_vim.VirtualMachine, vm.moid), "ReconfigVM_Task", spec=spec)

    def dv_port(self, nic: VmNic) -> Any:
        return self.dvs.ports.get(nic.state.port_key)

    def rules(self, nic: VmNic) -> list[Any]:
        return rules(in_force(self.dv_port(nic)))

    def ask(self, source: VmNic, target: VmNic, **fields: Any) -> Verdict:
        frame = Frame(source_mac=source.state.mac, destination_mac=target.state.mac, **fields)
        return verdict(self.vcenter.world, {}, source, target, frame)

    async def counted(self) -> dict[str, int]:
        """Calls of ports' methods so far, once the worker has nothing to do: it looks into its journal every second."""
        while True:
            before = self.calls()
            await asyncio.sleep(1.3)
            if (after := self.calls()) == before:
                return {name: after.get(name, 0) for name in ("FetchDVPorts", "ReconfigureDVPort_Task")}

    def calls(self) -> dict[str, int]:
        return dict(self.vcenter.scenario.stats()["calls"])
