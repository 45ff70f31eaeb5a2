"""Several services share one uplink: who may send what, so that the bytes buy the most accuracy. Problems in, plans out, all pure."""
