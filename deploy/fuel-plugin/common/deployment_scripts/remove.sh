#!/bin/sh
# Takes resources and files away; port groups stay until their networks go.
exec contrail-vsphere neutron fuel remove
