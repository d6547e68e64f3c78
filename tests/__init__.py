"""Tests of honeyflow, and the values they share."""
