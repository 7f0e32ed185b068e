"""The only room that speaks to vCenter and EAM: sessions, calls, bulk reads, inventory, events, tasks."""
