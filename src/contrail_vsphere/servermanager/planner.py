"""From the database to a plan: which servers, which layers, which image, and what only the plan's execution needs.

Pure judgement is in ``resolve`` and ``plan``; here their inputs are gathered, inside the caller's unit of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import (
    DocumentError,
    InvalidArgument,
    InvalidState,
    NotFound,
)
from contrail_vsphere.servermanager import parameters
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.image_rows import reference
from contrail_vsphere.servermanager.objects import found, ready_image
from contrail_vsphere.servermanager.plan import Fingerprint, Plan, Wanted, plan
from contrail_vsphere.servermanager.render import texts
from contrail_vsphere.servermanager.resolve import ALL_ROLES, Effective, Layer, Member, facts, resolve
from contrail_vsphere.servermanager.runs import (
    ContainerToRun,
    EngineToSetUp,
    FileToWrite,
    HostToRun,
    RoleToRun,
)
from contrail_vsphere.servermanager.tables import Cluster, Server
from contrail_vsphere.servermanager.vault import Vault, is_reference


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants provisioned: a cluster or some of its servers, with which image and which overrides."""

    cluster: str = ""
    servers: tuple[str, ...] = ()
    image: str = ""
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Role -> servers that get it beside what their documents say; only these servers are meant then."""
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Role -> servers that lose it; only these servers are meant then."""
    lasting: bool = False
    """The servers' documents change so, too; else ``roles`` and ``without`` are for this run."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """As ``parameters.provision.containers``; above every other layer, for this run."""
    engine: EngineToSetUp = ""
    """The container engine to install first, on servers that have none."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with what only its execution needs."""

    plan: Plan
    document: dict[str, Any]
    request_hosts: dict[str, HostToRun]
    """With secrets in the clear."""
    roles: dict[str, list[str]]
    """Server -> the roles that the plan is for."""

    def __repr__(self) -> str:
        return f"Prepared({self.document['hash'][:12]})"


class Planner:
    """Reads the database and makes plans; every method works inside the caller's unit of work."""

    def __init__(self, *, catalogue: Catalogue, vault: Vault, config_dir: str) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._config_dir = config_dir

    def prepare(self, session: Session, order: Order) -> Prepared:
        """The plan of an order; ``DocumentError`` with everything that keeps it from being done."""
        cluster, servers, roles = self._selected(session, order)
        image = ready_image(session, order.image or cluster.image_id or cluster.provisioned_id or "")
        problems: list[str] = []
        wanted: dict[str, list[Wanted]] = {}
        fingerprint: Fingerprint = self._vault.fingerprint(session)
        for server in servers:
            wanted[server.id] = []
            for role in roles[server.id]:
                effective = self.effective(session, server, role, order=order)
                problems += [f"{server.id}: {each}" for each in effective.problems]
                try:
                    pulled = reference(image, effective.role.names)
                except NotFound as error:
                    problems.append(f"{server.id}: {error.message}")
                    continue
                if not effective.problems:
                    made = texts(effective, reveal=lambda name: self._vault.get(session, name))
                    wanted[server.id].append(Wanted(effective, made, pulled))
        if problems:
            raise DocumentError.of(f"cluster {cluster.id}", problems)
        made_plan = plan(
            cluster.id, image.id, wanted=wanted, deployed={each.id: each.deployed for each in servers},
            config_dir=self._config_dir, fingerprint=fingerprint, roles=self._catalogue.find,
        )  # fmt: skip
        hosts = {each.id: self._host(session, each, made_plan, wanted[each.id]) for each in servers}
        return Prepared(made_plan, made_plan.document(), hosts, roles)

    def effective(self, session: Session, server: Server, role: str, *, order: Order | None = None) -> Effective:
        """A role's configuration on a server, with where each value comes from."""
        found_role = self._catalogue.role(role)
        if server.cluster_id is None:
            raise InvalidState(f"server {server.id} is in no cluster", hint="set its cluster_id")
        cluster = found(session, Cluster, server.cluster_id)
        layers: list[Layer] = [
            *parameters.layers(cluster.parameters, source="cluster", catalogue=self._catalogue),
            *parameters.tag_layers(cluster.parameters, server.tags, catalogue=self._catalogue),
            *parameters.layers(server.parameters, source="server", catalogue=self._catalogue),
        ]
        if order is not None and order.overrides:
            given = {"provision": {"containers": order.overrides}}
            layers += parameters.layers(given, source="run", catalogue=self._catalogue)
        # Within an object, what names all roles yields to what names one.
        layers = [each for source in _sources(layers) for each in _split(source)]
        members = [_member(each) for each in _inside(session, cluster.id)]
        return resolve(found_role, facts=facts(members, server.id), layers=layers)

    def _selected(self, session: Session, order: Order) -> tuple[Cluster, list[Server], dict[str, list[str]]]:
        if order.servers:
            servers = [found(session, Server, each) for each in order.servers]
        else:
            servers = _inside(session, found(session, Cluster, order.cluster).id)
        if order.roles or order.without:
            named = {each for ids in (*order.roles.values(), *order.without.values()) for each in ids}
            servers = [each for each in servers if each.id in named]
        clusters = {each.cluster_id for each in servers}
        if not servers or None in clusters:
            raise InvalidArgument("there is no server to provision, or one is in no cluster", hint="set cluster_id")
        if len(clusters) > 1:
            raise InvalidArgument(f"the servers are in several clusters: {', '.join(sorted(map(str, clusters)))}")
        roles = self._roles(order, servers)
        bare = [each.id for each in servers if not roles[each.id] and not each.deployed]
        if bare:
            raise InvalidArgument(f"{', '.join(bare)}: no role to provision", hint="give the servers roles")
        return found(session, Cluster, str(servers[0].cluster_id)), servers, roles

    def _roles(self, order: Order, servers: Sequence[Server]) -> dict[str, list[str]]:
        """Server -> its roles, as the order has them."""
        roles = {each.id: list(each.roles) for each in servers}
        for changes, gets in ((order.roles, True), (order.without, False)):
            for role, ids in changes.items():
                name = self._catalogue.role(role).role
                for each in ids:
                    if each not in roles:
                        raise InvalidArgument(f"server {each} is not among those to provision")
                    if gets and name not in roles[each]:
                        roles[each].append(name)
                    elif not gets and name not in roles[each]:
                        raise InvalidArgument(f"server {each} does not have the role {name}")
                    elif not gets:
                        roles[each].remove(name)
        return roles

    def _host(self, session: Session, server: Server, made: Plan, wanted: Sequence[Wanted]) -> HostToRun:
        contents = {f"{self._config_dir}/{text.name}": text for each in wanted for text in each.texts}
        steps = next(host for host in made.hosts if host.server == server.id).roles
        opened = self._vault.open(session, dict(server.attributes))
        return HostToRun(
            address=server.ip_address, port=server.ssh_port, user=server.ssh_user, host_key=server.host_key,
            password=str(opened.get("password") or ""), private_key=str(opened.get("ssh_private_key") or ""),
            roles=[
                RoleToRun(
                    role=step.role, stage=step.stage, rolling=step.rolling, directories=list(step.directories),
                    files=[
                        FileToWrite(
                            path=file.path, mode=file.mode, content=contents[file.path].content,
                            secret=contents[file.path].content != contents[file.path].shown,
                        )
                        for file in step.files
                    ],
                    container=ContainerToRun(
                        name=step.container.name, image=step.container.image, action=step.container.action,
                        spec_hash=step.container.spec_hash, spec=dict(step.container.spec),
                    ),
                    health=dict(step.health),
                )
                for step in steps
            ],
        )  # fmt: skip


def _sources(layers: Iterable[Layer]) -> list[list[Layer]]:
    """Consecutive layers of one object."""
    grouped: list[list[Layer]] = []
    for layer in layers:
        if grouped and grouped[-1][0].source == layer.source:
            grouped[-1].append(layer)
        else:
            grouped.append([layer])
    return grouped


def _split(layers: Sequence[Layer]) -> Iterable[Layer]:
    for general in (True, False):
        for layer in layers:
            values = {role: v for role, v in layer.values.items() if (role == ALL_ROLES) == general}
            if values:
                yield Layer(layer.source, values)


def _inside(session: Session, cluster_id: str) -> list[Server]:
    return list(session.scalars(select(Server).where(Server.cluster_id == cluster_id).order_by(Server.id)))


def _member(row: Server) -> Member:
    given = (row.parameters.get("provision") or {}).get("contrail_4") or {}
    own = row.attributes.get("control_data_address") or given.get("ctrl_data_ip") or row.ip_address
    esxi = (row.parameters.get("esxi_parameters") or {}).get("name") or row.attributes.get("esxi_host") or ""
    address = row.ip_address if is_reference(own) else str(own)
    return Member(
        row.id, row.host_name, address, frozenset(row.roles), parameters.components(row.parameters), str(esxi)
    )
