"""Items and results on disk."""
