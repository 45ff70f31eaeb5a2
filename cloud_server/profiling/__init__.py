"""What stages take on this host: measured, kept, foretold."""
