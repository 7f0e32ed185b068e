#!/bin/sh
# Files and Pacemaker resources from this node's astute data; everything is decided by the tool.
exec contrail-vsphere neutron fuel apply --astute "${ASTUTE:-/etc/astute.yaml}"
