"""Contrail and its vRouter agents as seen from outside: clients, with their errors translated here."""
