"""The simulated Contrail: config API with notifications, and a Keystone stand-in."""
