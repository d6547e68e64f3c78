"""Frozen receipts, a report, and content identifiers from other implementations."""
