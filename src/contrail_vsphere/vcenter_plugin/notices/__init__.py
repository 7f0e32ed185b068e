"""What the plugin tells people inside vCenter: troubles as events and alarms of our extension."""
