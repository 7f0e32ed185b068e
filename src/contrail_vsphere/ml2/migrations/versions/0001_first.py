"""Journal, port groups, bookings and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "vmware_dvs_0001"
down_revision = None


def upgrade() -> None:
    """Make the four tables."""
    op.create_table(
        "vmware_dvs_journal",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("vcenter", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("object_id", sa.String(36), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.DateTime),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_vmware_dvs_journal_open", "vmware_dvs_journal", ["vcenter", "state", "retry_at", "id"])
    op.create_table(
        "vmware_dvs_port_groups",
        sa.Column("vcenter", sa.String(64), primary_key=True),
        sa.Column("dvs_name", sa.String(80), primary_key=True),
        sa.Column("segment_id", sa.String(36), primary_key=True),
        sa.Column("network_id", sa.String(36), nullable=False),
        sa.Column("dvs_uuid", sa.String(64), nullable=False),
        sa.Column("group_key", sa.String(64), nullable=False),
        sa.Column("group_name", sa.String(80), nullable=False),
    )
    op.create_index("ix_vmware_dvs_port_groups_network", "vmware_dvs_port_groups", ["network_id"])
    op.create_table(
        "vmware_dvs_bookings",
        sa.Column("dvs_uuid", sa.String(64), primary_key=True),
        sa.Column("port_key", sa.String(32), primary_key=True),
        sa.Column("vcenter", sa.String(64), nullable=False),
        sa.Column("group_key", sa.String(64), nullable=False),
        sa.Column("port_id", sa.String(36)),
        sa.Column("host", sa.String(255)),
        sa.UniqueConstraint("port_id", "host", name="uq_vmware_dvs_bookings_port"),
    )
    op.create_index("ix_vmware_dvs_bookings_free", "vmware_dvs_bookings", ["dvs_uuid", "group_key", "port_id"])
    op.create_table(
        "vmware_dvs_leases",
        sa.Column("vcenter", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
    )
