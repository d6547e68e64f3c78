"""Frozen examples of what goes on the wire or on disk, and what makes them."""
