"""Races between local and cloud answers on virtual time: random plans, the very machines, and a referee that shares no code with them."""
