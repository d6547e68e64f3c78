"""Alerts: the table of rules, what judges them without Prometheus, and who is told."""
