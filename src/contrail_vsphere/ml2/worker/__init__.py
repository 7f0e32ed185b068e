"""The process per vCenter that makes port groups, ports and filter rules what Neutron says."""
