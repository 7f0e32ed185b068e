"""Contrail (Tungsten Fabric) networking for VMware vSphere."""

__version__ = "0.1.0"
