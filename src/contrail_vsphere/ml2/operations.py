"""What an operator asks and orders: the verbs behind ``contrail-vsphere neutron``.

Orders are journal rows, so that the worker carries them out and nobody else writes; only ``adopt`` writes to vCenter
itself, and nothing but our mark.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from neutron_lib.context import get_admin_context
from neutron_lib.db import api as db_api

from contrail_vsphere.ml2.options import DriverSettings
from contrail_vsphere.ml2.tables import groups, journal, leases
from contrail_vsphere.ml2.worker.database import ask
from contrail_vsphere.ml2.worker.glance import looked
from contrail_vsphere.ml2.worker.neutron_store import NeutronStore
from contrail_vsphere.ml2.worker.passes import Pass
from contrail_vsphere.ml2.worker.plan import (
    ClosePort,
    CreateGroup,
    EditPort,
    GroupAction,
    Mark,
    PortAction,
    RepairGroup,
    Rules,
    group_drift,
    group_spec,
)
from contrail_vsphere.ml2.worker.report import PassReport
from contrail_vsphere.ml2.worker.sight import BLOB
from contrail_vsphere.model.inventory import Network
from contrail_vsphere.vsphere.filtered_ports import FilteredPorts
from contrail_vsphere.vsphere.vcenter import VCenter

DEAD_SHOWN = 20


# -- the database alone -----------------------------------------------------------------------------------------


def status(settings: DriverSettings) -> list[dict[str, Any]]:
    """A document per vCenter: who works, since when it was last seen, what is open and why. Blocks."""
    names = sorted({site.vcenter for site in settings.placement.sites.values()})
    context = get_admin_context()
    with db_api.CONTEXT_READER.using(context):
        return [_status(context.session, name) for name in names]


def _status(session: Any, vcenter: str) -> dict[str, Any]:
    lease, backlog = leases.read(session, vcenter), journal.backlog(session, vcenter)
    return {
        "vcenter": vcenter,
        "worker": lease.holder if lease is not None and not lease.expired else "",
        "epoch": lease.epoch if lease is not None else 0,
        "state": json.loads(lease.seen or "{}") if lease is not None else {},
        "pending": backlog.pending,
        "oldest": backlog.oldest.isoformat() + "Z" if backlog.oldest is not None else None,
        "dead": [
            {"kind": each.kind, "id": each.object_id, "request": each.request_id, "reason": each.reason}
            for each in journal.dead(session, vcenter, limit=DEAD_SHOWN)
        ],
        "dead_count": backlog.dead,
        "port_groups": len(groups.of_vcenter(session, vcenter)),
        "booked_ports": len(groups.bookings(session, vcenter)),
    }


def order(vcenter: str, *, networks: Collection[str] = (), ports: Collection[str] = (), orphans: bool = False) -> int:
    """Ask the worker to look at these again, or at everything; how many rows that is. Blocks."""
    rows = [(journal.NETWORK, each) for each in networks] + [(journal.PORT, each) for each in ports]
    if not rows:
        rows = [(journal.EVERYTHING, journal.ORPHANS if orphans else "")]
    context = get_admin_context()
    with db_api.CONTEXT_WRITER.using(context):
        for kind, object_id in rows:
            journal.note(context.session, [vcenter], kind, object_id, request_id=context.request_id)
    return len(rows)


def revive(vcenter: str) -> int:
    """Make dead rows due; how many there were. Blocks."""
    context = get_admin_context()
    with db_api.CONTEXT_WRITER.using(context):
        return journal.revive(context.session, vcenter)


def dead(vcenter: str) -> int:
    """How many rows were given up. Blocks."""
    context = get_admin_context()
    with db_api.CONTEXT_READER.using(context):
        return journal.backlog(context.session, vcenter).dead


# -- with vCenter -----------------------------------------------------------------------------------------------


async def difference(
    store: NeutronStore, vcenter: VCenter, *, networks: Collection[str] = (), ports: Collection[str] = ()
) -> PassReport:
    """What a worker would do now: about these, or about everything. Nothing is written."""
    async with vcenter:
        await looked(vcenter)
        entries = [journal.Entry(0, journal.NETWORK, each) for each in networks]
        entries += [journal.Entry(0, journal.PORT, each) for each in ports]
        work = Pass(store, vcenter, allowed=_never)
        return await work.run(entries, everything=not entries, dry=True)


def described(report: PassReport) -> list[dict[str, str]]:
    """An object per action: what, on which object, why."""
    found = [_group_words(action) for action in report.group_actions]
    found += [_port_words(action) for action in report.port_actions]
    found += [
        {"action": "keep", "object": name, "why": "no network of Neutron's; an orphan"} for name in report.orphans
    ]
    found += [{"action": "warn", "object": "", "why": words} for words in report.warnings]
    found += [
        {"action": "cannot", "object": f"{kind} {each}", "why": str(error)}
        for (kind, each), error in report.outcome.failed.items()
    ]
    return found


def _group_words(action: GroupAction) -> dict[str, str]:
    if isinstance(action, CreateGroup):
        return {"action": "create", "object": f"port group {action.spec.name}", "why": f"network {action.mark.network}"}
    name = f"port group {action.sight.group.name}"
    if isinstance(action, RepairGroup):
        return {"action": "repair", "object": name, "why": "; ".join(action.why)}
    return {"action": "destroy", "object": name, "why": "orphan" if action.orphan else "its network is gone"}


def _port_words(action: PortAction) -> dict[str, str]:
    if isinstance(action, EditPort):
        return {"action": "write", "object": f"port {action.port_id}", "why": "; ".join(action.why)}
    if isinstance(action, ClosePort):
        return {"action": "close", "object": f"DVPort {action.edit.key}", "why": "no port of Neutron's is on it"}
    return {"action": "up" if action.up else "down", "object": f"port {action.port_id}", "why": action.why}


async def adopt(store: NeutronStore, vcenter: VCenter, *, network: str = "", dry: bool) -> list[dict[str, str]]:
    """Mark port groups as ours that another driver made: name with a network's id in it, right switch, right VLAN.

    What else is not as it must be, the worker repairs as soon as the mark is there. A network that has a port group of
    ours on that switch keeps it.
    """
    async with vcenter:
        await looked(vcenter)
        wanted = await ask(store.wanted.everything)
        ports = FilteredPorts(vcenter)
        settings = store.settings
        rules = Rules(
            settings.cloud_id, filtered=settings.filtered(store.vcenter), booked=settings.booked(store.vcenter)
        )
        marked = {(each.dvs, each.blob(BLOB)) for each in vcenter.inventory.networks.values() if each.blob(BLOB)}
        done = []
        for each in wanted.networks.values():
            if each is None or (network and each.id != network):
                continue
            for segment in each.segments:
                spec = group_spec(each, segment, Mark(settings.cloud_id, each.id, segment.id), rules)
                for group in _candidates(store, vcenter, each.id, segment.physical_network):
                    vlan = str(segment.vlan) if segment.vlan else "none"
                    if group.vlan != vlan or (group.dvs, spec.mark) in marked:
                        continue
                    why = "; ".join(group_drift(group, spec)) or "nothing else differs"
                    done.append({"group": group.name, "network": each.id, "repairs": why})
                    marked.add((group.dvs, spec.mark))
                    if not dry:
                        await ports.mark(group, spec.mark)
        return done


def _candidates(store: NeutronStore, vcenter: VCenter, network_id: str, physnet: str) -> list[Network]:
    """Unmarked port groups whose name has the network's id in it, on a switch that carries its physical network."""
    names = {switch.name for switch in store.settings.placement.carriers(physnet) if switch.vcenter == store.vcenter}
    switches = {dvs.id for dvs in vcenter.inventory.dvss.values() if dvs.name in names}
    found = [
        group
        for group in vcenter.inventory.networks.values()
        if group.dvs in switches and network_id in group.name and not group.blob(BLOB) and not group.uplink
    ]
    return sorted(found, key=lambda group: group.name)


def _never() -> None:
    raise AssertionError("a dry run writes nothing")
