"""The managed objects of vCenter with their rules: one file per managed object, and files for what several share."""
