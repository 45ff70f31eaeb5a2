"""Servers as a device sees them: where each is, whether it is there, how fast the way to it is."""
