"""The loop's machinery, for every controller alike; it knows nothing of vSphere, Contrail or Neutron."""
