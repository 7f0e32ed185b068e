"""A vCenter with EAM, and vRouter agents, that clients cannot tell from the real thing where it matters.

``core`` holds the world and the one way to change it, ``vcenter`` and ``eam`` the managed objects with their rules,
``vrouter`` and ``guest`` what runs inside the ContrailVMs, ``control`` the scenario interface.
"""
