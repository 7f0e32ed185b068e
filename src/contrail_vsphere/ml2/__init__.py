"""Neutron on vSphere: the ML2 mechanism driver ``vmware_dvs`` and its worker per vCenter."""
