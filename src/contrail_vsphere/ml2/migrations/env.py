"""What alembic runs: our tables beside Neutron's, with a version table of our own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from contrail_vsphere.ml2.tables.schema import Base

VERSION_TABLE = "alembic_version_vmware_dvs"

neutron = context.config.neutron_config  # type: ignore[attr-defined]

if context.is_offline_mode():
    context.configure(url=neutron.database.connection, target_metadata=Base.metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(neutron.database.connection)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, version_table=VERSION_TABLE)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
