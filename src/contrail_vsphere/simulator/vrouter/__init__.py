"""Simulated VRouterAgents: the port API and introspect of the Contrail vRouter agent, without a data plane."""
