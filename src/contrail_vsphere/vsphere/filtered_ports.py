"""Port groups and DVPorts that carry filter rules: many are read in one call, and changed in one task.

Optimistic locking is as in ``dvports``: an edit names the version that was read, so that rules meant for one card are
never written to a port that another card has taken in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from contrail_vsphere.model.errors import Conflict, ContrailVsphereError, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId
from contrail_vsphere.model.inventory import Network
from contrail_vsphere.model.traffic_filter import (
    CLOSED,
    FilteredGroupSpec,
    FilteredPort,
    FilteredPortEdit,
    PortRange,
    Shaping,
)
from contrail_vsphere.vsphere.reader import read_properties
from contrail_vsphere.vsphere.traffic_rules import filter_keys, filter_policy, rules_of
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

PORTS_PER_TASK = 64
"""Ports of one ReconfigureDVPort_Task: each may carry hundreds of rules, which vCenter pushes to the hosts."""
KEYS_PER_CALL = 1000
TASK_DEADLINE = 120.0
MARK = "vmware-dvs.segment"
"""Key of the blob in a port group's ``vendorSpecificConfig`` that says whose it is."""

_DVS = vim.dvs.VmwareDistributedVirtualSwitch
_GROUP = vim.dvs.DistributedVirtualPortgroup
_PORT = vim.dvs.DistributedVirtualPort


class FilteredPorts:
    """Of one vCenter; every method raises errors of ``model.errors``."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    # -- port groups --------------------------------------------------------------------------------------------

    async def create(self, dvs: DvsId, specs: Sequence[FilteredGroupSpec]) -> None:
        """Make them in one task, all or none. AlreadyExists when a name is taken."""
        await self._vcenter.run_task(
            reference(_DVS, dvs), "AddDVPortgroup_Task", spec=[_group_config(spec) for spec in specs]
        )

    async def mark_of(self, dvs: DvsId, name: str) -> str:
        """The mark of the switch's port group with that name, as vCenter has it now; empty where there is none.

        Reads all port groups of the switch: for when a name turns out to be taken.
        """
        found = await self._vcenter.read(reference(_DVS, dvs), "portgroup")
        paths = ("name", "config.vendorSpecificConfig")
        groups = await read_properties(self._vcenter.session, found.get("portgroup") or (), *paths)
        blobs = next((each.get(paths[1]) or () for each in groups.values() if each.get("name") == name), ())
        return next((str(blob.opaqueData) for blob in blobs if blob.key == MARK), "")

    async def repair(self, group: Network, spec: FilteredGroupSpec) -> None:
        """Everything as it must be, except the name. Conflict when somebody else changed it meanwhile."""
        config = _group_config(spec, filters=group.filters)
        config.configVersion = group.config_version or None
        await self._vcenter.run_task(reference(_GROUP, group.id), "ReconfigureDVPortgroup_Task", spec=config)

    async def mark(self, group: Network, mark: str) -> None:
        """Say whose a port group is, and nothing else of it."""
        blob = build(vim.dvs.KeyedOpaqueBlob, key=MARK, opaqueData=mark)
        config = build(_GROUP.ConfigSpec, configVersion=group.config_version or None, vendorSpecificConfig=[blob])
        await self._vcenter.run_task(reference(_GROUP, group.id), "ReconfigureDVPortgroup_Task", spec=config)

    async def grow(self, group: Network, ports: int) -> None:
        """Let the group have so many ports."""
        config = build(_GROUP.ConfigSpec, configVersion=group.config_version or None, numPorts=ports)
        await self._vcenter.run_task(reference(_GROUP, group.id), "ReconfigureDVPortgroup_Task", spec=config)

    async def largest_mtu(self, dvs: DvsId) -> int:
        """What the switch carries at most; 0 where it does not say."""
        found = await self._vcenter.read(reference(_DVS, dvs), "config.maxMtu")
        return int(found.get("config.maxMtu") or 0)

    async def destroy(self, group: NetworkId) -> None:
        """Busy (ResourceInUse) while a port of it is connected."""
        await self._vcenter.run_task(reference(_GROUP, group), "Destroy_Task")

    # -- ports --------------------------------------------------------------------------------------------------

    async def of_groups(self, dvs: DvsId, groups: Collection[NetworkId]) -> tuple[FilteredPort, ...]:
        """All ports of these port groups, connected or not; none without a group."""
        if not groups:
            return ()
        # portgroupKey is ignored unless "inside" is set.
        return await self.fetch(dvs, build(vim.dvs.PortCriteria, inside=True, portgroupKey=sorted(groups)))

    async def of_keys(self, dvs: DvsId, keys: Sequence[str]) -> tuple[FilteredPort, ...]:
        """These ports; those that do not exist (any more) are left out."""
        found: list[FilteredPort] = []
        for at in range(0, len(keys), KEYS_PER_CALL):
            found += await self.fetch(dvs, build(vim.dvs.PortCriteria, portKey=list(keys[at : at + KEYS_PER_CALL])))
        return tuple(found)

    async def edit(self, dvs: DvsId, edits: Sequence[FilteredPortEdit]) -> tuple[ContrailVsphereError | None, ...]:
        """Change at most ``PORTS_PER_TASK`` ports in one task; an error, or None, for each.

        A task is all or nothing: where vCenter refuses it, the ports whose version is stale or that are gone are left
        out, and of the others halves are tried, so that one bad port or rule does not stop the rest.
        """
        try:
            await self.reconfigure(dvs, edits)
        except (Conflict, NotFound) as error:
            if len(edits) == 1:
                return (error,)
            return await self._edit_those_that_fit(dvs, edits)
        except ContrailVsphereError as error:
            if len(edits) == 1 or not _may_be_one_of_them(error):
                return (error,) * len(edits)
            middle = len(edits) // 2
            return (*await self.edit(dvs, edits[:middle]), *await self.edit(dvs, edits[middle:]))
        return (None,) * len(edits)

    async def _edit_those_that_fit(
        self, dvs: DvsId, edits: Sequence[FilteredPortEdit]
    ) -> tuple[ContrailVsphereError | None, ...]:
        present = {port.key: port.version for port in await self.of_keys(dvs, [edit.key for edit in edits])}
        answers: dict[str, ContrailVsphereError | None] = {}
        fit = []
        for edit in edits:
            if edit.key not in present:
                answers[edit.key] = NotFound(f"port {edit.key} of {dvs} is gone")
            elif edit.version != present[edit.key]:
                answers[edit.key] = Conflict(f"port {edit.key} of {dvs} was changed by somebody else")
            else:
                fit.append(edit)
        if len(fit) == len(edits):
            middle = len(fit) // 2  # everything fits now: the conflict was over while we looked
            halves = (*await self.edit(dvs, fit[:middle]), *await self.edit(dvs, fit[middle:]))
        else:
            halves = await self.edit(dvs, fit) if fit else ()
        answers |= {edit.key: error for edit, error in zip(fit, halves, strict=True)}
        return tuple(answers[edit.key] for edit in edits)

    async def reconfigure(self, dvs: DvsId, edits: Sequence[FilteredPortEdit]) -> None:
        """One task, all of them or none. Conflict when one version is stale, NotFound when one port is gone."""
        await self._vcenter.run_task(
            reference(_DVS, dvs),
            "ReconfigureDVPort_Task",
            port=[_port_config(edit) for edit in edits],
            deadline=TASK_DEADLINE,
        )

    async def fetch(self, dvs: DvsId, criteria: Any) -> tuple[FilteredPort, ...]:
        """One FetchDVPorts; ``criteria``: a ``DistributedVirtualSwitchPortCriteria``."""
        ports = await self._vcenter.call(reference(_DVS, dvs), "FetchDVPorts", criteria=criteria, deadline=120.0)
        return tuple(_port_value(dvs, port) for port in ports or ())


def _may_be_one_of_them(error: ContrailVsphereError) -> bool:
    """Whether fewer ports may succeed; not so when vCenter is away or the account lacks a privilege."""
    return isinstance(error, InvalidArgument | InvalidState)


def _group_config(spec: FilteredGroupSpec, *, filters: tuple[str, ...] | None = None) -> Any:
    """``filters``: keys of what the port group has; None for one that does not exist yet."""
    policy = build(
        _DVS.VMwarePortgroupPolicy,
        blockOverrideAllowed=True,
        trafficFilterOverrideAllowed=True,
        macManagementOverrideAllowed=True,
        shapingOverrideAllowed=True,
        # A port that a card has left is closed again. One that is booked keeps what was written for the card to come.
        portConfigResetAtDisconnect=not spec.fixed_ports,
        vlanOverrideAllowed=True,
        # Required by the type; what a new port group has.
        vendorConfigOverrideAllowed=False,
        livePortMovingAllowed=False,
        uplinkTeamingOverrideAllowed=False,
        securityPolicyOverrideAllowed=True,
    )
    setting = build(
        _DVS.VmwarePortConfigPolicy,
        vlan=build(_DVS.VlanIdSpec, inherited=False, vlanId=spec.vlan),
        blocked=build(vim.BoolPolicy, inherited=False, value=spec.blocked),
        macManagementPolicy=_mac_policy(forged=False),
        filterPolicy=filter_policy(CLOSED if spec.filtered else (), filters or ()),
    )
    config = build(
        _GROUP.ConfigSpec,
        description=spec.description,
        autoExpand=not spec.fixed_ports,
        policy=policy,
        defaultPortConfig=setting,
        vendorSpecificConfig=[build(vim.dvs.KeyedOpaqueBlob, key=MARK, opaqueData=spec.mark)],
    )
    if filters is None:
        config.name, config.type, config.numPorts = spec.name, "earlyBinding", spec.fixed_ports or 8
    return config


def _mac_policy(*, forged: bool | None) -> Any:
    return build(
        _DVS.MacManagementPolicy,
        inherited=forged is None,
        allowPromiscuous=None if forged is None else False,
        macChanges=None if forged is None else False,
        forgedTransmits=forged,
    )


def _port_config(edit: FilteredPortEdit) -> Any:
    return build(
        _PORT.ConfigSpec,
        operation="edit",
        key=edit.key,
        configVersion=edit.version or None,
        name=edit.name,
        setting=build(
            _DVS.VmwarePortConfigPolicy,
            blocked=build(vim.BoolPolicy, inherited=edit.blocked is None, value=edit.blocked),
            macManagementPolicy=_mac_policy(forged=edit.forged_transmits),
            # What is not set stays as it is.
            filterPolicy=None if edit.filter_stays else filter_policy(edit.rules, edit.filters),
            # From the switch's side: in is what the VM sends.
            inShapingPolicy=_shaping_policy(edit.from_vm),
            outShapingPolicy=_shaping_policy(edit.to_vm),
            vlan=_vlan_policy(edit.trunk),
        ),
    )


def _shaping_policy(limit: Shaping | None) -> Any:
    if limit is None:
        return build(_PORT.TrafficShapingPolicy, inherited=True)
    return build(
        _PORT.TrafficShapingPolicy,
        inherited=False,
        enabled=build(vim.BoolPolicy, inherited=False, value=True),
        averageBandwidth=build(vim.LongPolicy, inherited=False, value=limit.average),
        peakBandwidth=build(vim.LongPolicy, inherited=False, value=limit.peak),
        burstSize=build(vim.LongPolicy, inherited=False, value=limit.burst),
    )


def _vlan_policy(trunk: tuple[PortRange, ...] | None) -> Any:
    if trunk is None:
        return build(_DVS.VlanIdSpec, inherited=True, vlanId=0)
    ranges = [build(vim.NumericRange, start=first, end=last) for first, last in trunk]
    return build(_DVS.TrunkVlanSpec, inherited=False, vlanId=ranges)


def _port_value(dvs: DvsId, port: Any) -> FilteredPort:
    setting = port.config.setting if port.config is not None else None
    blocked, mac = getattr(setting, "blocked", None), getattr(setting, "macManagementPolicy", None)
    forged = getattr(mac, "forgedTransmits", None) if mac is not None and not mac.inherited else None
    peer = port.connectee
    entity = peer.connectedEntity if peer is not None and peer.type == "vmVnic" else None
    return FilteredPort(
        dvs=dvs,
        key=port.key,
        group=NetworkId(port.portgroupKey or ""),
        version=port.config.configVersion or "" if port.config is not None else "",
        name=port.config.name or "" if port.config is not None else "",
        blocked=bool(blocked.value) if blocked is not None and not blocked.inherited else None,
        rules=rules_of(getattr(setting, "filterPolicy", None)),
        forged_transmits=forged,
        from_vm=_shaping(getattr(setting, "inShapingPolicy", None)),
        to_vm=_shaping(getattr(setting, "outShapingPolicy", None)),
        trunk=_trunk(getattr(setting, "vlan", None)),
        filters=filter_keys(getattr(setting, "filterPolicy", None)),
        vm=VmId(entity._moId) if entity is not None else None,
        nic=int(peer.nicKey) if entity is not None and peer.nicKey else None,
        host=HostId(port.proxyHost._moId) if port.proxyHost is not None else None,
    )


def _shaping(policy: Any) -> Shaping | None:
    if policy is None or policy.inherited or policy.enabled is None or not policy.enabled.value:
        return None
    parts = (policy.averageBandwidth, policy.peakBandwidth, policy.burstSize)
    return Shaping(*(int(part.value or 0) if part is not None else 0 for part in parts))


def _trunk(policy: Any) -> tuple[PortRange, ...] | None:
    if policy is None or policy.inherited or not isinstance(policy, _DVS.TrunkVlanSpec):
        return None
    return tuple(sorted((int(item.start), int(item.end)) for item in policy.vlanId))
