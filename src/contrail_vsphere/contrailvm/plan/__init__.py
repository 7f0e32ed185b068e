"""What to do, and why: the rules that turn what is and what should be into actions. Pure: no I/O, no clock."""
