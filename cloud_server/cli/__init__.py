"""The command line: what it asks for, checked, and what it prints."""
