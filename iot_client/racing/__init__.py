"""Local and cloud answers race for a frame: the rules, what follows from them, and when the local entrant runs."""
