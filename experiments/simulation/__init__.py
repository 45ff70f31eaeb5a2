"""The machines of device and server in virtual time, under every fault, and an independent judge."""
