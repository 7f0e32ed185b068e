"""The vCenter plugin: Contrail networks become port groups, VM ports get VLANs and a place in Contrail."""
