"""What a server keeps for others: results in its store, answers not yet read, receipts not yet sent."""
