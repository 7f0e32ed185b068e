"""Alembic runs this file for every command; the connection comes from the store, never from an ini file."""

from __future__ import annotations

from alembic import context

from contrail_vsphere.servermanager.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
