"""Contrail (Tungsten Fabric) networking for VMware vSphere."""
