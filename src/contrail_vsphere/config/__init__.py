"""Settings: what a process is told from outside, in one TOML file and the environment."""

from contrail_vsphere.config.load import Effective, Loaded, load, read
from contrail_vsphere.config.settings import Address, Settings

__all__ = ["Address", "Effective", "Loaded", "Settings", "load", "read"]
