"""Several clients of one device whose frames share one uplink."""
