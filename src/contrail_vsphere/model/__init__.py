"""The values everyone shares: frozen, without I/O, importing nothing of the rest of the house."""
