"""Clusters, servers and tags: added, changed, deleted, and shown as the documents people know.

A document that names an object which is there changes it: objects merge key by key, an explicit null removes. The
whole result is checked again, so that two harmless halves cannot make a wrong whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from contrail_vsphere.model.errors import Conflict, InvalidArgument, InvalidState, NotFound
from contrail_vsphere.servermanager import documents, parameters
from contrail_vsphere.servermanager.catalogue import Catalogue
from contrail_vsphere.servermanager.parameters import Findings
from contrail_vsphere.servermanager.records import Actor, audit, born
from contrail_vsphere.servermanager.resolve import merge
from contrail_vsphere.servermanager.states import ImageState, ServerState
from contrail_vsphere.servermanager.tables import Cluster, Image, Server, Tag
from contrail_vsphere.servermanager.vault import Vault, masked, unsealed_masked

Row = TypeVar("Row", Cluster, Server, Image)

_BUSY: Final = (ServerState.PROVISIONING, ServerState.REMOVING)


class Objects:
    """The rules of clusters, servers and tags; every method works inside the caller's unit of work."""

    def __init__(self, *, catalogue: Catalogue, vault: Vault) -> None:
        self.catalogue = catalogue
        self.vault = vault
        self._is_secret = parameters.is_secret(catalogue)

    # -- clusters -------------------------------------------------------------------------------------------------

    def put_cluster(
        self, session: Session, actor: Actor, document: Mapping[str, Any], *, expect: int | None = None
    ) -> tuple[Cluster, list[str]]:
        """Add or change; returns the row and notes. ``expect``: the version the caller saw."""
        row = session.get(Cluster, str(document.get("id")))
        _expected(row, expect)
        before = cluster_document(row) if row is not None else {}
        whole = merge(before, dict(document))
        findings = Findings()
        documents.check_cluster(whole, findings, path="$.cluster", catalogue=self.catalogue)
        image_id = whole.get("package_image_id") or whole.get("image_id")
        if image_id and session.get(Image, str(image_id)) is None:
            findings.problem("$.cluster.package_image_id", f"no image {image_id!r}")
        documents.raise_problems(findings, f"cluster {document.get('id')}")
        sealed = self.vault.seal(
            session, whole, owner=f"cluster/{whole['id']}", before=before, is_secret=self._is_secret
        )
        new = row is None
        if row is None:
            row = Cluster(id=whole["id"])
            session.add(row)
        row.email = documents.emails(whole.get("email"))
        row.image_id = str(image_id) if image_id else None
        row.parameters = sealed.get("parameters") or {}
        row.attributes = {key: sealed[key] for key in documents.CLUSTER_ATTRIBUTES if key in sealed}
        self.vault.forget(session, f"cluster/{row.id}", keep=sealed)
        self._audit(session, actor, "add" if new else "change", kind="cluster", object_id=row.id, detail=document)
        return row, findings.notes

    def delete_cluster(self, session: Session, actor: Actor, cluster_id: str) -> None:
        """``InvalidState`` while servers are in it."""
        row = found(session, Cluster, cluster_id)
        inside = session.scalars(select(Server.id).where(Server.cluster_id == cluster_id)).all()
        if inside:
            raise InvalidState(
                f"cluster {cluster_id} still has {len(inside)} servers", hint=f"delete or move {', '.join(inside[:5])}"
            )
        session.delete(row)
        self.vault.forget(session, f"cluster/{cluster_id}")
        audit(session, actor, "delete", kind="cluster", object_id=cluster_id)

    # -- servers --------------------------------------------------------------------------------------------------

    def put_server(
        self, session: Session, actor: Actor, document: Mapping[str, Any], *, expect: int | None = None
    ) -> tuple[Server, list[str]]:
        """Add or change, found by id and then by MAC address; returns the row and notes."""
        document = self._normal(document)
        row = self._server_of(session, document)
        _expected(row, expect)
        before = server_document(row) if row is not None else {}
        whole = merge(before, dict(document))
        findings = Findings()
        documents.check_server(whole, findings, path="$.server", catalogue=self.catalogue)
        self._check_references(session, whole, findings, own=row.id if row is not None else "")
        documents.raise_problems(findings, f"server {whole.get('id')}")
        if row is not None and row.state in _BUSY and row.cluster_id != whole.get("cluster_id"):
            raise InvalidState(f"server {row.id} is {row.state}; it cannot change its cluster now")
        sealed = self.vault.seal(
            session, whole, owner=f"server/{whole['id']}", before=before, is_secret=self._is_secret
        )
        new = row is None
        if row is None:
            row = Server(id=whole["id"], state=ServerState.ADDED, since=actor.at, reason="added")
            session.add(row)
            born(session, actor, row, reason="added")
        self._fill(row, sealed)
        self.vault.forget(session, f"server/{row.id}", keep=sealed)
        self._audit(session, actor, "add" if new else "change", kind="server", object_id=row.id, detail=document)
        return row, findings.notes

    def delete_server(self, session: Session, actor: Actor, server_id: str, *, force: bool = False) -> None:
        """``InvalidState`` while something runs on it, or it bears containers of ours and ``force`` is not given."""
        row = found(session, Server, server_id)
        if row.state in _BUSY:
            raise InvalidState(f"server {server_id} is {row.state}", hint="wait for its run, or cancel it")
        if row.deployed and not force:
            raise InvalidState(
                f"server {server_id} still bears {', '.join(sorted(row.deployed))}",
                hint="take its roles off and provision once more, or delete it by force to leave them there",
            )
        session.delete(row)
        self.vault.forget(session, f"server/{server_id}")
        audit(session, actor, "delete", kind="server", object_id=server_id, detail={"force": force})

    def _server_of(self, session: Session, document: Mapping[str, Any]) -> Server | None:
        if document.get("id"):
            return session.get(Server, str(document["id"]))
        if document.get("mac_address"):
            return session.scalar(select(Server).where(Server.mac_address == document["mac_address"]))
        return None

    def _normal(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Names and addresses in one spelling; the address comes from the network where it stands only there."""
        made = {key: value for key, value in document.items() if value != '""'}
        if isinstance(made.get("mac_address"), str):
            made["mac_address"] = documents.normal_mac(made["mac_address"])
        if isinstance(made.get("host_name"), str):
            made["host_name"] = made["host_name"].lower()
        if isinstance(made.get("roles"), list):
            roles = [self.catalogue.find(str(name)) for name in made["roles"]]
            made["roles"] = [r.role if r is not None else n for r, n in zip(roles, made["roles"], strict=True)]
        network = made.get("network")
        if "ip_address" not in made and isinstance(network, dict) and isinstance(network.get("interfaces"), list):
            for each in network["interfaces"]:
                if isinstance(each, dict) and each.get("name") == network.get("management_interface"):
                    made["ip_address"] = str(each.get("ip_address", "")).partition("/")[0]
        return made

    def _check_references(self, session: Session, whole: Mapping[str, Any], findings: Findings, *, own: str) -> None:
        cluster = whole.get("cluster_id")
        if cluster and session.get(Cluster, str(cluster)) is None:
            findings.problem("$.server.cluster_id", f"no cluster {cluster!r}")
        known = {row.name: row.id for row in session.scalars(select(Tag))}
        for key in whole.get("tag") or {}:
            if key not in known:
                findings.unknown("$.server.tag", key, tuple(known))
        for column, value in (("ip_address", whole.get("ip_address")), ("mac_address", whole.get("mac_address"))):
            if value is None:
                continue
            other = session.scalar(select(Server.id).where(getattr(Server, column) == value, Server.id != own))
            if other is not None:
                findings.problem(f"$.server.{column}", f"{value} belongs to server {other}")

    def _fill(self, row: Server, sealed: Mapping[str, Any]) -> None:
        row.cluster_id = sealed.get("cluster_id") or None
        row.host_name = sealed.get("host_name") or row.id.lower()
        row.ip_address = sealed["ip_address"]
        row.mac_address = sealed.get("mac_address")
        row.roles = list(sealed.get("roles") or [])
        row.tags = dict(sealed.get("tag") or {})
        row.parameters = sealed.get("parameters") or {}
        row.ssh_user = sealed.get("ssh_user", "root")
        row.ssh_port = sealed.get("ssh_port", 22)
        row.host_key = sealed.get("host_key") or ""
        kept = set(documents.SERVER_ATTRIBUTES) - {"ssh_user", "ssh_port", "host_key"}
        row.attributes = {key: value for key, value in sealed.items() if key in kept}

    # -- tags -----------------------------------------------------------------------------------------------------

    def put_tags(self, session: Session, actor: Actor, document: Mapping[str, Any]) -> dict[str, str]:
        """``tag1`` to ``tag7``: an empty name removes; ``InvalidState`` for one that servers carry."""
        for key, name in document.items():
            if key not in documents.TAGS or not isinstance(name, str | None):
                raise InvalidArgument(f"{key!r} is no tag", hint="tag1 to tag7, each with a name")
            row = session.get(Tag, key)
            if row is not None and row.name != name:
                carrying = [each.id for each in session.scalars(select(Server)) if row.name in each.tags]
                if carrying:
                    raise InvalidState(f"tag {row.name!r} is carried by {', '.join(carrying[:5])}")
            if not name:
                if row is not None:
                    session.delete(row)
            elif row is None:
                session.add(Tag(id=key, name=name))
            else:
                row.name = name
        session.flush()
        audit(session, actor, "change", kind="tag", object_id="*", detail=document)
        return tags(session)

    def _audit(
        self, session: Session, actor: Actor, action: str, *, kind: str, object_id: str, detail: Mapping[str, Any]
    ) -> None:
        shown = unsealed_masked(dict(detail), is_secret=self._is_secret)
        audit(session, actor, action, kind=kind, object_id=object_id, detail=shown)


def tags(session: Session) -> dict[str, str]:
    """``tag1`` -> name."""
    return {row.id: row.name for row in session.scalars(select(Tag).order_by(Tag.id))}


def found(session: Session, kind: type[Row], object_id: str) -> Row:
    """The object; ``NotFound`` if there is none of that id."""
    row = session.get(kind, object_id)
    if row is None:
        raise NotFound(f"no {kind.__tablename__} {object_id!r}", hint=f"server-manager display {kind.__tablename__}")
    return row


def ready_image(session: Session, image_id: str) -> Image:
    """An image that can be provisioned; ``InvalidState`` says why it cannot."""
    row = found(session, Image, image_id)
    if row.state != ImageState.READY:
        raise InvalidState(f"image {image_id} is {row.state}: {row.reason}", hint="wait, or add it again")
    return row


def cluster_document(row: Cluster) -> dict[str, Any]:
    """The cluster as its document, secrets as references."""
    document = {"id": row.id, "email": row.email, "parameters": row.parameters, **row.attributes}
    return {**document, "package_image_id": row.image_id} if row.image_id else document


def server_document(row: Server) -> dict[str, Any]:
    """The server as its document, secrets as references."""
    document: dict[str, Any] = {
        "id": row.id,
        "cluster_id": row.cluster_id,
        "host_name": row.host_name,
        "ip_address": row.ip_address,
        "mac_address": row.mac_address,
        "roles": row.roles,
        "tag": row.tags,
        "parameters": row.parameters,
        "ssh_user": row.ssh_user,
        "ssh_port": row.ssh_port,
        "host_key": row.host_key,
        **row.attributes,
    }
    return {key: value for key, value in document.items() if value not in (None, "")}


def shown_cluster(row: Cluster, servers: Sequence[str] = ()) -> dict[str, Any]:
    """For people: secrets masked."""
    return {
        **masked(cluster_document(row)), "servers": list(servers), "provisioned_id": row.provisioned_id or "",
        "version": row.version,
    }  # fmt: skip


def shown_server(row: Server) -> dict[str, Any]:
    """For people: secrets masked, with the state."""
    return {
        **masked(server_document(row)), "state": row.state, "reason": row.reason, "since": row.since,
        "progress": row.progress, "provisioned_id": row.provisioned_id or "", "version": row.version,
    }  # fmt: skip


def _expected(row: Cluster | Server | None, expect: int | None) -> None:
    if expect is not None and (row is None or row.version != expect):
        raise Conflict("somebody else changed the object meanwhile", hint="read it again, then retry")
