"""What is: the views of vCenter and Contrail, the port book and the ledger, seen from one VM or one network.

Holds indexes over the views, kept by the changes they tell of, and no facts of its own but since when something has not
been seen. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from contrail_vsphere.model.contrail import ContrailChange, ContrailVm, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import HostId, NetworkId, VirtualMachineId, VmiId, VnId
from contrail_vsphere.model.inventory import Change, Dvs, Network, VirtualMachine
from contrail_vsphere.model.port_group import is_adopting
from contrail_vsphere.vcenter_plugin.books.index import Index, Names
from contrail_vsphere.vcenter_plugin.books.ledger import Ledger
from contrail_vsphere.vcenter_plugin.books.moves import Moves
from contrail_vsphere.vcenter_plugin.books.port_book import Place, PortBook
from contrail_vsphere.vcenter_plugin.books.records import PortRecord
from contrail_vsphere.vcenter_plugin.desired import (
    EVERYTHING,
    Missing,
    Scope,
    Selection,
    WantedPort,
    host_of,
    instance_of,
    wanted_ports,
)
from contrail_vsphere.vcenter_plugin.doors import ContrailView, GuestDoor, VSphereView
from contrail_vsphere.vcenter_plugin.identity import Identity, PortId, is_ours
from contrail_vsphere.vcenter_plugin.plan.networks import NetworkSight, names_of
from contrail_vsphere.vcenter_plugin.plan.sights import HostSight, MachineSight, PortSight, sleeping_cards, switch_cards


class Observed:
    """Makes sights. ``host`` says how a host is seen, ``holder`` whose a VLAN is there; ``clock`` gives seconds."""

    def __init__(
        self,
        *,
        vsphere: VSphereView,
        contrail: ContrailView,
        guests: GuestDoor,
        book: PortBook,
        ledger: Ledger,
        selection: Selection,
        identity: Identity,
        host: Callable[[HostId], HostSight | None],
        holder: Callable[[HostId, int], PortId | None],
        clock: Callable[[], float],
        scope: Scope = EVERYTHING,
    ) -> None:
        self.scope = scope
        self.vsphere = vsphere
        self.contrail = contrail
        self.guests = guests
        self.book = book
        self.ledger = ledger
        self.selection = selection
        self.identity = identity
        self.index = Index(selection.network_of)
        self._host = host
        self._holder = holder
        self._clock = clock
        self.moves = Moves(clock)
        self._missing_since: dict[PortId | UUID, float] = {}
        self._parting: set[int] = set()
        """Numbers of VMs that were ours when last seen: if they are gone, it is we who clear up."""

    def rebuild(self) -> None:
        """Index everything anew from the views."""
        self.index = Index(self.selection.network_of)
        for vm in self.vsphere.vms.values():
            self.index.vsphere(Change(None, vm))
        for group in self.vsphere.networks.values():
            self.index.vsphere(Change(None, group))
        for vmi in self.contrail.vmis.values():
            self.index.contrail(ContrailChange(None, vmi))
        for iip in self.contrail.instance_ips.values():
            self.index.contrail(ContrailChange(None, iip))

    @property
    def blind(self) -> str:
        """Why absence proves nothing now; empty if it does."""
        if not self.vsphere.healthy:
            return "vCenter does not answer"
        return "" if self.contrail.complete else "the reading of Contrail is not complete"

    def switches(self) -> dict[str, Dvs]:
        """The selected switches in our scope, by uuid."""
        return {uuid: dvs for uuid, dvs in self._selected().items() if self.scope.has(dvs)}

    def _selected(self) -> dict[str, Dvs]:
        return {dvs.uuid: dvs for dvs in self.vsphere.dvss.values() if self.selection.wants_switch(dvs)}

    def serves(self, vm: VirtualMachine) -> bool:
        """Whether the VM is in our scope. One that has no host at the moment stays whose it was."""
        if vm.host is None and self.scope.hosts:
            instance = instance_of(vm)
            return self.scope.ports and instance is not None and self.ledger.knows(instance)
        return self.scope.serves(self.vsphere.hosts.get(vm.host) if vm.host is not None else None)

    def has_business(self, vm: VirtualMachine) -> bool:
        """Whether there may be something of the VM that we have to hand over or clear up."""
        instance = instance_of(vm)
        return instance is not None and (instance.int in self._parting or self.ledger.knows(instance))

    def let_go(self, instance: UUID) -> None:
        """There is nothing to do for the VM: where it is not ours, it need not be followed any more."""
        for each in self.index.vms_of(instance):
            vm = self.vsphere.vms.get(each)
            if vm is not None and not self.serves(vm):
                self.vsphere.release(each)

    # -- keys -------------------------------------------------------------------------------------------------------

    def machines(self) -> set[int]:
        """Every VM that there may be something to do for, by the number of its instance UUID."""
        found = set(self.ledger.machines())
        if self.scope.ports:
            groups = (group for groups in self.index.groups_of.values() for group in groups)
            found |= set(self.index.instances_of(set().union(*(self.index.users_of.get(each, ()) for each in groups))))
        if self.scope.networks:
            found |= {vm.uuid.int for vm in self.contrail.vms.values() if self.is_mine(vm)}
        return found

    def networks(self) -> set[VnId]:
        """Every network that has, or should have, port groups."""
        if not self.scope.networks:
            return set()
        if self.selection.by_name:
            return {network for network in self.index.groups_of if network in self.contrail.networks}
        return set(self.index.groups_of) | {
            network.uuid for network in self.contrail.networks.values() if self.selection.wants(network)
        }

    def machines_on(self, group: NetworkId) -> set[UUID]:
        """Instance UUIDs of the VMs with a card in a port group."""
        found = set()
        for vm in self.index.users_of.get(group, ()):
            value = self.vsphere.vms.get(vm)
            instance = instance_of(value) if value is not None else None
            if instance is not None:
                found.add(instance)
        return found

    def machines_in(self, network: VnId) -> set[UUID]:
        """The same for all port groups of a network."""
        return {vm for group in self.index.groups_of.get(network, ()) for vm in self.machines_on(group)}

    # -- sights -----------------------------------------------------------------------------------------------------

    def network(self, network: VnId) -> NetworkSight:
        """One network, with its port groups."""
        value = self.contrail.networks.get(network)
        others = {dvs.id for dvs in self._selected().values() if not self.scope.has(dvs)}
        marked = (self.vsphere.networks[group] for group in self.index.groups_of.get(network, ()))
        groups = [group for group in marked if group.dvs not in others]
        users = {group.id: Names(self.vsphere.vms, self.index.users_of.get(group.id, ())) for group in groups}
        exposed = {group.id: self._exposed(group) for group in groups if is_adopting(group)}
        return NetworkSight(
            id=network,
            network=value if value is not None and self.selection.wants(value) else None,
            switches=tuple(self.switches().values()),
            groups=groups,
            names=names_of(self.vsphere.networks.values(), self.vsphere.dvss),
            users=users,
            exposed=exposed,
            exists=value is not None,
            orphans=() if groups else tuple(self._orphans()),
        )

    def _orphans(self) -> Iterable[Network]:
        for network, groups in self.index.groups_of.items():
            if network not in self.contrail.networks:
                yield from (self.vsphere.networks[group] for group in sorted(groups))

    def _exposed(self, group: Network) -> tuple[str, ...]:
        """Running VMs that would be cut off if the port group were closed by default."""
        free = {
            (port.vm, port.nic)
            for port in self.book.ports()
            if port.group == group.id and port.vlan and port.blocked is False
        }
        users = (self.vsphere.vms.get(vm) for vm in self.index.users_of.get(group.id, ()))
        return tuple(
            vm.name
            for vm in users
            if vm is not None
            and vm.power != "poweredOff"
            and any(nic.network == group.id and nic.connected and (vm.id, nic.key) not in free for nic in vm.nics)
        )

    def machine(self, instance: UUID) -> MachineSight | None:
        """One VM; None when nothing of it is left anywhere, or it is another plugin's."""
        vms = self._vms(instance)
        vm = vms[0] if vms else None
        wanted, missing = self._wanted(vm)
        elsewhere = self._elsewhere(vm, {*wanted, *missing})
        if not self._concerns(instance, vm, here=bool(wanted or missing), elsewhere=bool(elsewhere)):
            self._seen(instance)
            return None
        ports = tuple(self._ports(instance, wanted, missing, elsewhere))
        destination, destination_for = self._destination(vm) if wanted else (None, 0.0)
        contrail_vm = self.contrail.vms.get(self.identity.vm(instance))
        vmis = set(self.index.vmis_of(VirtualMachineId(instance)))
        if contrail_vm is not None and not self.is_mine(contrail_vm) and not ports:
            contrail_vm = None
        if not ports and contrail_vm is None:
            self._seen(instance)
            self._parting.discard(instance.int)
            return None
        if wanted or missing:
            self._seen(instance)
        return MachineSight(
            id=instance,
            name=vm.name if vm is not None else contrail_vm.display_name if contrail_vm is not None else "",
            ports=ports,
            contrail_vm=contrail_vm,
            other_vmis=bool(vmis - {port.vmi.uuid for port in ports if port.vmi is not None}),
            hosts=self._hosts(ports, destination),
            gone_for=0.0 if wanted or missing else self._gone_for(instance),
            blind=self.blind,
            twins=tuple(twin.name for twin in vms[1:]),
            destination=destination,
            destination_for=destination_for,
            abroad=self.moves.taken(vm.id, vm.host) if vm is not None and wanted else None,
            cards=tuple(switch_cards(each) for each in vms),
            asleep=frozenset(card for each in vms for card in sleeping_cards(each)),
        )

    def _vms(self, instance: UUID) -> list[VirtualMachine]:
        """The VM, and others that claim to be the same."""
        found = (self.vsphere.vms.get(vm) for vm in sorted(self.index.vms_of(instance)))
        return [vm for vm in found if vm is not None]

    def _wanted(self, vm: VirtualMachine | None) -> tuple[dict[PortId, WantedPort], Mapping[PortId, Missing]]:
        if vm is None or not self.serves(vm):
            return {}, {}
        wanted, missing = wanted_ports(
            vm,
            groups=self.vsphere.networks,
            networks=self.contrail.networks,
            switches=self.switches(),
            selection=self.selection,
        )
        return {port.id: self._with_addresses(port) for port in wanted}, missing

    def _with_addresses(self, port: WantedPort) -> WantedPort:
        """Where guests bring their own addresses, with those that this one has."""
        network = self.contrail.networks.get(port.network)
        if network is None or not network.external_ipam:
            return port
        return replace(port, addresses=self.guests.of(port.vm).get(port.id.nic, ()))

    def _elsewhere(self, vm: VirtualMachine | None, here: Collection[PortId]) -> dict[PortId, WantedPort]:
        """Cards that are in networks of Contrail, but another plugin's."""
        if vm is None or (self.scope.whole and self.scope.switches == ("*",)):
            return {}
        wanted, _ = wanted_ports(
            vm,
            groups=self.vsphere.networks,
            networks=self.contrail.networks,
            switches=self._selected(),
            selection=self.selection,
        )
        return {port.id: port for port in wanted if port.id not in here}

    def _concerns(self, instance: UUID, vm: VirtualMachine | None, *, here: bool, elsewhere: bool) -> bool:
        if here or self.ledger.knows(instance):
            self._parting.add(instance.int)
            return True
        if vm is None:
            return self.scope.networks or instance.int in self._parting
        self._parting.discard(instance.int)
        return not elsewhere and self.serves(vm)

    def _ports(
        self,
        instance: UUID,
        wanted: Mapping[PortId, WantedPort],
        missing: Mapping[PortId, Missing],
        elsewhere: Mapping[PortId, WantedPort],
    ) -> Iterable[PortSight]:
        """Cards that are there, those that only the ledger knows, and interfaces that nothing stands behind."""
        records = {record.id: record for record in self.ledger.of_vm(instance)}
        vmis = {
            vmi.uuid: vmi
            for uuid in self.index.vmis_of(VirtualMachineId(instance))
            if (vmi := self.contrail.vmis.get(uuid)) is not None
        }
        for port in sorted({*wanted, *missing, *records}):
            record, want, lack = records.get(port), wanted.get(port), missing.get(port)
            vmi = self._vmi_of(port, want, record.vmi if record is not None else None, vmis)
            if vmi is not None:
                vmis.pop(vmi.uuid, None)
            here = want is not None or (lack is not None and not lack.lost)
            if here:
                self._seen(port)
            place = _place(want, lack, record)
            dv = self.book.get(*place) if place else None
            at = host_of(dv, self.vsphere.vms) if dv is not None else None
            left, doubtful = self._left(want, record)
            yield PortSight(
                id=port,
                wanted=want,
                missing=lack.reason if lack is not None else "",
                lost=lack is not None and lack.lost,
                place=place,
                dv=dv,
                fresh=self.book.is_fresh(*place) if place else False,
                left=left,
                left_doubtful=doubtful,
                at=at,
                taken=dv is not None and self._is_taken(port, dv.vlan, at),
                record=record,
                vmi=vmi,
                iips=self._iips(vmi),
                iip_taken=want is not None and self._iip_taken(vmi, want),
                network=self._network(want),
                gone_for=0.0 if here else self._gone_for(port),
                rivals=self._rivals(vmi, want),
                elsewhere=elsewhere.get(port),
            )
        for vmi in vmis.values():
            nic = vmi.annotations.get("nic", "")
            if self.is_mine(vmi) and nic.isascii() and nic.isdigit():
                port = PortId(instance, int(nic))
                if port in elsewhere:
                    continue
                yield PortSight(id=port, vmi=vmi, iips=self._iips(vmi), gone_for=self._gone_for(port))

    def _left(self, want: WantedPort | None, record: PortRecord | None) -> tuple[DvPort | None, bool]:
        """The DVPort that a card had before it got another, and whether it may differ from what we believe."""
        if want is None or record is None or not record.key or (record.dvs, record.key) == (want.dvs, want.key):
            return None, False
        left = self.book.get(record.dvs, record.key)
        written = left is not None and not left.version
        return left, written or not self.book.is_fresh(record.dvs, record.key)

    def _is_taken(self, port: PortId, vlan: int | None, host: HostId | None) -> bool:
        """Whether the VLAN that its DVPort shows is another port's there."""
        return bool(vlan) and host is not None and self._holder(host, vlan or 0) not in (None, port)

    def _vmi_of(
        self, port: PortId, wanted: WantedPort | None, recorded: VmiId | None, vmis: Mapping[VmiId, Vmi]
    ) -> Vmi | None:
        """The one remembered, the one derived, else one that fits by network and address: to be adopted."""
        known = self.contrail.vmis.get(recorded) if recorded is not None else None
        if known is not None or wanted is None:
            return known
        derived = self.contrail.vmis.get(self.identity.vmi(port, wanted.mac))
        if derived is not None:
            return derived
        fitting = (vmi for vmi in vmis.values() if vmi.network == wanted.network and wanted.mac in vmi.macs)
        return min(fitting, key=lambda vmi: str(vmi.uuid), default=None)

    def _rivals(self, vmi: Vmi | None, wanted: WantedPort | None) -> tuple[VmiId, ...]:
        """Interfaces of other VMs or cards with the same MAC address in the same network."""
        if wanted is None:
            return ()
        own = vmi.uuid if vmi is not None else None
        others = [other for other in self.index.vmis_with(wanted.mac) if other != own]
        values = [self.contrail.vmis.get(other) for other in sorted(others)]
        return tuple(value.uuid for value in values if value is not None and value.network == wanted.network)

    def _iip_taken(self, vmi: Vmi | None, wanted: WantedPort) -> bool:
        if self.identity.scheme == "native":
            return False
        network, machine = self.contrail.networks.get(wanted.network), self.vsphere.vms.get(wanted.vm)
        if network is None or machine is None:
            return False
        own = vmi.uuid if vmi is not None else self.identity.vmi(wanted.id, wanted.mac)
        found = self.contrail.instance_ips.get(self.identity.iip(own, 0, network=network.fq_name[-1], vm=machine.name))
        return found is not None and own not in found.vmis

    def _iips(self, vmi: Vmi | None) -> tuple[InstanceIp, ...]:
        return self.addresses_of(vmi.uuid) if vmi is not None else ()

    def addresses_of(self, vmi: VmiId) -> tuple[InstanceIp, ...]:
        """Instance IPs of an interface, by uuid."""
        found = (self.contrail.instance_ips.get(iip) for iip in self.index.iips_of(vmi))
        return tuple(iip for iip in found if iip is not None)

    def _network(self, wanted: WantedPort | None) -> VirtualNetwork | None:
        return self.contrail.networks.get(wanted.network) if wanted is not None else None

    def _destination(self, vm: VirtualMachine | None) -> tuple[HostId | None, float]:
        """Where the VM goes, if its ports are ours there too, and how long that is believed."""
        going = self.moves.destination(vm.id, vm.host) if vm is not None else None
        if going is None or not self.scope.serves(self.vsphere.hosts.get(going[0])):
            return None, 0.0
        return going

    def _hosts(self, ports: Iterable[PortSight], destination: HostId | None) -> dict[HostId, HostSight]:
        ids = {port.wanted.host for port in ports if port.wanted is not None and port.wanted.host is not None}
        ids |= {plug.host for port in ports if port.record is not None for plug in port.record.plugs}
        ids |= {destination} if destination is not None else set()
        return {host: sight for host in ids if (sight := self._host(host)) is not None}

    def is_mine(self, value: ContrailVm | Vmi) -> bool:
        """Whether we made it, or took it over, for this vCenter."""
        return is_ours(value, self.identity)

    def _gone_for(self, key: PortId | UUID) -> float:
        now = self._clock()
        return now - self._missing_since.setdefault(key, now)

    def _seen(self, key: PortId | UUID) -> None:
        self._missing_since.pop(key, None)


def _place(wanted: WantedPort | None, missing: Missing | None, record: PortRecord | None) -> Place | None:
    """The DVPort that a card has, else the one that it had when something was last done for it."""
    if wanted is not None:
        return wanted.dvs, wanted.key
    if missing is not None and missing.dvs is not None and missing.key:
        return missing.dvs, missing.key
    return (record.dvs, record.key) if record is not None and record.key else None
