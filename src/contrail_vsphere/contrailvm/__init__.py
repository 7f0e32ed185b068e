"""ContrailVM Manager: one ContrailVM on every ESXi host, through ESX Agent Manager, and kept there."""
