#!/bin/sh
# The package of the plugin's own repository: the tool, the driver and Pacemaker's ResourceAgent.
exec apt-get install -q -y contrail-vsphere-dvs
