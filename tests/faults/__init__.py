"""The fault suite: seeded faults at the network, and a judge of what the reader was given."""
