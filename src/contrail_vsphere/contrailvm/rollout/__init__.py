"""Rolling upgrades: turns, windows, checks, what a person may ask, and what is told of them."""
