"""EAM's endpoint ``/eam/sdk``: its values translated, its methods as coroutines, and a cache where it has no stream."""
