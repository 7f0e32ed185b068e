"""Pure: what is seen of one network or one VM, and the actions that make it right, each with its reason."""
