"""Fault tests: real workers, a real Redis and a real ledger, harmed while they work."""
