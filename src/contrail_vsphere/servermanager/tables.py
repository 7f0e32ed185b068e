"""The database's tables: objects, their history, who did what, secrets, plans, runs and the letters about them.

One model for SQLite and PostgreSQL. Structured columns are JSON; nothing stored is ever evaluated. Secret values are
never in these columns: they hold ``{"secret": NAME}`` and the cipher text lies in ``secret``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, LargeBinary, MetaData, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Document = dict[str, Any]


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out; SQLite forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """``ValueError`` for a time without zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without zone cannot be stored")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What was stored, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), Document: JSON(), list[str]: JSON(), bytes: LargeBinary()}  # noqa: RUF012


class Image(Base):
    """A set of container images, one per role."""

    __tablename__ = "image"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    category: Mapped[str] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(80))
    release: Mapped[str] = mapped_column(String(200))
    """The version as the operator gave it, ``sku:version`` or ``version``."""
    path: Mapped[str] = mapped_column(Text, default="")
    parameters: Mapped[Document] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text, default="")
    since: Mapped[datetime]
    version: Mapped[int] = mapped_column()
    parts: Mapped[list[ImagePart]] = relationship(
        cascade="all, delete-orphan", order_by="ImagePart.role", lazy="selectin"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class ImagePart(Base):
    """One role's container image: where it lies in the registry, pinned by digest once it is there."""

    __tablename__ = "image_part"

    image_id: Mapped[str] = mapped_column(ForeignKey("image.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(60), primary_key=True)
    source: Mapped[str] = mapped_column(Text, default="")
    """The archive's path, or the foreign reference; empty: expected in our registry."""
    repository: Mapped[str] = mapped_column(Text)
    """With its registry: ``HOST:PORT/NAME``."""
    tag: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(80), default="")
    total_bytes: Mapped[int] = mapped_column(default=0)
    done_bytes: Mapped[int] = mapped_column(default=0)
    sent_bytes: Mapped[int] = mapped_column(default=0)
    """Of ``done_bytes``, what really went over the wire; the rest the registry had."""


class Cluster(Base):
    """Servers that make one Contrail."""

    __tablename__ = "cluster"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    email: Mapped[list[str]] = mapped_column(default=list)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("image.id"))
    provisioned_id: Mapped[str | None] = mapped_column(ForeignKey("image.id"))
    parameters: Mapped[Document] = mapped_column(default=dict)
    attributes: Mapped[Document] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Server(Base):
    """One machine that containers are put on."""

    __tablename__ = "server"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("cluster.id"), index=True)
    host_name: Mapped[str] = mapped_column(String(253))
    ip_address: Mapped[str] = mapped_column(String(64), unique=True)
    mac_address: Mapped[str | None] = mapped_column(String(17), unique=True)
    roles: Mapped[list[str]] = mapped_column(default=list)
    tags: Mapped[Document] = mapped_column(default=dict)
    parameters: Mapped[Document] = mapped_column(default=dict)
    attributes: Mapped[Document] = mapped_column(default=dict)
    """The seed era's other columns (network, contrail, subnet_mask, ...), kept and shown."""
    ssh_user: Mapped[str] = mapped_column(String(60), default="root")
    ssh_port: Mapped[int] = mapped_column(default=22)
    host_key: Mapped[str] = mapped_column(Text, default="")
    """The SSH host key pinned at add, as ``TYPE BASE64``; empty while the host has not been reached."""
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text, default="")
    since: Mapped[datetime]
    progress: Mapped[Document] = mapped_column(default=dict)
    """Role -> pending, running, completed or failed, of the last run."""
    provisioned_id: Mapped[str | None] = mapped_column(ForeignKey("image.id"))
    deployed: Mapped[Document] = mapped_column(default=dict)
    """Role -> what was put there last: files (masked, with hash), container's spec hash and image."""
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Tag(Base):
    """``tag1`` to ``tag7`` and what they mean."""

    __tablename__ = "tag"

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)


class Secret(Base):
    """Cipher text of one secret value. ``name`` starts with ``KIND/ID/`` where an object owns it."""

    __tablename__ = "secret"

    name: Mapped[str] = mapped_column(String(700), primary_key=True)
    cipher: Mapped[bytes]


class Token(Base):
    """Who may use the API. Only a hash of the token is stored."""

    __tablename__ = "token"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime]


class Transition(Base):
    """One change of state: append only."""

    __tablename__ = "transition"
    __table_args__ = (Index("ix_transition_object", "kind", "object_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    object_id: Mapped[str] = mapped_column(String(200))
    before: Mapped[str] = mapped_column(String(20))
    after: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime]


class Audit(Base):
    """Who did what to which object: append only, secrets masked."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(20))
    object_id: Mapped[str] = mapped_column(String(200))
    detail: Mapped[Document] = mapped_column(default=dict)


class Plan(Base):
    """A plan as it was shown, under its hash; secrets masked."""

    __tablename__ = "plan"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    cluster_id: Mapped[str] = mapped_column(String(200), index=True)
    image_id: Mapped[str] = mapped_column(String(200))
    document: Mapped[Document]
    made: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(100))


class Run(Base):
    """One run of a plan by the Ansible server: a provisioning, or a drift check."""

    __tablename__ = "run"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), server_default="provision")
    """``provision`` or ``drift``."""
    cluster_id: Mapped[str] = mapped_column(String(200), index=True)
    plan_hash: Mapped[str] = mapped_column(ForeignKey("plan.hash"))
    remote_id: Mapped[str] = mapped_column(String(100), default="")
    """The Ansible server's name for it; empty until it took the run."""
    servers: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    since: Mapped[datetime]
    started: Mapped[datetime]
    hosts: Mapped[Document] = mapped_column(default=dict)
    """Server -> what the Ansible server last said about it."""
    who: Mapped[str] = mapped_column(String(100))
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Letter(Base):
    """Mail that is to be sent: written with the end it tells of, deleted when the mail server took it."""

    __tablename__ = "letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(String(40))
    recipients: Mapped[list[str]] = mapped_column()
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    written: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    """Deliveries that failed."""
