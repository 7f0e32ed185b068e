"""ESX Agent Manager: one EsxAgent virtual machine per host in scope, issues that wait for Resolve, hooks.

Read ``machine.py`` first: it decides, without any I/O, what happens next to one EsxAgent. ``issues.py`` is the table of
when an issue comes and goes, ``service.py`` ties both to the simulated world.
"""
