#!/bin/sh
# Files and Pacemaker resources from this node's astute data, and a restart of what runs older code; the tool decides.
exec contrail-vsphere neutron fuel apply --astute "${ASTUTE:-/etc/astute.yaml}"
