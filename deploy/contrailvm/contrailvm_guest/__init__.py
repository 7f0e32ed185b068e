"""First-boot program of the ContrailVM, on the Python standard library alone.

It runs inside the guest at every boot and makes a generic appliance the vRouter of its ESXi host: enrols with the
ContrailVM Manager, finds its NICs by role, writes the vRouter agent's configuration and starts the services.

``firstboot`` holds the judgement and touches nothing: it yields the effects of ``effects`` one by one. ``machine``
performs them on a real operating system; the simulator's guest performs the same ones on its own.
"""
