"""Commands: nothing but parsing, calling, printing."""
