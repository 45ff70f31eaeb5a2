"""Which device runs which variant, and what the workers run for them: problems in, plans out, all pure functions."""
