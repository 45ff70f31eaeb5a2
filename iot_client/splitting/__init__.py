"""Where to split: what stages cost here, what each way would give, and when to move."""
