"""vLCM's System VMs (9.0 and later): the same EsxAgents as EAM's, driven by a REST API and by an explicit apply.

``solution.py`` is an agency of which each host has the configuration that was last applied there; ``service.py`` are
the operations, ``rest.py`` the door with sessions and tasks.
"""
