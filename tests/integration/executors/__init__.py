"""Integration tests of the executors: real models, real processes."""
