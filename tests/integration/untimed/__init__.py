"""Integration tests whose claims hold on a busy machine: `scripts/test` runs them beside others."""
