"""Every wire format once, for client and simulator alike."""
