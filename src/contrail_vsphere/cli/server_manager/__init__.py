"""``server-manager``: the seed's verbs, and what came to them."""
