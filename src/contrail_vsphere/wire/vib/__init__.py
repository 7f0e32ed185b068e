"""VIBs and offline bundles: software for ESXi hosts, as vendors ship it."""
