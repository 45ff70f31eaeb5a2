"""Measured speed of Spillway beside what people would otherwise use; `scripts/bench --help` runs it."""
