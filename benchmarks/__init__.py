"""Ratios measured side by side in one run, and counts of calls: what does not depend on the machine.

``python -m benchmarks`` starts a simulated vCenter in a process of its own and then one process after the other that
reads it: a bare socket (the limit), our client, pyVmomi. Each reports its own CPU time and memory.
"""
