"""Spillway's promises under test, at full numbers; `scripts/chaos --help` runs it, docs/promises.md says what is promised."""
