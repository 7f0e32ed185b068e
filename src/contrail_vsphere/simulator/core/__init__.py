"""The world, its clock, and the rules every simulated managed object follows."""
