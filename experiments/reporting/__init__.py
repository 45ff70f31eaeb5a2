"""What runs leave behind, what it amounts to, and how it is shown."""
