"""The audit: what a network and records of one's own leak at each cut, and what a defence takes away."""
