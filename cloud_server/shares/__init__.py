"""What devices have of a server: memory, turns and time, and what each of them asks for. All pure."""
