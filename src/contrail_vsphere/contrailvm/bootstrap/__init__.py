"""How a ContrailVM comes to its identity and its configuration: the door, the request, the judgement, the answer."""
