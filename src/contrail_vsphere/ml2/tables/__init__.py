"""Our tables in Neutron's database, and the few ways in which driver and worker meet through them.

The driver writes in the transaction of the API request; the worker reads. Neither has another channel to the other, so
that an API process never waits for a worker, and a worker that was away has missed nothing.
"""
