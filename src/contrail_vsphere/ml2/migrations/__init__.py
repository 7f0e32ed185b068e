"""Our own branch of Neutron's database migrations: ``neutron-db-manage --subproject contrail-vsphere upgrade head``."""
