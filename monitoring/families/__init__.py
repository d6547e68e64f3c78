"""Families: what each source tells of the metrics of the table, and how they are written."""

from __future__ import annotations

from monitoring.families.exposition import Exposition
from monitoring.families.family import Family, Labels

__all__ = ["Exposition", "Family", "Labels"]
