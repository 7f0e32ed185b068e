#!/bin/sh
# Files from this node's astute data, before Neutron is configured with them.
exec contrail-vsphere neutron fuel render --astute "${ASTUTE:-/etc/astute.yaml}"
