"""Keys, certificates, pins, tokens and secret files; the only package that touches key material."""
