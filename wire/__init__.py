"""What crosses the network: messages, payloads and the links they travel on. Device and server both need it, neither owns it."""
