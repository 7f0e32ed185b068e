"""SOAP as vCenter and EAM speak it, compiled from pyVmomi's type metadata, both directions."""
