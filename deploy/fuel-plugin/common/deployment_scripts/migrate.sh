#!/bin/sh
# The driver's tables in Neutron's database.
exec neutron-db-manage --config-file /etc/neutron/neutron.conf --subproject contrail-vsphere upgrade head
