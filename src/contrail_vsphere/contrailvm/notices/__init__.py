"""What others are told of us: events and alarms in vCenter, the health document it reads."""
