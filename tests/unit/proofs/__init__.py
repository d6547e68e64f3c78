"""Tests of the proofs package."""
