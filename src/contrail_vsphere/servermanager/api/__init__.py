"""The REST API on 9001: proper REST under ``/v1``, and the seed era's routes beside it."""
