"""Benchmarks: each prints figures, and one JSON object as its last line."""
