"""vLCM's System VMs (vSphere 9.0 and later), successor of EAM: its REST API, spoken in the terms of ``model.eam``."""
